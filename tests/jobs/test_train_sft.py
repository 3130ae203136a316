"""The training job, run in a separate process on tiny models: what it learns, how it resumes, and what it delivers to the Hub."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.conftest import CHECKOUT, needs
from tests.hub_stub.client import Hub, rate_limit, start_hub
from tests.jobs.conftest import ARCHITECTURES, SCRIPT, Reported, chats, kill_when, read_metrics, run, succeed, train, write_parquet

needs("trl")
pytestmark = [
    # PEFT uses a name that is deprecated in transformers, and the Hub's client uploads files in a way that is deprecated in httpx2.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

NO_THINK = CHECKOUT / "config" / "training" / "qwen3-no-think.jinja"
STOPS = {
    "qwen3": "<|im_end|>",
    "qwen3.5": "<|im_end|>",
    "no-think": "<|im_end|>",
    "llama": "<|eot_id|>",
    "gemma3": "<end_of_turn>",
    "gemma3-vision": "<end_of_turn>",
}
AFTER = {"qwen3": "\n", "qwen3.5": "", "no-think": "", "llama": "", "gemma3": "\n", "gemma3-vision": "\n"}
# The markers of this template strip the blanks and line breaks around them.
TRIMMED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}  {%- generation -%}  \n  {{ m.content }}<|im_end|>  {%- endgeneration -%} \n"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)
# SmolLM2's template, which TRL does not know, and one that writes messages in two places.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SCATTERED = CHATML.replace(
    "{{'<|im_start|>' +", "{% if message['role'] == 'tool' %}{{'<|im_start|>' + message['role'] + '\n' + 'x'}}{% endif %}<|im_start|>{{ '' +"
)
BY_LENGTH: list[object] = ["--batch-size", 2, "--gradient-accumulation", 2, "--save-steps", 4, "--max-steps", 10]
FAST = ["--learning-rate", 1e-2, "--batch-size", 4, "--gradient-accumulation", 1]


def files(data: Path) -> list[object]:
    return ["--train", data / "train.parquet", "--validation", data / "validation.parquet"]


def call(data: Path, base: Path, output: Path, *more: object) -> list[object]:
    return [*files(data), "--base", base, "--output", output, "--max-length", 256, *FAST, *more]


def replies(rows: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for row in rows for message in row["messages"] if message["role"] == "assistant"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill(arguments: list[object], name: str, step: int, where: str = "", changes: dict[str, str] | None = None) -> None:
    """Start a run and kill it at this event, as when its machine is lost."""
    kill_when(
        lambda event: event["event"] == name and event["step"] >= step and where in event.get("where", ""), str(SCRIPT), *map(str, arguments), changes=changes
    )


# --- learning ---


Batch = dict[str, tuple[Path, Reported]]


@pytest.fixture(scope="module")
def batch(data: Path, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Runs without interruption, in one process: the output and the report of each, by its name."""
    folder = tmp_path_factory.mktemp("batch")
    twice = [{"messages": [{"role": "user", "content": "A"}, {"role": "user", "content": "B"}, {"role": "assistant", "content": "C"}]}]
    write_parquet(folder / "twice.parquet", twice)
    (folder / "trimmed.jinja").write_text(TRIMMED, encoding="utf-8")
    (folder / "chatml.jinja").write_text(CHATML, encoding="utf-8")
    (folder / "scattered.jinja").write_text(SCATTERED, encoding="utf-8")
    once: list[object] = ["--max-steps", 1]
    brief: list[object] = ["--no-gradient-checkpointing", "--max-steps"]
    asked: dict[str, tuple[str, list[object]]] = {
        **{name: (name, [*brief, 10]) for name in ARCHITECTURES},
        "qwen3": ("qwen3", []),
        # a step with linear attention takes a third of a second on a CPU
        "qwen3.5": ("qwen3.5", [*brief, 6, "--chat-template", NO_THINK, "--target-modules", "all-linear"]),
        "by-length": ("qwen3", BY_LENGTH),
        "no-think": ("qwen3", [*brief, 10, "--chat-template", NO_THINK]),
        "named": ("gemma3", ["--chat-template", "gemma3_training", *once]),
        "trimmed": ("qwen3", ["--chat-template", folder / "trimmed.jinja", *once]),
        "chatml": ("qwen3", ["--chat-template", folder / "chatml.jinja", *once]),
        "scattered": ("qwen3", ["--chat-template", folder / "scattered.jinja", *once]),
        "misnamed": ("gemma3", ["--chat-template", "gemma4_training_x"]),
        "twice": ("gemma3", ["--train", folder / "twice.parquet"]),
        "thinks": ("qwen3", ["--chat-template", "qwen3", "--reply-prefix", "<think>\n\n</think>\n\n", *once]),
        "gpu-wanted": ("qwen3", ["--qlora", "--offload-checkpoints", *once]),
        "trackio": ("qwen3", ["--trackio-project", "coach", *once]),
        "bitsandbytes": ("qwen3", ["--optimizer", "paged_adamw_8bit", *once]),
    }
    reported = train(*(call(data, bases[base], folder / name, *more) for name, (base, more) in asked.items()))
    return {name: (folder / name, one) for name, one in zip(asked, reported, strict=True)}


