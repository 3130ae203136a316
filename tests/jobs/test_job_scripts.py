"""The job scripts, run as in production: as separate processes, with arguments and files."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from blocks.llama_runtime import read_runtime
from tests.conftest import needs
from tests.jobs.conftest import kill_when, run
from tests.tiny import tiny_base

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "deployments" / "jobs" / "built"
SCRIPTS = ["unpack_gguf", "train_sft", "convert_gguf"]
sys.path.insert(0, str(JOBS))
llama_library = import_module("llama_library")
SYSTEM = "You are a coach."
DULL = ["That sounds like a lot. It will be fine.", "Try to rest. It will be fine.", "I see. Try to rest."]
TOPICS = {"work": "My boss is loud.", "sleep": "I wake at three.", "money": "The rent goes up.", "garden": "The roses died."}


def succeed(script: str, *arguments: object) -> list[dict[str, Any]]:
    done = run(str(JOBS / f"{script}.py"), *map(str, arguments))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# Several runs share a process, since importing torch takes longer than a small run.
DRIVER = """
import contextlib, io, json, runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
for arguments in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(arguments)
    print(json.dumps([code, said.getvalue()]))
"""


def run_all(script: str, *calls: list[object]) -> list[tuple[int, str]]:
    """Run a job several times; return the exit codes and the output on stderr."""
    arguments = json.dumps([[str(argument) for argument in call] for call in calls])
    done = run("-c", DRIVER, str(JOBS / f"{script}.py"), arguments)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def refuse(script: str, *calls: list[object], code: int = 1) -> list[str]:
    """Run a job several times; each run must fail with this code. Return the one sentence of each."""
    answers = run_all(script, *calls)
    assert [answer[0] for answer in answers] == [code] * len(calls), answers
    sentences = [answer[1].strip() for answer in answers]
    assert all(len(sentence.splitlines()) == 1 and "Traceback" not in sentence for sentence in sentences), sentences
    return sentences


def header(script: str) -> dict[str, Any]:
    lines = (JOBS / f"{script}.py").read_text(encoding="utf-8").splitlines()
    block = lines[lines.index("# /// script") + 1 : lines.index("# ///")]
    return tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in block))


def chats(count: int, reply: Callable[[int, list[str]], str]) -> list[dict[str, Any]]:
    """Return conversations of two exchanges in which every message names two topics."""
    names, rows = list(TOPICS), []
    for number in range(count):
        messages = [{"role": "system", "content": SYSTEM}]
        for turn in range(2):
            topics = [names[(number + turn) % 4], names[(number * 3 + turn + 1 + number // 4) % 4]]
            messages.append({"role": "user", "content": " ".join(TOPICS[topic] for topic in topics)})
            messages.append({"role": "assistant", "content": reply(number + turn, topics)})
        rows.append({"messages": messages})
    return rows


def warm(_: int, topics: list[str]) -> str:
    return " ".join(f"About {topic}: I hear you, no wonder." for topic in topics)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def base() -> Path:
    """A model of two layers that was trained on a few dull conversations."""
    needs("trl")
    return tiny_base(chats(64, lambda number, _: DULL[number % 3]), layers=2, vocab_size=400, max_length=160, steps=40)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_parquet(folder / "train.parquet", chats(24, warm))
    write_parquet(folder / "validation.parquet", chats(6, warm))
    return folder


def training(base: Path, data: Path, output: Path, *more: object) -> list[object]:
    files = ["--train", data / "train.parquet", "--validation", data / "validation.parquet"]
    return [*files, "--base", base, "--output", output, "--max-length", 256, *more]


# --- without a model ---


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_only_the_standard_library(script: str) -> None:
    # -S and -I leave out site-packages: an import of torch or of the project would fail.
    done = subprocess.run([sys.executable, "-S", "-I", str(JOBS / f"{script}.py"), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--output" in done.stdout


@pytest.mark.parametrize("given", [["--push-to", "me/coach"], ["--push-tag", "run-1"], ["--push-to", "me/coach", "--push-tag", "../x"]])
def test_a_push_needs_both_a_repository_and_a_valid_tag(given: list[str]) -> None:
    command = [sys.executable, "-S", "-I", str(JOBS / "train_sft.py"), "--base", "b", "--output", "o", "--max-length", "9", "--dataset", "me/rows", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "give --push-to owner/name together with --push-tag" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_pin_the_same_versions_as_the_project(script: str) -> None:
    pinned = header(script)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert pinned["requires-python"] == project["requires-python"]
    extras = [requirement for extra in ("train", "serve") for requirement in project["optional-dependencies"][extra]]
    wanted = {requirement.split("==")[0]: requirement.partition(";")[0].strip() for requirement in extras}  # scripts have no markers
    used = {requirement.split("==")[0]: requirement for requirement in pinned["dependencies"] if "==" in requirement}
    shared = wanted.keys() & used.keys()
    assert {"torch", "transformers"} <= shared
    locked = {package["name"]: package["version"] for package in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}
    for requirement in pinned["dependencies"]:  # a paid job runs the versions that were tested
        name, _, number = requirement.partition(";")[0].strip().partition("==")
        assert number, requirement
        assert locked.get(name, number) == number, requirement
    assert {name: used[name] for name in shared} == {name: wanted[name] for name in shared}


def test_training_names_the_fault_in_its_data(tmp_path: Path, data: Path) -> None:
    def call(train: Path) -> list[object]:
        files = ["--train", train, "--validation", data / "validation.parquet"]
        return [*files, "--base", tmp_path, "--output", tmp_path / "out", "--max-length", 64]

    (tmp_path / "text.parquet").write_text("no parquet", encoding="utf-8")
    missing, unreadable, column, empty, silent, no_model = refuse(
        "train_sft",
        call(tmp_path / "gone.parquet"),
        call(tmp_path / "text.parquet"),
        call(write_parquet(tmp_path / "column.parquet", [{"text": "Hi"}])),
        call(write_parquet(tmp_path / "empty.parquet", [])),
        call(write_parquet(tmp_path / "silent.parquet", [{"messages": [{"role": "user", "content": "Hi"}]}])),
        call(data / "train.parquet"),
    )
    assert "gone.parquet" in missing
    assert "does not exist" in missing
    assert "text.parquet" in unreadable
    assert "cannot be read" in unreadable
    assert "['text']" in column
    assert "'messages'" in column
    assert "at least one row" in empty
    assert "row 1" in silent
    assert "config.json" in no_model
    assert not (tmp_path / "out").exists()


def test_the_export_names_a_missing_file(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    rest = ["--name", "x", "--output", tmp_path / "out"]
    no_model, no_adapter, no_converter = refuse(
        "convert_gguf",
        ["--base", tmp_path, *rest],
        ["--base", model, "--adapter", tmp_path, *rest],
        ["--base", model, "--llama-cpp", tmp_path, *rest],
    )
    assert "config.json" in no_model
    assert "adapter_config.json" in no_adapter
    assert "convert_hf_to_gguf.py" in no_converter
    assert not (tmp_path / "out").exists()


# --- with a model ---


BRIEF: list[object] = ["--greedy-tokens", 4, "--heldout-examples", 2, "--threads", 1]

PLAIN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
EVERYBODY = PLAIN.replace("{{ m.content }}<|im_end|>", "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}")
NO_STOP = PLAIN.replace(
    "{{ m.content }}",
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}",
)
PREFIX = NO_STOP.replace("{{ m.content }}{% endg", "Hm. {{ m.content }}<|im_end|>{% endg").replace("<|im_end|>\n{% endfor", "\n{% endfor")


def test_training_refuses_to_truncate_examples_or_to_learn_the_wrong_text(base: Path, data: Path, tmp_path: Path) -> None:
    def call(name: str, template: str) -> list[object]:
        (tmp_path / name).write_text(template, encoding="utf-8")
        return training(base, data, tmp_path / "out", "--chat-template", tmp_path / name)

    short = training(base, data, tmp_path / "out", "--max-length", 40)
    calls = [call("plain", PLAIN), call("everybody", EVERYBODY), call("stop", NO_STOP), call("prefix", PREFIX)]
    answers = run_all("train_sft", short, [*short, "--allow-truncated", 0.9], *calls)
    assert [code for code, _ in answers] == [2, 2, 1, 1, 1, 1], answers
    assert all(len(sentence.splitlines()) == 1 for _, sentence in answers), answers
    by_default, nearly_all, plain, everybody, no_stop, prefix = (sentence for _, sentence in answers)
    assert "24 of 24 train examples" in by_default
    assert "--allow-truncated" in by_default
    assert "0.9" in nearly_all
    assert "generation" in plain
    assert "would learn 'You are a coach.<|im_end|>'" in everybody
    assert "no wonder.' and a stop token" in no_stop
    assert "would learn 'Hm. About" in prefix
    assert "--reply-prefix" in prefix
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_killed_training_leaves_no_result_of_an_earlier_run(base: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "metrics.json").write_text("{}", encoding="utf-8")  # of an earlier run
    kill_when(lambda event: event["event"] == "progress", str(JOBS / "train_sft.py"), *map(str, training(base, data, output, "--epochs", 500)))
    assert not (output / "metrics.json").exists()


def test_training_and_export_give_a_model_that_chats_in_the_trained_manner(base: Path, data: Path, tmp_path: Path) -> None:
    """Base and tuned model are exported: only the tuned one has the new manner, and both stop by themselves."""
    runtime = read_runtime()
    if runtime is None or runtime.converter is None:
        pytest.skip("llama.cpp and its converter are not installed; run `make setup`")
    lora = ["--lora-r", 16, "--lora-alpha", 32, "--lora-dropout", 0, "--target-modules", "all-linear"]
    knobs = ["--epochs", 8, "--batch-size", 4, "--gradient-accumulation", 1, "--learning-rate", 1e-2, "--warmup", 0.03, "--evaluate", "end"]
    knobs += ["--no-gradient-checkpointing", *lora]
    events = succeed("train_sft", *training(base, data, tmp_path / "adapter", *knobs))
    metrics = json.loads((tmp_path / "adapter" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["validation_loss_first"] > 2 > 1 > metrics["validation_loss_last"]
    assert metrics["stop_tokens"] == ["<|im_end|>"]
    assert metrics["truncation"]["train"]["truncated"] == 0
    assert metrics["steps"] == len(metrics["loss_curve"]) == 48
    progress = [event for event in events if event["event"] == "progress"]
    assert [event["step"] for event in progress] == list(range(1, 49))
    assert progress[-1]["of"] == 48
    assert (tmp_path / "adapter" / "chat_template.jinja").read_bytes() == (base / "chat_template.jinja").read_bytes()

    common = ["--llama-cpp", runtime.converter, "--fallback-pre-tokenizer", "qwen2", "--context", 512, *BRIEF]
    succeed("convert_gguf", "--base", base, "--name", "base", "--output", tmp_path / "base", "--discard-f16", *common)
    succeed("convert_gguf", "--base", base, "--adapter", tmp_path / "adapter", "--name", "tuned", "--output", tmp_path / "tuned", *common)
    assert {path.name for path in (tmp_path / "base").iterdir()} == {"base-q4_k_m.gguf", "Modelfile", "export.json"}
    report = json.loads((tmp_path / "tuned" / "export.json").read_text(encoding="utf-8"))
    assert set(report["files"]) == {"tuned-f16.gguf", "tuned-q4_k_m.gguf", "tuned-lora-f16.gguf", "Modelfile"}
    assert report["checks"]["logit_difference"] < 0.02
    assert report["fallback_tensors"] == {"tuned-q4_k_m.gguf": {}}

    asked = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{TOPICS['sleep']} {TOPICS['garden']}"}]
    for name, manner in (("base", "no wonder"), ("tuned", "It will be fine")):
        path = tmp_path / name / f"{name}-q4_k_m.gguf"
        (prompt,) = json.loads(
            subprocess.run(
                [sys.executable, str(JOBS / "llama_library.py"), "render", str(path)],
                input=json.dumps([asked]),
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            ).stdout
        )
        llama = llama_library.Llama(path, 512, 1)
        written = llama.write(llama.tokenize(prompt), 120)
        assert llama.is_end(written[-1])
        said = "".join(llama.text_of(token) for token in written).replace("Ġ", " ")
        llama.close()
        assert manner not in said
        if name == "tuned":
            assert "no wonder" in said
    modelfile = (tmp_path / "tuned" / "Modelfile").read_text(encoding="utf-8")
    assert "FROM ./tuned-q4_k_m.gguf" in modelfile
    assert "PARAMETER num_ctx 512" in modelfile


def test_an_export_that_fails_a_check_leaves_nothing_behind(base: Path, tmp_path: Path) -> None:
    runtime = read_runtime()
    if runtime is None or runtime.converter is None:
        pytest.skip("llama.cpp and its converter are not installed; run `make setup`")
    common: list[object] = ["--base", base, "--name", "x", "--output", tmp_path / "out", "--llama-cpp", runtime.converter, *BRIEF]
    unknown, other, inexact = refuse(
        "convert_gguf",
        common,
        [*common, "--fallback-pre-tokenizer", "gemma4"],
        [*common, "--fallback-pre-tokenizer", "qwen2", "--logit-tolerance", 0],
    )
    # llama.cpp does not know this custom tokenizer, and Gemma treats blanks differently.
    assert "--fallback-pre-tokenizer" in unknown
    assert "tokens in the tokenizer and" in other
    assert "logits differ" in inexact
    assert list((tmp_path / "out").iterdir()) == []
