"""The ways of learning, on tiny models: each reply once, the slices, and the slices folded into one pass over each conversation."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.slicing import SliceReport, Tokenizer, cut
from core.records import Exchange, Transcript
from core.settings.pipeline import Slicing
from core.training.windows import windowed_tokens
from deployments.jobs.train.data import Row
from deployments.jobs.train.windows import trimmed, windows_of
from tests.conftest import CHECKOUT, needs
from tests.jobs.conftest import SYSTEM, Reported, chats, read_metrics, train, write_parquet

needs("trl")
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NO_THINK = CHECKOUT / "config" / "training" / "qwen3-no-think.jinja"
LENGTHS = (3, 7, 4, 9)
WORDS = Tokenizer("words", lambda text: len(text.split()))
# One step of plain gradient descent over all rows: the change of the weights is the gradient.
ONE_STEP = ["--max-steps", 1, "--gradient-accumulation", 64, "--optimizer", "sgd", "--warmup", 0, "--schedule", "constant", "--lora-dropout", 0]

Runs = dict[str, tuple[Path, Reported]]


def transcripts() -> list[Transcript]:
    """Conversations of several lengths."""
    talks = []
    for number, row in enumerate(chats(len(LENGTHS), lambda number: LENGTHS[number])):
        texts = [message["content"] for message in row["messages"][1:]]
        exchanges = [Exchange(exchange_number=n, user=user, assistant=reply) for n, (user, reply) in enumerate(zip(texts[::2], texts[1::2], strict=True), 1)]
        talks.append(Transcript(id=f"t{number}", exchanges=exchanges))
    return talks


@pytest.fixture(scope="module")
def runs(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All runs, in one process: the output and the report of each, by its name."""
    folder = tmp_path_factory.mktemp("learning")
    made = list(cut(transcripts(), lambda _: SYSTEM, Slicing(first=3, gap=(2, 5)), WORDS, SliceReport()))
    write_parquet(folder / "conversations.parquet", [{"messages": whole.messages, "slices": whole.slices} for whole, _ in made])
    write_parquet(folder / "slices.parquet", [{"messages": example.messages} for _, examples in made for example in examples])
    write_parquet(folder / "corrected.parquet", [{"messages": whole.messages, "slices": [0, 1] + [0] * (len(whole.slices) - 2)} for whole, _ in made])
    write_parquet(folder / "uneven.parquet", [{"messages": whole.messages, "slices": whole.slices[1:]} for whole, _ in made])
    asked: dict[str, tuple[str, str, list[object]]] = {
        "slices": ("qwen3", "slices", ["--learn", "slices"]),
        "slices-by-two": ("qwen3", "slices", ["--learn", "slices", "--batch-size", 2]),
        "folded": ("qwen3", "conversations", ["--learn", "slices_folded"]),
        "folded-packed": ("qwen3", "conversations", ["--learn", "slices_folded", "--packing"]),
        "folded-by-three": ("qwen3", "conversations", ["--learn", "slices_folded", "--batch-size", 3]),
        "once": ("qwen3", "conversations", ["--learn", "each_reply_once"]),
        **{f"{name}-loose": (name, "conversations", ["--learn", "each_reply_once"]) for name in ("gemma3", "qwen3.5")},
        **{f"{name}-packed": (name, "conversations", ["--learn", "each_reply_once", "--packing"]) for name in ("qwen3", "gemma3", "qwen3.5")},
        "windows": ("qwen3", "conversations", ["--learn", "each_reply_once", "--max-length", 200]),
        "corrected": ("qwen3", "corrected", ["--learn", "each_reply_once"]),
        "too-short": ("qwen3", "conversations", ["--learn", "each_reply_once", "--max-length", 60]),
        "without": ("qwen3", "slices", ["--learn", "slices_folded"]),
        "uneven": ("qwen3", "uneven", ["--learn", "each_reply_once"]),
    }
    reported = train(
        *(
            [
                *("--train", folder / f"{data}.parquet", "--validation", folder / "conversations.parquet", "--base", bases[base]),
                *("--output", folder / name, "--max-length", 1000, *ONE_STEP, *(["--chat-template", NO_THINK] if base == "qwen3.5" else []), *more),
            ]
            for name, (base, data, more) in asked.items()
        )
    )
    return {name: (folder / name, one) for name, one in zip(asked, reported, strict=True)}


def good(runs: Runs, name: str) -> dict[str, Any]:
    output, reported = runs[name]
    assert (reported.code, reported.error) == (0, "")
    return read_metrics(output)