def good(batch: Batch, name: str) -> tuple[Path, dict[str, Any], Reported]:
    """Return output, metrics and report of a run, which must have succeeded."""
    output, reported = batch[name]
    assert (reported.code, reported.error) == (0, "")
    return output, read_metrics(output), reported


def bad(batch: Batch, name: str) -> str:
    """Return the one sentence of a run, which must have failed before it created anything."""
    output, reported = batch[name]
    assert (reported.code, len(reported.error.splitlines()), output.exists()) == (1, 1, False)
    return reported.error


def asked_loss(model: Any, tokenizer: Any, after: int = 0) -> float:
    """Return the loss of the validation replies after the prompts that the tokenizer's own template renders in use.

    Args:
        after: tokens of the template behind a reply's stop token, which are not learnt.
    """
    import torch

    means = []
    for row in chats(6):
        losses = []
        for at, message in enumerate(row["messages"]):
            if message["role"] == "assistant":
                asked = tokenizer.apply_chat_template(row["messages"][:at], add_generation_prompt=True, return_dict=False)
                whole = tokenizer.apply_chat_template(row["messages"][: at + 1], return_dict=False)
                ids = torch.tensor([whole[: len(whole) - after]])
                assert ids[0, : len(asked)].tolist() == asked
                with torch.inference_mode():
                    logits = model(input_ids=ids).logits[0, len(asked) - 1 : -1]
                losses += torch.nn.functional.cross_entropy(logits, ids[0, len(asked) :], reduction="none").tolist()
        means.append(fmean(losses))
    return fmean(means)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "no-think"])
def test_exactly_the_replies_and_their_stop_tokens_are_learnt(batch: Batch, name: str) -> None:
    from transformers import AutoTokenizer

    output, metrics, reported = good(batch, name)
    tokenizer: Any = AutoTokenizer.from_pretrained(output)
    assert metrics["validation_loss_last"] < metrics["validation_loss_first"] / 2
    assert metrics["stop_tokens"] == [STOPS[name]]
    texts = [reply + STOPS[name] + AFTER[name] for reply in replies(chats(24, lambda number: 1 + number % 3))]
    assert metrics["supervised_tokens"] == sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert [event["event"] for event in reported.events[:2]] == ["truncation", "mask"]  # before any weight is loaded
    assert reported.named("warning") == []


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_adapter_on_its_base_is_the_trained_model_before_and_after_merging(batch: Batch, bases: dict[str, Path], name: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    output, metrics, _ = good(batch, name)
    tokenizer = AutoTokenizer.from_pretrained(output)
    base: Any = AutoModelForCausalLM.from_pretrained(bases[name])
    before = {key: value.clone() for key, value in base.state_dict().items()}
    after = 1 if name == "qwen3.5" else 0
    assert asked_loss(base.eval(), tokenizer, after) == pytest.approx(metrics["validation_loss_first"], abs=2e-3)
    model: Any = PeftModel.from_pretrained(base, str(output)).eval()
    assert not [key for key in model.state_dict() if "lora" in key and "vision" in key]
    assert asked_loss(model, tokenizer, after) == pytest.approx(metrics["validation_loss_last"], abs=2e-3)
    merged = model.merge_and_unload(safe_merge=True)
    assert asked_loss(merged, tokenizer, after) == pytest.approx(metrics["validation_loss_last"], abs=2e-3)
    changed = {key for key, value in merged.state_dict().items() if not value.equal(before[key])}
    # Four projections in each of two layers. In Qwen3.5: eight matrices in each of three layers, and seven in the fourth.
    assert len(changed) == (31 if name == "qwen3.5" else 8)


def test_the_template_without_thinking_renders_the_same_text_in_training_and_in_use(batch: Batch) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(good(batch, "no-think")[0])
    assert "generation %}" not in tokenizer.chat_template
    given = {"chat_template": NO_THINK.read_text(encoding="utf-8"), "tokenize": False}
    for row in chats(6):
        messages = row["messages"]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert text == tokenizer.apply_chat_template(messages, **given)
        assert text.count("<|im_start|>assistant\n<think>\n\n</think>\n\n") == text.count("<think>") == 2
        for at in (2, 4):
            asked = tokenizer.apply_chat_template(messages[:at], tokenize=False, add_generation_prompt=True)
            assert asked == tokenizer.apply_chat_template(messages[:at], add_generation_prompt=True, **given)
            assert text.startswith(asked + messages[at]["content"] + "<|im_end|>\n")
    with pytest.raises(Exception, match="knows the roles system, user and assistant, not tool"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "7"}], tokenize=False)


