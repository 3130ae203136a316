"""Tiny models of the supported architectures with their own tokenizers, and the training script run on them in a separate process."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from blocks.llama_runtime import read_runtime
from tests.conftest import CHECKOUT, RUN, SHARED, needs
from tests.nursery import Forked, Nursery

SCRIPT = CHECKOUT / "deployments" / "jobs" / "built" / "train_sft.py"
SYSTEM = "You are a coach."
ARCHITECTURES = ("qwen3", "qwen3.5", "llama", "gemma3", "gemma3-vision")
TOPICS = {"work": "My boss is loud.", "sleep": "I wake at three.", "money": "The rent goes up.", "garden": "The roses died."}
SHAPE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}

# Several runs share a process, since importing torch takes longer than a small run.
DRIVER = """
import contextlib, io, json, runpy, sys
main = runpy.run_path(sys.argv[1])["main"]
for arguments in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as complained:
        code = main(arguments)
    print(json.dumps([code, said.getvalue(), complained.getvalue()]))
"""


@dataclass(frozen=True)
class Reported:
    """The exit code, the events and the error message of a run."""

    code: int
    events: list[dict[str, Any]]
    error: str

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the events with this name."""
        return [event for event in self.events if event["event"] == name]


def environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a run. It has no variable of Prefect, as when a flow starts the script."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **(changes or {})}


def train(*calls: Iterable[object], changes: dict[str, str] | None = None, script: Path = SCRIPT) -> list[Reported]:
    """Run a script with each of these lists of arguments, one after the other.

    Args:
        changes: to the environment.
        script: by default the training's.
    """
    arguments = json.dumps([[str(word) for word in call] for call in calls])
    done = run("-c", DRIVER, str(script), arguments, changes=changes)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [Reported(code, [json.loads(line) for line in said.splitlines()], error.strip()) for code, said, error in answers]


LIBRARIES = ("torch", "datasets", "peft", "trl.trainer.sft_trainer", "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto")


NURSERIES: list[Nursery] = []


def nursery_for(given: dict[str, str]) -> Nursery | None:
    """Return the process with the libraries of trainings, from which runs, jobs, what flows start and tiny bases are forked; none in another environment.

    All workers of a test run have one.
    """
    if not NURSERIES:
        own = environment({"TQDM_DISABLE": "1"})  # as the scripts set it
        # a job's script lies in a temporary folder
        programs = [*(str(CHECKOUT / room) for room in ("deployments/jobs", "tests/tiny")), tempfile.gettempdir()]
        NURSERIES.append(Nursery(SHARED / "trainers", LIBRARIES, own, programs, RUN))
        atexit.register(NURSERIES[0].close)
    return NURSERIES[0] if NURSERIES[0].fits(given) else None


def start(*words: str, changes: dict[str, str] | None, errors: IO[str] | None, stdin: int | None = None) -> "Forked | subprocess.Popen[str]":
    """Start `python` with words; where its environment allows, forked from a process that has the libraries.

    Args:
        words: a script and its words, or code behind `-c`.
        changes: to the environment.
        errors: file for stderr; none throws it away.
        stdin: file descriptor; by default there is nothing to read.
    """
    given = environment(changes)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        place = errors or nowhere
        if found := nursery_for(given):
            return found.start(words, given, place.fileno(), stdin)
        return subprocess.Popen([sys.executable, *words], stdin=stdin, stdout=subprocess.PIPE, stderr=place, text=True, env=given)