def changed(runs: Runs, name: str) -> tuple[Any, float]:
    """Return the change of the weights by the step, and the norm of the gradient before clipping."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(runs[name][0] / "adapter_model.safetensors")
    log = json.loads((runs[name][0] / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return torch.cat([weights[key].flatten() for key in sorted(weights) if "lora_B" in key]), next(entry["grad_norm"] for entry in log if "grad_norm" in entry)


@pytest.mark.parametrize("name", ["slices-by-two", "folded", "folded-packed", "folded-by-three"])
def test_folded_slices_have_the_gradient_of_the_slices(runs: Runs, name: str) -> None:
    sliced, folded = good(runs, "slices"), good(runs, name)
    (wanted, norm), (found, other) = changed(runs, "slices"), changed(runs, name)
    assert wanted.norm() > 0
    assert (found - wanted).norm() / wanted.norm() < 1e-4
    assert other == pytest.approx(norm, rel=1e-4)
    assert folded["train_loss_first"] == pytest.approx(sliced["train_loss_first"], abs=1e-4)
    if "folded" in name:
        assert folded["tokens"] < sliced["tokens"] / 2


def test_the_validation_loss_is_the_mean_over_tokens_for_any_batch_size(runs: Runs) -> None:
    one, three = good(runs, "folded"), good(runs, "folded-by-three")
    assert three["validation_loss_first"] == pytest.approx(one["validation_loss_first"], abs=1e-4)


def test_each_reply_once_learns_every_reply_and_has_a_different_gradient(runs: Runs) -> None:
    once = good(runs, "once")
    (wanted, _), (found, _) = changed(runs, "slices"), changed(runs, "once")
    assert (found - wanted).norm() / wanted.norm() > 1e-2
    assert once["replies"] == sum(LENGTHS)
    assert list(once["validation_by_reply"]) == ["1", "2-3", "4-7", "8-15"]


@pytest.mark.parametrize(("name", "separate"), [("qwen3", "once"), ("gemma3", "gemma3-loose"), ("qwen3.5", "qwen3.5-loose")])
def test_packed_conversations_have_the_loss_and_the_gradient_of_separate_ones(runs: Runs, name: str, separate: str) -> None:
    # Gemma's attention has a window. Qwen3.5's is linear, and only some kernels keep conversations apart: without them nothing is packed.
    loose, packed = good(runs, separate), good(runs, f"{name}-packed")
    assert all(packed[loss] == pytest.approx(loose[loss], abs=1e-4) for loss in ("train_loss_first", "validation_loss_first"))
    assert all(packed[fact] == loose[fact] for fact in ("stop_tokens", "supervised_tokens"))
    assert runs[f"{name}-packed"][1].named("progress")[0]["tokens"] == loose["truncation"]["train"]["tokens"]
    (wanted, norm), (found, other) = changed(runs, separate), changed(runs, f"{name}-packed")
    assert (found - wanted).norm() / wanted.norm() < 1e-3
    assert other == pytest.approx(norm, rel=1e-3)
    assert (packed["packing"], len(runs[f"{name}-packed"][1].named("fallback"))) in ((True, 0), (False, 1))


def test_a_long_conversation_becomes_windows_in_which_each_reply_is_learnt_once(runs: Runs) -> None:
    windows, once = good(runs, "windows"), good(runs, "once")
    assert (windows["replies"], windows["supervised_tokens"]) == (once["replies"], once["supervised_tokens"])
    assert windows["truncation"]["train"]["truncated"] == 0 < windows["truncation"]["train"]["examples"] - len(LENGTHS)
    assert windows["tokens"] > once["tokens"]


def test_of_a_corrected_conversation_only_the_corrected_replies_are_learnt_and_what_follows_is_dropped(runs: Runs) -> None:
    corrected = good(runs, "corrected")
    assert corrected["replies"] == len(LENGTHS)
    assert corrected["tokens"] < good(runs, "once")["tokens"] / 2


def test_data_that_do_not_fit_the_way_of_learning_are_refused_in_one_sentence(runs: Runs) -> None:
    for name, code, words in (
        ("too-short", 2, ("--max-length 60", "--allow-truncated")),
        ("without", 1, ("'slices'", "slices_folded")),
        ("uneven", 1, ("row 1", "each reply needs one number")),
    ):
        output, reported = runs[name]
        assert (reported.code, len(reported.error.splitlines()), output.exists()) == (code, 1, False)
        assert all(word in reported.error for word in words), reported.error


SIZES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3)), min_size=1, max_size=25)


@given(SIZES, st.integers(0, 20), st.integers(20, 200))
def test_windows_contain_every_reply_to_learn_exactly_once(sizes: list[tuple[int, int, int]], frame: int, limit: int) -> None:
    messages = [{"role": "system", "content": "s " * frame}] if frame else []
    for number, (user, reply, _) in enumerate(sizes):
        messages += [{"role": "user", "content": "u " * user}, {"role": "assistant", "content": f"{number} " * reply}]
    times = [count for *_, count in sizes]
    if not any(times):
        return
    rows = windows_of(trimmed(Row(messages, times)), encoded, limit)
    learnt = [(row.before + at, count) for row in rows for at, count in enumerate(row.times) if count]
    assert learnt == [(at, count) for at, count in enumerate(times) if count]
    for row in rows:
        replies = [message["content"] for message in row.messages if message["role"] == "assistant"]
        numbers = [int(text.split()[0]) for text in replies]
        assert numbers == list(range(row.before, row.before + len(row.times)))
        assert row.messages[: len(messages) - 2 * len(sizes)] == messages[: len(messages) - 2 * len(sizes)]
        assert len(encoded(row.messages)[0]) <= limit or len(row.times) == 1
    assert all(later.before > row.before for row, later in pairwise(rows))
    taken = [min(limit, len(encoded(row.messages)[0])) for row in rows]
    assert windowed_tokens(frame, [user + reply for user, reply, _ in sizes], times, limit) == taken


def encoded(messages: Iterable[dict[str, str]]) -> tuple[list[str], list[bool]]:
    """Return the tokens of a conversation, one for each word, and which of them are learnt."""
    words = [(word, message["role"] == "assistant") for message in messages for word in message["content"].split()]
    return [word for word, _ in words], [learnt for _, learnt in words]
