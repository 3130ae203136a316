"""Invalid settings are refused with place and reason."""

import pytest
import yaml

from core.errors import SettingsError
from core.llm.chat import Usage
from core.llm.prices import price_list
from core.settings.keys import refuse_keys
from core.settings.model_names import model_settings, split_reference
from core.settings.pipeline import load_settings, load_training
from tests.conftest import CHECKOUT


def spoilt(tmp_path, change):
    settings = yaml.safe_load((CHECKOUT / "config/pipeline.yaml").read_text(encoding="utf-8"))
    change(settings)
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return str(path)


def test_the_shipped_settings_load():
    assert load_training(load_settings().training).quantisations


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s["generation"].update(conversation=3),
            "`generation.conversation` is not a known key; remove it or correct its spelling. Did you mean 'conversations'?",
        ),
        (lambda s: s.update(generations={}), "Did you mean 'generation'?"),
        (lambda s: s["models"]["openai"].update(price={"inputs": 1, "output": 1}), "Did you mean 'input'?"),
        (lambda s: s["nightly"].update(timezone="Europe"), "'Europe' is not a timezone"),
        (lambda s: s["nightly"].update(timezone="x" * 5000), "is not a timezone"),
        (lambda s: s["generation"].update(conversations=0), "`generation.conversations` should be greater than or equal to 1"),
        (lambda s: s["generation"].update(first_seed=8990), "kept for the evaluation"),
        (lambda s: s["evaluation"].update(personas=1), "`evaluation.personas`"),
        (lambda s: s["dataset"].update(repo="no-owner"), "`dataset.repo`"),
        (lambda s: s.pop("roles"), "`roles` is required"),
        (lambda s: s["roles"].update(evaluation_judges=["openai/gpt-6-luna", "openai/gpt-6-luna"]), "names openai/gpt-6-luna more than once"),
    ],
)
def test_a_mistake_in_the_settings_is_reported_with_its_place(tmp_path, change, said):
    with pytest.raises(SettingsError) as refused:
        load_settings(spoilt(tmp_path, change))
    assert said in str(refused.value)
    assert "settings.yaml" in str(refused.value)


def test_evaluation_judges_are_used_only_for_the_evaluation(tmp_path):
    roles = load_settings(spoilt(tmp_path, lambda s: s["roles"].update(judges=["a/b"], evaluation_judges=["c/d"]))).roles
    assert [roles.bound(flow)["judge"] for flow in ("evaluation", "assessment", "nightly")] == [["c/d"], ["a/b"], ["a/b"]]
    assert roles.bound()["judge"] == ["a/b", "c/d"]  # both need keys, limits and prices
    assert load_settings(spoilt(tmp_path, lambda s: s["roles"].update(judges=["a/b"]))).roles.bound("evaluation")["judge"] == ["a/b"]


def test_the_error_for_a_missing_settings_file_lists_the_files_beside_it():
    with pytest.raises(SettingsError, match=r"moon\.yaml does not exist\. Files beside it: .*qwen3-14b\.yaml, .*smollm2-135m\.yaml"):
        load_training("moon")


@pytest.mark.parametrize("reference", ["scripted", "moon/model", "scripted/", "/model", ""])
def test_an_unknown_model_reference_is_refused_with_the_known_providers(reference):
    with pytest.raises(SettingsError, match="with a provider of scripted, llama-cpp"):
        split_reference(reference, ("scripted", "llama-cpp"))


@pytest.mark.parametrize(
    "value",
    [
        "sk-ant-api03-abcdefgh",
        "anthropic/sk-proj-abcdefghijkl",
        "AIzaSyA1234567890123456789012",
        "hf_abcdefghijklmn",
        "api_key=1234567890",
        "Bearer abcdefghij",
        "https://user:password@host/v1",
    ],
)
def test_text_that_looks_like_a_key_is_refused_and_not_repeated(value):
    with pytest.raises(SettingsError, match="looks like a key") as refused:
        refuse_keys({"parameter model": value})
    assert value not in str(refused.value)
    with pytest.raises(SettingsError, match="looks like a key"):
        split_reference(value, ("anthropic",))