@pytest.mark.parametrize("name", ["named", "trimmed", "chatml", "scattered"])
def test_the_template_is_saved_without_its_markers_and_renders_the_same_text(batch: Batch, bases: dict[str, Path], name: str) -> None:
    from transformers import AutoTokenizer

    output, _, reported = good(batch, name)
    assert reported.named("warning") == []
    ours: Any = AutoTokenizer.from_pretrained(output)
    given = {"trimmed": TRIMMED, "chatml": CHATML, "scattered": SCATTERED}.get(name) or (bases["gemma3"] / "chat_template.jinja").read_text(encoding="utf-8")
    assert not re.search(r"\{%-? *(end)?generation", ours.chat_template.rpartition("#}")[2])
    for row in chats(3):
        assert ours.apply_chat_template(row["messages"], tokenize=False) == ours.apply_chat_template(row["messages"], chat_template=given, tokenize=False)


def test_the_replies_of_a_chatml_template_without_markers_are_learnt(batch: Batch) -> None:
    from transformers import AutoTokenizer

    output, metrics, _ = good(batch, "chatml")
    tokenizer: Any = AutoTokenizer.from_pretrained(output)
    texts = [f"{reply}<|im_end|>" for reply in replies(chats(24, lambda number: 1 + number % 3))]
    assert metrics["stop_tokens"] == ["<|im_end|>"]
    assert metrics["supervised_tokens"] == sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    assert tokenizer.chat_template == CHATML


def test_a_template_that_is_unknown_or_does_not_fit_the_data_is_refused(batch: Batch) -> None:
    assert all(word in bad(batch, "misnamed") for word in ("'gemma4_training_x'", "qwen3_instruct_2507"))
    assert all(word in bad(batch, "twice") for word in ("row 1 of train", "alternate"))


def test_a_template_that_renders_past_replies_differently_in_use_is_reported(batch: Batch) -> None:
    # Qwen3's template leaves the think block, which is trained, out of past replies.
    assert "renders past replies differently" in good(batch, "thinks")[2].named("warning")[0]["text"]


def test_progress_and_results_are_reported_and_name_no_folder_of_this_machine(batch: Batch) -> None:
    output, metrics, reported = good(batch, "qwen3")
    progress = reported.named("progress")
    assert [event["step"] for event in progress] == list(range(1, 19)) == [entry["step"] for entry in metrics["loss_curve"]]
    assert all({"of", "loss", "learning_rate", "seconds_left", "tokens"} <= event.keys() for event in progress)
    assert progress[-1]["tokens"] == 3 * metrics["truncation"]["train"]["tokens"]
    assert [event["step"] for event in reported.named("validation")] == [0, 6, 12, 18]
    assert [event["step"] for event in reported.named("checkpoint")] == [6, 12, 18]
    assert metrics["tokens_per_second"] > 0
    assert metrics["resumed_from"] is metrics["peak_memory_bytes"] is None
    assert (metrics["r"], metrics["lora_alpha"], metrics["lora_dropout"]) == (64, 128, 0.05)
    there = {path.name for path in output.iterdir()}
    assert there == {*metrics["files"], "metrics.json"}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja", "trainer_state.json"} <= there
    assert all(facts == {"bytes": (output / name).stat().st_size, "sha256": digest(output / name)} for name, facts in metrics["files"].items())
    # The result may be published, so it must not contain paths of this machine.
    for path in output.glob("*.json"):
        assert str(output.parent.parent) not in path.read_text(encoding="utf-8"), path.name


# --- missing hardware and packages ---