def run(*words: str, changes: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python` with words, as `start` does, to its end."""
    with tempfile.TemporaryFile("w+") as errors:
        process = start(*words, changes=changes, errors=errors)
        said, _ = process.communicate(timeout=300)
        errors.seek(0)
        return subprocess.CompletedProcess(words, process.wait(), said, errors.read())


def kill_when(wanted: Callable[[dict[str, Any]], bool], *words: str, changes: dict[str, str] | None = None) -> None:
    """Start a script and kill it with SIGKILL at the first event that `wanted` accepts."""
    job = start(*words, changes=changes, errors=None)
    for line in job.stdout or ():
        if wanted(json.loads(line)):
            break
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    if job.stdout:
        job.stdout.close()


def succeed(*calls: Iterable[object], changes: dict[str, str] | None = None) -> list[Reported]:
    """Run the script as `train` does; each run must succeed."""
    reported = train(*calls, changes=changes)
    assert [(one.code, one.error) for one in reported] == [(0, "")] * len(calls)
    return reported


def read_metrics(output: Path) -> dict[str, Any]:
    """Return the content of metrics.json of a finished run."""
    return json.loads((output / "metrics.json").read_text(encoding="utf-8"))


def chats(count: int, exchanges: Callable[[int], int] = lambda _: 2) -> list[dict[str, Any]]:
    """Return conversations in which every message names two topics.

    Args:
        exchanges: how many a conversation has, by its number.
    """
    names, rows = list(TOPICS), []
    for number in range(count):
        messages = [{"role": "system", "content": SYSTEM}]
        for turn in range(exchanges(number)):
            topics = [names[(number + turn) % 4], names[(number * 3 + turn + 1 + number // 4) % 4]]
            messages.append({"role": "user", "content": " ".join(TOPICS[topic] for topic in topics)})
            messages.append({"role": "assistant", "content": " ".join(f"About {topic}: I hear you, no wonder." for topic in topics)})
        rows.append({"messages": messages})
    return rows


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as a data file."""
    from pyarrow import Table, parquet

    parquet.write_table(Table.from_pylist(rows), path)
    return path


def make_tokenizer(specials: dict[str, str], more: list[str], template: str) -> Any:
    """Return a tokenizer of a few hundred tokens with a family's chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.BPE())
    built.pre_tokenizer, built.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = [message["content"] for row in chats(16) for message in row["messages"]]
    built.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=380, special_tokens=[*specials.values(), *more], initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, **specials, additional_special_tokens=more)
    tokenizer.chat_template = read_template(template)
    return tokenizer


PROVING = Namespace(learn="slices", reply_prefix="", max_length=10_000)


def label(script: dict[str, Any], chats: list[list[dict[str, str]]], tokenizer: Any, template: str) -> tuple[list[Any], list[Any]]:
    """Return the labelled examples of conversations in which each reply counts once, and the rows that they come from."""
    rows = [script["Row"](chat, [1 for message in chat if message["role"] == "assistant"]) for chat in chats]
    kept, examples = script["encode"](rows, tokenizer, template, "train", PROVING)
    return examples, kept


def read_template(name: str) -> str:
    """Return a chat template that comes with TRL or with llama.cpp's sources."""
    from trl import chat_template_utils

    runtime = read_runtime()
    folders = [Path(chat_template_utils.__file__).parent / "chat_templates"]
    if runtime and runtime.converter:
        folders.append(runtime.converter / "models" / "templates")
    found = [path for folder in folders if (path := folder / f"{name}.jinja").is_file()]
    if not found:
        pytest.skip(f"the chat template {name} comes with llama.cpp's sources; run `make setup`")
    return found[0].read_text(encoding="utf-8")


QWEN_IMAGES = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}


def qwen_with_images(text: dict[str, Any], tokenizer: Any) -> Any:
    """Return the config of a small Qwen3.5 with a vision tower and four layers; only the last one has full attention."""
    import transformers

    linear = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 64, "linear_value_head_dim": 64}
    sight = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "num_position_embeddings": 16}
    return transformers.Qwen3_5Config(
        text_config={**text, **linear, "num_hidden_layers": 4, "model_type": "qwen3_5_text"},
        vision_config={**sight, "out_hidden_size": text["hidden_size"], "model_type": "qwen3_5_vision"},
        tie_word_embeddings=text["tie_word_embeddings"],
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in QWEN_IMAGES.items()},
    )


def make_base(folder: Path, architecture: str) -> Path:
    """Make a random model with its tokenizer.

    Args:
        architecture: `qwen3`, `llama`, `gemma3`; `gemma3-vision` and `qwen3.5` also have a vision tower.
    """
    import torch
    import transformers

    torch.manual_seed(1)
    if architecture == "qwen3":
        tokenizer = make_tokenizer({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>"], "qwen3_instruct_2507")
    elif architecture == "qwen3.5":
        marks = ["<|im_start|>", "<think>", "</think>", *QWEN_IMAGES.values()]
        tokenizer = make_tokenizer({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, marks, "qwen3_5_nothink")
    elif architecture == "llama":
        marks = ["<|start_header_id|>", "<|end_header_id|>"]
        tokenizer = make_tokenizer({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, marks, "llama3")
    else:
        marks = ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"]
        tokenizer = make_tokenizer({"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}, marks, "gemma3")
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text: dict[str, Any] = {
        **SHAPE,
        **ids,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 1024,
        "initializer_range": 0.1,
        "tie_word_embeddings": True,
    }
    if architecture == "qwen3":
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**text))
    elif architecture == "qwen3.5":
        model = transformers.Qwen3_5ForConditionalGeneration(qwen_with_images(text, tokenizer))
    elif architecture == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**text))
    elif architecture == "gemma3":
        model = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**text, query_pre_attn_scalar=16, sliding_window=64))
    else:
        sight = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
        tokens = {"boi_token_index": "<start_of_image>", "eoi_token_index": "<end_of_image>", "image_token_id": "<image_soft_token>"}
        images: dict[str, Any] = {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
        decoder = {**text, "query_pre_attn_scalar": 16, "sliding_window": 64, "model_type": "gemma3_text"}
        config = transformers.Gemma3Config(
            text_config=decoder, vision_config={**sight, "model_type": "siglip_vision_model"}, mm_tokens_per_image=4, tie_word_embeddings=True, **images
        )
        model = transformers.Gemma3ForConditionalGeneration(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both splits; the conversations have one to three exchanges."""
    needs("trl")
    folder = tmp_path_factory.mktemp("data")
    write_parquet(folder / "train.parquet", chats(24, lambda number: 1 + number % 3))
    write_parquet(folder / "validation.parquet", chats(6))
    return folder


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random model of each architecture."""
    needs("trl")
    folder = tmp_path_factory.mktemp("bases")
    return {name: make_base(folder / name, name) for name in ARCHITECTURES}
