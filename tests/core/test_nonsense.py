"""Invalid settings, packs, training settings and personas are refused when they are read."""

import copy
import importlib.util
import json
import sys

import pytest
import yaml

from core.errors import PackError, PersonaError, SettingsError
from core.evaluation.fresh_personas import read_personas
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_persona
from core.settings.job_arguments import ConvertArguments, PairArguments, TrainArguments
from core.settings.pipeline import load_settings, load_training
from core.settings.provider_options import OPTIONS
from tests.conftest import CHECKOUT

SETTINGS = yaml.safe_load((CHECKOUT / "config/pipeline.yaml").read_text(encoding="utf-8"))
TRAINING = yaml.safe_load((CHECKOUT / "config/training/qwen3-14b.yaml").read_text(encoding="utf-8")) | {"chat_template": None}


def changed(data, place, value):
    found = copy.deepcopy(data)
    *path, last = place.split(".")
    part = found
    for name in path:
        part = part.setdefault(name, {})
    part[last] = value
    return found


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *[("generation.conversations", value) for value in (True, "5", 5.0, -1, 0, 10**9, 1e3, [5])],
        *[("budget.usd", value) for value in (float("inf"), float("nan"), True, "25", -1, 1e300)],
        *[("calls.longest_wait_seconds", value) for value in (float("inf"), 0, -1, 10**9)],
        *[("dataset.validation_share", value) for value in (0, 1, 1.5, float("nan"))],
        ("generation.exchanges", [8, 4]),
        ("dataset.slicing.gap", [5, 2]),
        ("calls.first_backoff_seconds", 1000),
        ("generation.max_tokens", 150_000),
        ("dataset.private", "yes"),
        ("training", 5),
        ("models.antropic", {"concurrency": 5}),
        ("models.antropic/claude-haiku-5-5", {"concurrency": 5}),
        ("models.google.options", {"thinkin": "LOW"}),
        ("models.google.options", {"temperature": "0.7"}),
        ("models.openai-compatible.options", {"base_url": "foo://x"}),
        ("models.openai-compatible.options", {"base_url": "http://user:pw@host/v1"}),
        ("models.openai-compatible.options", {"base_url": "http://host:99999/v1"}),
    ],
)
def test_invalid_settings_are_refused(tmp_path, place, value):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(changed(SETTINGS, place, value)), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"settings\.yaml"):
        load_settings(str(path))


def test_a_misspelt_model_is_reported_with_a_suggestion(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("extends: " + str(CHECKOUT / "config/pipeline.yaml") + "\nmodels: {openai/gpt-6.1-tera: {concurrency: 5}}", encoding="utf-8")
    settings = load_settings(str(path))
    with pytest.raises(SettingsError, match=r"Did you mean 'openai/gpt-6\.1-terra'"):
        settings.check_entries()
    settings.check_entries(["openai/gpt-6.1-tera"])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *[("train.learning-rate", value) for value in ("abc", 0, -1, float("nan"), float("inf"), True, 5)],
        *[("train.lora-r", value) for value in (float("nan"), 0, "64", 10**6)],
        *[("train.batch-size", value) for value in (0, -1, 1.5, "4")],
        *[("train.max-length", value) for value in (0, "2048", True, 10**9, None)],
        *[(f"train.{name}", "x/y") for name in ("base", "dataset", "output", "push-to", "chat-template", "learning_rate", "lerning-rate")],
        ("train.public", True),
        ("train.schedule", "--public"),
        ("train.epochs", 0),
        ("train.target-modules", []),
        ("convert.min-agreement", 1.5),
        ("convert.threads", 0),
        ("convert.reference-dtype", "float16"),
        ("efficiency", 2),
        ("quantisations", []),
    ],
)
def test_invalid_training_settings_are_refused(tmp_path, place, value):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changed(TRAINING, place, value)), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        load_training(str(path))


@pytest.mark.parametrize(("file", "arguments"), [("train_sft", TrainArguments), ("train_pairs", PairArguments), ("convert_gguf", ConvertArguments)])
def test_settings_may_contain_only_arguments_of_the_scripts(monkeypatch, capsys, file, arguments):
    path = CHECKOUT / f"deployments/jobs/built/{file}.py"
    spec = importlib.util.spec_from_file_location(f"{file}_arguments", path)
    monkeypatch.syspath_prepend(str(path.parent))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    with pytest.raises(SystemExit):
        module.main(["--help"])
    options = {word.strip("[],") for word in capsys.readouterr().out.split() if word.strip("[],").startswith("--")}
    assert {f"--{field.alias}" for field in arguments.model_fields.values()} <= options


@pytest.mark.slow
def test_settings_may_contain_exactly_the_options_of_the_blocks():
    from blocks.chat import PROVIDERS, block_class

    assert set(OPTIONS) == set(PROVIDERS)
    for provider, options in OPTIONS.items():
        own = set(block_class(provider).model_fields) - {"model", "model_path", "name", "api_key"}
        assert set(options.model_fields) == own, provider


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("prompts/therapeutic-coaching/criteria/CQ8-no-harm.md", "from_exchange: 1", "from_exchange: 60", "the gate CQ8 applies from exchange 60"),
        ("prompts/therapeutic-coaching/criteria/MT2-depth.md", "from_exchange: 1", "from_exchange: 101", "the criterion MT2 applies from exchange 101"),
        ("config/domains/therapeutic-coaching/input-taxonomy.yaml", "exchanges: [3, 8]", "exchanges: [8, 4]", r"a range is \[low, high\]"),
        ("config/domains/therapeutic-coaching/input-taxonomy.yaml", "exchanges: [3, 8]", "exchanges: [03, 8]", "valid integer"),
        ("config/domains/therapeutic-coaching/scripted.yaml", "at_least: ", "at_least: -", "greater than or equal to 0"),
        ("config/domains/therapeutic-coaching/rubric.yaml", "pass_at: ", "pass_at: .inf #", "pass_at"),
    ],
)
def test_invalid_values_in_a_pack_are_refused(pack_copy, file, old, new, said):
    path = pack_copy / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PackError, match=said):
        load_pack("therapeutic-coaching", pack_copy)


@pytest.mark.parametrize(
    "change", [{"seed": -5}, {"seed": "9001"}, {"seed": True}, {"seed": 10**12}, {"exchanges": 0}, {"topics": []}, {"topics": [{"subtopic": "moon"}]}]
)
def test_invalid_personas_are_refused(tmp_path, change):
    pack = load_pack("therapeutic-coaching")
    persona = sample_persona(pack, 1).model_dump(mode="json")
    if change.get("topics"):
        change = {"topics": [persona["topics"][0] | change["topics"][0]]}
    path = tmp_path / "personas.json"
    path.write_text(json.dumps([persona | change]), encoding="utf-8")
    with pytest.raises(PersonaError, match="entry 1"):
        read_personas(path, pack, (3, 3))