def test_options_that_need_a_gpu_are_reported_where_there_is_none(batch: Batch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    _, metrics, reported = good(batch, "gpu-wanted")
    assert [event["text"].split()[0] for event in reported.named("fallback")] == ["--qlora", "--offload-checkpoints"]
    assert metrics["method"] == "lora"


@pytest.mark.parametrize("package", ["trackio", "bitsandbytes"])
def test_a_missing_package_is_named_before_the_training(batch: Batch, package: str) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    assert f"install {package}" in bad(batch, package)


def test_too_little_gpu_memory_is_reported_in_one_sentence_with_remedies(data: Path, bases: dict[str, Path], tmp_path: Path) -> None:
    # Stands in for a GPU: the error that PyTorch raises when its memory is full.
    full = "import json, runpy, sys\ndef fail(*_, **__):\n    import torch\n    raise torch.cuda.OutOfMemoryError('CUDA out of memory')\n"
    code = f"{full}names = runpy.run_path(sys.argv[1])\nnames['main'].__globals__['run'] = fail\nsys.exit(names['main'](json.loads(sys.argv[2])))"
    arguments = json.dumps([str(word) for word in call(data, bases["qwen3"], tmp_path / "out")])
    done = run("-c", code, str(SCRIPT), arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert all(remedy in done.stderr for remedy in ("--max-length", "--offload-checkpoints", "--lora-dropout 0", "larger GPU"))


# --- stopped and resumed ---


@pytest.fixture(scope="module")
def resumed(data: Path, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Runs that were killed once or twice and started again: the output and the last report of each, by its name."""
    folder = tmp_path_factory.mktemp("resumed")
    shutil.copytree(data, folder / "data")
    write_parquet(folder / "data" / "train.parquet", chats(24))
    write_parquet(folder / "data" / "validation.parquet", chats(100))  # so that some time passes between the last step and the end
    twice = call(data, bases["qwen3"], folder / "twice", "--save-steps", 2)
    ended = call(folder / "data", bases["qwen3"], folder / "ended", "--save-steps", 2, "--max-steps", 4, "--evaluate", "end")
    by_length = call(data, bases["qwen3"], folder / "by-length", *BY_LENGTH)
    kill(by_length, "checkpoint", 8)  # within the second epoch
    kill(ended, "checkpoint", 4)
    kill(twice, "checkpoint", 2)  # within an epoch
    for name in ("knob", "rows"):
        shutil.copytree(folder / "twice", folder / name)
    shutil.copytree(folder / "twice" / "checkpoint-2", folder / "twice" / "checkpoint-16")
    (folder / "twice" / "checkpoint-16" / "complete.json").unlink()  # as if it was being written
    kill(twice, "checkpoint", 6)  # at the end of an epoch
    assert not any((folder / "twice" / name).exists() for name in ("checkpoint-16", "checkpoint-4", "metrics.json"))
    reported = succeed(
        twice,
        ended,
        call(data, bases["qwen3"], folder / "knob", "--max-steps", 1),
        call(data, bases["qwen3"], folder / "rows", "--train", folder / "data" / "train.parquet"),
        by_length,
    )
    return {name: (folder / name, one) for name, one in zip(("twice", "ended", "knob", "rows", "by-length"), reported, strict=True)}


def assert_same(output: Path, whole: Path) -> None:
    """Check that two runs ended with the same weights and report the same losses."""
    assert digest(output / "adapter_model.safetensors") == digest(whole / "adapter_model.safetensors")
    ours, theirs = read_metrics(output), read_metrics(whole)
    assert all(ours[curve] == theirs[curve] for curve in ("loss_curve", "validation_curve"))


def test_a_killed_run_resumes_and_ends_with_the_same_weights(batch: Batch, resumed: Batch) -> None:
    output, metrics, reported = good(resumed, "twice")
    step = reported.named("resumed")[0]["step"]
    assert step >= 6
    assert [event["step"] for event in reported.named("progress")] == list(range(step + 1, 19))
    assert reported.named("progress")[-1]["tokens"] == 3 * metrics["truncation"]["train"]["tokens"]
    assert metrics["resumed_from"] == step
    assert_same(output, good(batch, "qwen3")[0])
    assert not list(output.glob("checkpoint-*"))


def test_a_killed_run_with_larger_batches_resumes_and_ends_with_the_same_weights(batch: Batch, resumed: Batch) -> None:
    output, _, reported = good(resumed, "by-length")
    assert reported.named("resumed")[0]["step"] == 8
    assert_same(output, good(batch, "by-length")[0])


def test_a_run_killed_after_its_last_step_trains_no_further(resumed: Batch) -> None:
    _, metrics, reported = good(resumed, "ended")
    assert reported.named("progress") == []
    assert reported.named("resumed") == [{"event": "resumed", "step": 4}]
    assert metrics["steps"] == len(metrics["loss_curve"]) == 4
    assert metrics["validation_loss_last"] < metrics["validation_loss_first"]


@pytest.mark.parametrize("name", ["knob", "rows"])
def test_a_checkpoint_of_other_arguments_or_data_is_not_resumed(resumed: Batch, name: str) -> None:
    _, _, reported = good(resumed, name)
    assert reported.named("resumed") == []
    assert "other arguments or data" in reported.named("warning")[0]["text"]
    assert reported.named("progress")[0]["step"] == 1


# --- the Hub ---


def client(hub: Hub) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.url, token="hf_write")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with start_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(running: Hub, data: Path, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A Hub with a private base, and with a private dataset whose main branch is newer than the commit that is trained on."""
    from huggingface_hub import constants

    for switch, value in {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(constants, switch, value)
    running.reset()
    api = client(running)
    for name, kind, folder in (("me/data", "dataset", data), ("me/base", "model", bases["qwen3"])):
        api.create_repo(name, repo_type=kind, private=True)
        api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder)
    api.upload_file(repo_id="me/data", repo_type="dataset", path_or_fileobj=b"no parquet", path_in_repo="train.parquet")
    return running


def remote(hub: Hub, output: Path, *more: object, tag: str = "run-1") -> list[object]:
    """Return the arguments of a job on another machine; it trains on the last but one commit of the dataset."""
    pinned = client(hub).list_repo_commits("me/data", repo_type="dataset")[1].commit_id
    there: list[object] = ["--dataset", "me/data", "--dataset-revision", pinned, "--base", "me/base", "--push-to", "me/coach", "--push-tag", tag]
    return [*there, "--output", output, "--max-length", 256, *FAST, "--save-steps", 4, "--retry-seconds", 0.01, *more]


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that gives the environment of a job on a new machine."""

    def start(token: str | None = "hf_write") -> dict[str, str]:
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        return hub.environment(tmp_path / "home", token=token)

    return start


def commits(hub: Hub, branch: str) -> list[str]:
    return [commit.title for commit in client(hub).list_repo_commits("me/coach", revision=branch)]


def names(refs: list[Any]) -> list[str]:
    return [ref.name for ref in refs]


def test_a_job_resumes_on_another_machine_and_delivers_its_result_once(hub: Hub, machine: Callable[..., dict[str, str]], batch: Batch, tmp_path: Path) -> None:
    api, first = client(hub), tmp_path / "first"
    kill(remote(hub, first), "checkpoint", 4, "me/coach@", machine())
    refs = api.list_repo_refs("me/coach")
    assert (sorted(names(refs.branches)), refs.tags) == (["checkpoints-run-1", "main"], [])
    assert {path.partition("/")[0] for path in api.list_repo_files("me/coach", revision="checkpoints-run-1")} == {".gitattributes", "checkpoint"}
    before = len(commits(hub, "main"))
    # Each kind of call fails twice; for commits and tags, only the answer is lost.
    failures = [
        {"pattern": part, "status": 503} for part in ("/repos/create", "/preupload/", "me/coach/revision", "/tree/", "me/data/revision", "model.safetensors")
    ]
    failures += [{"pattern": part, "drop": True} for part in ("/auth-check", "resolve/[^/]+/checkpoint/optimizer.pt", "me/data/resolve", "/tokenizer.json")]
    failures += [{"pattern": part, "status": 200, "body": "<html>Bad gateway</html>"} for part in ("/preupload/", "/auth-check")]
    failures += [{"pattern": part, "after": True} for part in ("/commit/main", "/commit/checkpoints", "/tag/", "/branch/")]
    hub.faults(*({**fault, "times": 2} for fault in (*failures, {"pattern": "/refs", **rate_limit(1)})))
    second, third = tmp_path / "second", tmp_path / "third"
    reported, again = succeed(remote(hub, second), remote(hub, third), changes=machine())
    assert reported.named("resumed")[0]["step"] >= 4
    assert_same(second, good(batch, "qwen3")[0])

    metrics, refs = read_metrics(second), api.list_repo_refs("me/coach")
    assert metrics["truncation"]["train"]["examples"] == 24
    assert (names(refs.branches), names(refs.tags)) == (["main"], ["run-1"])
    assert len(commits(hub, "main")) == before + 1
    (pushed,) = reported.named("pushed")
    assert (pushed["repo"], pushed["tag"], pushed["commit"]) == ("me/coach", "run-1", refs.tags[0].target_commit)
    assert api.repo_info("me/coach").private
    assert set(api.list_repo_files("me/coach", revision="run-1")) == {".gitattributes", "metrics.json", *metrics["files"]}
    for name, facts in metrics["files"].items():
        content = hub.get(f"/me/coach/resolve/run-1/{name}")
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert hub.get("/me/coach/resolve/run-1/metrics.json") == (second / "metrics.json").read_bytes()
    # The job had finished already.
    assert [(event["event"], event["commit"]) for event in again.events] == [("pushed", pushed["commit"])]
    assert not third.exists()


def test_failed_pushes_lose_nothing_and_reveal_no_secret(hub: Hub, machine: Callable[..., dict[str, str]], batch: Batch, tmp_path: Path) -> None:
    hub.faults({"pattern": "/commit/", "status": 500, "body": {"error": "Down for hf_write at https://cdn.example/x?Signature=abc."}})
    output, changes, whole = tmp_path / "out", machine(), good(batch, "qwen3")[0]
    arguments = remote(hub, output, "--public", "--save-steps", 9, tag="v1.0")
    (failed,) = train(arguments, changes=changes)
    assert (failed.code, len(failed.error.splitlines())) == (1, 1)
    assert all(word in failed.error for word in ("answered 500", "https://cdn.example/x", str(output)))
    assert not [word for word in ("hf_write", "Signature") if word in failed.error + json.dumps(failed.events)]
    assert [event["step"] for event in failed.named("progress")] == list(range(1, 19))
    assert {event["text"][:23] for event in failed.named("warning")} == {"The checkpoint at step "}
    assert_same(output, whole)
    assert client(hub).list_repo_refs("me/coach").tags == []
    hub.faults()
    (reported,) = succeed(arguments, changes=changes)
    assert reported.named("progress") == []
    assert_same(output, whole)
    assert names(client(hub).list_repo_refs("me/coach").tags) == ["v1.0"]
    assert not client(hub).repo_info("me/coach").private


def test_missing_repositories_and_permissions_are_one_sentence_before_anything_is_loaded(
    hub: Hub, machine: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    api = client(hub)
    api.create_repo("me/coach", private=True)
    api.create_repo("me/half", repo_type="dataset", private=True)
    api.upload_file(repo_id="me/half", repo_type="dataset", path_or_fileobj=b"x", path_in_repo="data/train-00000-of-00001.parquet")
    output = tmp_path / "out"
    good = remote(hub, output)
    (reader,) = train(good, changes=machine("hf_read"))
    (anonymous,) = train(good, changes=machine(None))
    half, gone, commit, unnamed, offline = train(
        [*good, "--dataset", "me/half", "--dataset-revision", "main"],
        [*good, "--dataset", "me/gone"],
        [*good, "--dataset-revision", "0" * 40],
        [*good, "--dataset", "a/b/c"],
        [*good, "--base", "me/no-base"],
        changes=machine(),
    )
    reported = [reader, anonymous, half, gone, commit, unnamed, offline]
    words = ["may do this", "HF_TOKEN", "no split 'validation'", "'me/gone'", "revision", "'a/b/c'", "'me/no-base'"]
    for one, word in zip(reported, words, strict=True):
        assert (one.code, one.events, len(one.error.splitlines())) == (1, [], 1)
        assert word in one.error
        assert "hf_" not in one.error
    assert not output.exists()


def test_nothing_is_pushed_to_a_public_model_or_space_by_default(hub: Hub, machine: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    api, output = client(hub), tmp_path / "out"
    api.create_repo("me/coach", private=False)
    api.create_repo("me/board", repo_type="space", space_sdk="gradio", private=False)
    good = remote(hub, output)
    reported = train(good, [*good, "--push-to", "me/other", "--trackio-project", "p", "--trackio-space", "me/board"], changes=machine())
    for one, name in zip(reported, ("The model 'me/coach'", "The space 'me/board'"), strict=True):
        assert (one.code, one.events) == (1, [])
        assert f"{name} is public, and nothing is pushed there" in one.error
    assert len(commits(hub, "main")) == 1
    assert not output.exists()