@pytest.mark.parametrize("value", ["anthropic/claude-haiku-5-5", "config/pipeline.yaml", "llama-cpp/models/sk-base.gguf", "token-coach", "", None, 3])
def test_text_that_is_not_a_key_is_accepted(value):
    refuse_keys({"parameter": value})


def test_a_settings_file_may_contain_only_the_differences(tmp_path):
    (tmp_path / "base.yaml").write_text((CHECKOUT / "config/pipeline.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\ngeneration: {conversations: 7}\nmodels: {openai: {concurrency: 3}}\n", encoding="utf-8")
    base, mine = load_settings(str(tmp_path / "base.yaml")), load_settings(str(tmp_path / "mine.yaml"))
    assert (mine.generation.conversations, mine.models["openai"].concurrency) == (7, 3)
    assert mine.models["openai"].options == base.models["openai"].options
    assert mine.model_dump(exclude={"generation", "models"}) == base.model_dump(exclude={"generation", "models"})


def test_a_file_outside_config_may_extend_one_in_it_and_a_wrong_name_gets_a_suggestion(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_TRUST_SETTINGS", str(tmp_path))
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: pipeline.yaml\ngeneration: {conversations: 7}\n", encoding="utf-8")
    assert load_settings(str(mine)).generation.conversations == 7
    mine.write_text("extends: pipelin.yaml\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"`extends` names 'pipelin.yaml', .* Did you mean 'pipeline.yaml'\? Allowed: demo.yaml, "):
        load_settings(str(mine))


def test_every_misspelt_key_gets_a_suggestion(tmp_path):
    path = spoilt(tmp_path, lambda s: (s["evaluation"].update(personnas=5, trails=3), s["evaluation"].pop("personas"), s.update(bugdet=s.pop("budget"))))
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    said = str(refused.value)
    assert all(f"Did you mean '{word}'?" in said for word in ("personas", "trials", "budget"))
    assert "required" not in said


def test_a_models_settings_combine_those_of_provider_model_and_block(tmp_path):
    settings = load_settings(
        spoilt(
            tmp_path,
            lambda s: s.update(
                models={
                    "openai": {"concurrency": 9, "options": {"effort": "low"}},
                    "openai/gpt-6-luna": {"requests_per_minute": 100, "options": {"temperature": 1.0}},
                    "my-luna": {"concurrency": 2},
                }
            ),
        )
    )
    assert model_settings(settings, "openai/gpt-6-luna").options == {"effort": "low", "temperature": 1.0}
    found = model_settings(settings, "openai/gpt-6-luna", "my-luna")
    assert (found.concurrency, found.requests_per_minute) == (2, 100)
    assert model_settings(settings, "google/gemini-3.8-flash").concurrency == settings.calls.concurrency


@pytest.mark.parametrize("model", ["openai", "openai/gpt-6-luna"])
@pytest.mark.parametrize("limit", ["concurrency", "requests_per_minute", "input_tokens_per_minute", "tokens_per_minute"])
def test_a_limit_of_zero_is_refused(tmp_path, model, limit):
    with pytest.raises(SettingsError, match=rf"`models.{model}.{limit}` should be greater than or equal to 1"):
        load_settings(spoilt(tmp_path, lambda s: s["models"].update({model: {limit: 0}})))


def test_the_shipped_default_models_have_prices_and_no_near_retirement_date():
    for file in ("config/pipeline.yaml", "config/demo.yaml"):
        settings = load_settings(file)
        for name in [name for names in settings.roles.bound().values() for name in names]:
            prices = price_list(name, model_settings(settings, name).price, free=name.startswith("scripted/"))
            assert prices.price(Usage(1000, 1000)) is not None, name


def test_settings_with_a_key_or_an_address_with_a_password_are_refused(tmp_path):
    for options in ({"base_url": "http://user:opensesame@host/v1"}, {"headers": ["hf_abcdefghijklmn"]}):
        data = yaml.safe_load((CHECKOUT / "config/pipeline.yaml").read_text(encoding="utf-8"))
        data["models"] = data.get("models", {}) | {"openai-compatible/qwen": {"options": options}}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
        with pytest.raises(SettingsError, match=r"models.*looks like a key, or an address with a password") as refused:
            load_settings("settings.yaml", tmp_path)
        assert "opensesame" not in str(refused.value)
        assert "abcdefgh" not in str(refused.value)
