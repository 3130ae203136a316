"""Measures the held-out loss by reply position against trained tokens and CPU seconds, for each way of learning, on SmolLM2-135M.

    python -m bench.learning BASE OUTPUT NAME=FOLDER ...      train, except for what OUTPUT/learning.jsonl already contains
    python -m bench.learning --tokens NAME=FOLDER ...         count the tokens of one pass over complete folders, without training
    python -m bench.learning --draw OUTPUT PICTURE.svg        print the tables of OUTPUT, and draw the picture

Training takes about half an hour for each corpus; the other two take seconds.

BASE is the folder of an unpacked base (`understudy train` puts it under models/bases); a FOLDER contains transcripts. Conversations are cut into pieces of some
exchanges and their messages to some words, so that a CPU can train on them. Each seed draws other conversations. All ways make the same number of optimiser
steps: each_reply_once and slices_folded make one per conversation, slices one per as many slices as a conversation has on average. For all ways, the held-out
loss counts each reply once, within its complete conversation.
"""

import json
import random
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from blocks.tokens import load_tokenizer
from core.dataset.example_files import ExampleFile
from core.dataset.slicing import Conversation, Example, SliceReport, Tokenizer, cut
from core.imports.transcript_files import find_transcripts
from core.pictures import COLOURS, MARKERS, TEXT, picture
from core.records import Exchange, Transcript
from core.settings.jobs import LEARN
from core.settings.pipeline import Slicing
from core.training.windows import windowed_tokens
from deployments.jobs.common.events import silence_libraries
from deployments.jobs.train.arithmetic import choose_arithmetic
from deployments.jobs.train.labels import prepare
from deployments.jobs.train.options import parse_arguments
from deployments.jobs.train.trainer import build_trainer, configure
from deployments.jobs.train.weighting import by_reply

SLICING = Slicing(first=3, gap=(2, 5), max_tokens=120_000)
SYSTEM = "You are a coach. Listen, and answer briefly."
TWICE = "each_reply_once, two passes"
WAYS = (*LEARN, TWICE)
"""The compared trainings: one pass in each way of learning, and two passes in the one with the fewest tokens and the most even weights."""
SEEDS, TRAINED, HELD_OUT = (0, 1, 2), 5, 2
"""The seeds, and the number of conversations in each run that are trained on (one step each) and held out."""
MIDDLE = 3
"""Step after which the held-out loss is measured, in addition to the last step."""
EXCHANGES, WORDS, TOKENS = 25, 12, 1500
"""Maximum exchanges of a piece, words to which a message is cut, and maximum tokens of an example."""
LIMIT = 16_384
"""Maximum tokens of an example for the shipped bases on a GPU; used to count the tokens of complete folders."""
KNOBS = ["--lora-r", "16", "--lora-alpha", "32", "--lora-dropout", "0", "--target-modules", "all-linear", "--learning-rate", "0.001", "--warmup", "0.1"]
Measured = dict[str, Any]


def pieces(folder: Path) -> list[Transcript]:
    """Return the conversations of a folder, cut into pieces of equal length, at most EXCHANGES exchanges, so that a CPU can train on them."""
    conversations = [item for _, item in sorted(find_transcripts(folder).transcripts.items())]
    length = min(EXCHANGES, sorted(len(item.exchanges) for item in conversations)[-TRAINED - HELD_OUT - 2])
    parts = []
    for item in conversations:
        for start in range(0, len(item.exchanges) - length + 1, length):
            part = [
                Exchange(exchange_number=n, user=shortened(one.user, length), assistant=shortened(one.assistant, length))
                for n, one in enumerate(item.exchanges[start : start + length], 1)
            ]
            parts.append(Transcript(id=f"{item.id}-{start}", exchanges=part))
    return parts


def shortened(text: str, exchanges: int) -> str:
    return " ".join(text.split()[: WORDS * EXCHANGES // exchanges])


def write_files(folder: Path, seed: int, conversations: list[Transcript], tokenizer: Tokenizer) -> tuple[int, int]:
    """Write the parquet files of both configurations; return the numbers of conversations and of slices to train on."""
    drawn = random.Random(seed).sample(conversations, TRAINED + HELD_OUT)
    counted = []
    for split, some in (("train", drawn[:TRAINED]), ("validation", drawn[TRAINED:])):
        sliced = list(cut(some, lambda _: SYSTEM, SLICING, tokenizer, SliceReport()))
        rows: dict[str, list[Conversation | Example]] = {
            "conversations": [one for one, _ in sliced],
            "default": [e for _, many in sliced for e in many],
        }
        for name, some_rows in rows.items():
            with (folder / f"{name}-{split}.parquet").open("wb") as out:
                file = ExampleFile(out, name, provenance=False)
                for row in some_rows:
                    file.add(row)
                file.close()
        counted.append(len(rows["default"]))
    return TRAINED, counted[0]


def train(base: Path, folder: Path, way: str, seed: int, slices_a_step: int, first: bool) -> Iterator[Measured]:
    """Train with the job's own code; yield the held-out loss in the middle and at the end, with the training's tokens and CPU seconds.

    Args:
        slices_a_step: slices of an optimiser step, for the way `slices`.
        first: whether to measure the loss before the training, too. It is the same for all ways.
    """
    silence_libraries()

    def arguments_of(learn: str) -> Any:
        name = "default" if learn == "slices" else "conversations"
        files = ["--train", f"{folder}/{name}-train.parquet", "--validation", f"{folder}/{name}-validation.parquet"]
        steps = ["--gradient-accumulation", str(slices_a_step if learn == "slices" else 1), "--epochs", "2" if way == TWICE else "1", "--seed", str(seed)]
        length = ["--max-length", str(TOKENS), "--no-gradient-checkpointing", "--learn", learn]
        return parse_arguments([*files, "--base", str(base), "--output", str(folder / "out"), *length, *steps, *KNOBS], "")

    arguments = arguments_of(LEARN[0] if way == TWICE else way)
    tokenizer, examples, _ = prepare(arguments)
    examples["validation"] = prepare(arguments_of("each_reply_once"))[1]["validation"]
    arithmetic = choose_arithmetic(arguments, examples["train"][0])
    config = configure(arguments, False, arithmetic)
    config.save_strategy = "no"
    trainer = build_trainer(config, examples, tokenizer, arguments)
    spent, points = {"evaluating": 0.0}, list[Measured]()

    def measure(step: int) -> None:
        begun = time.process_time()
        loss = trainer.evaluate()["eval_loss"]
        spent["evaluating"] += time.process_time() - begun
        total = sum(found[0] for found in trainer.reply_losses.values()) / sum(found[1] for found in trainer.reply_losses.values())
        cpu = time.process_time() - spent["begun"] - spent["evaluating"]
        point = {"step": step, "tokens": int(trainer._total_train_tokens), "cpu_seconds": round(cpu, 1), "loss": round(total, 4)}
        points.append(point | {"by_reply": by_reply(trainer.reply_losses), "mean_of_conversations": round(loss, 4), "arithmetic": arithmetic})

    class Measuring(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002  TrainerCallback's
            if state.global_step in (MIDDLE, state.max_steps):
                measure(state.global_step)

    config.eval_strategy = "no"
    trainer.add_callback(Measuring())
    spent["begun"] = time.process_time()
    if first:
        measure(0)
    trainer.train()
    yield from points


def run(base: Path, output: Path, corpora: dict[str, Path]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    log, tokenizer = output / "learning.jsonl", load_tokenizer(f"hf:{base}")
    done = {(one["corpus"], one["learn"], one["seed"]) for one in read(output)}
    for (corpus, folder), seed in [(one, seed) for one, seed in product(corpora.items(), SEEDS)]:
        conversations = pieces(folder)
        data = output / f"{corpus}-{seed}"
        data.mkdir(exist_ok=True)
        count, sliced = write_files(data, seed, conversations, tokenizer)
        for learn in WAYS:
            if (corpus, learn, seed) not in done:
                lines = [
                    {"corpus": corpus, "learn": learn, "seed": seed, **point}
                    for point in train(base, data, learn, seed, -(-sliced // count), learn == LEARN[0])
                ]
                with log.open("a") as out:
                    out.write("".join(json.dumps(line) + "\n" for line in lines))
                end = lines[-1]
                print(f"{corpus}, {learn}, seed {seed}: loss {end['loss']} after {end['tokens']:,} tokens and {end['cpu_seconds']} CPU seconds", flush=True)


def read(output: Path) -> list[Measured]:
    log = output / "learning.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def comparable(measurements: list[Measured]) -> list[Measured]:
    """Return the measurements of the seeds that are finished in every way of learning."""
    finished = {(item["corpus"], item["seed"], item["learn"]) for item in measurements if item["step"]}
    return [item for item in measurements if all((item["corpus"], item["seed"], learn) in finished for learn in LEARN)]


def points_of(measurements: list[Measured], corpus: str, learn: str) -> list[list[Measured]]:
    """Return the measurements of all seeds in three groups: the base, which is the same for all ways, the middle, and the end."""
    mine = [item for item in measurements if item["corpus"] == corpus]
    later = [item for item in mine if item["learn"] == learn and item["step"]]
    middle = [item for item in later if item["step"] == MIDDLE]
    return [points for points in ([item for item in mine if not item["step"]], middle, [item for item in later if item not in middle]) if points]


def report(output: Path) -> str:
    """Return tables of the figures at the end of training, averaged over the seeds, as Markdown."""
    measurements = comparable(read(output))
    groups = sorted({name for item in measurements for name in item["by_reply"]}, key=lambda name: int(name.split("-")[0]))
    lines = []
    for corpus in dict.fromkeys(item["corpus"] for item in measurements):
        parts = [name for name in groups if any(name in item["by_reply"] for item in measurements if item["corpus"] == corpus)]
        replies = " | ".join(f"reply {name}" for name in parts)
        lines += ["", f"| {corpus} | seeds | tokens | CPU s | loss (each seed) | {replies} |", f"|---|---:|---:|---:|---|{'---:|' * len(parts)}"]
        for learn in ("before", *WAYS):
            steps = points_of(measurements, corpus, LEARN[0])[:1] if learn == "before" else points_of(measurements, corpus, learn)[1:]
            if steps and (points := steps[-1]):
                tokens, cpu, loss = (fmean(item[name] for item in points) for name in ("tokens", "cpu_seconds", "loss"))
                each = ", ".join(f"{item['loss']:.3f}" for item in points)
                by = " | ".join(f"{fmean(item['by_reply'][name] for item in points):.3f}" for name in parts)
                lines.append(f"| {learn} | {len(points)} | {tokens:,.0f} | {cpu:.0f} | {loss:.3f} ({each}) | {by} |")
    return "\n".join(lines)


def draw(output: Path, file: Path) -> None:
    measurements = comparable(read(output))
    corpora = list(dict.fromkeys(item["corpus"] for item in measurements))

    def curves(axes: Any) -> None:
        for corpus, dashes in zip(corpora, ("-", "--"), strict=False):
            for learn, colour, marker in zip(WAYS, COLOURS[1:], MARKERS, strict=False):
                steps = [points for points in points_of(measurements, corpus, learn) if points]
                if len(steps) == 1:
                    continue
                tokens, losses = ([fmean(item[name] for item in points) for points in steps] for name in ("tokens", "loss"))
                axes.plot([count / 1000 for count in tokens], losses, dashes, color=colour, marker=marker, markersize=5, label=f"{learn}, {corpus}")
        axes.set_xlabel("tokens trained, thousands")
        axes.set_ylabel("held-out loss")
        axes.legend(frameon=False, labelcolor=TEXT, fontsize=8)

    ends = "; ".join(
        f"{corpus}, {learn}: {fmean(item['loss'] for item in steps[-1]):.3f} after {fmean(item['tokens'] for item in steps[-1]):,.0f} tokens"
        for corpus, learn in product(corpora, WAYS)
        if len(steps := points_of(measurements, corpus, learn)) > 1
    )
    caption = f"Held-out loss over tokens trained, mean of the seeds. {ends}."
    file.write_text(picture(curves, "Learning curves of the three ways of learning", caption, (7, 4), sides=("bottom", "left"), alone=True), encoding="utf-8")


def tokens(name: str, folder: Path) -> str:
    """Return a table row with the number of tokens of one pass over a complete folder in each way, for examples of at most LIMIT tokens."""
    counted = list(cut(find_transcripts(folder).transcripts.values(), lambda _: SYSTEM, SLICING, load_tokenizer("cl100k_base"), SliceReport()))
    sliced = [example.tokens for _, examples in counted for example in examples]
    once = [rows for whole, _ in counted for rows in windowed_tokens(whole.frame, whole.sizes, whole.slices, LIMIT)]
    times = [count for whole, _ in counted for count in whole.slices]
    longer, kept = sum(count > LIMIT for count in sliced), sum(min(count, LIMIT) for count in sliced)
    shares = f"{fmean(times):.2f} | {fmean(whole.slices[0] for whole, _ in counted):.2f}"
    row = f"{sum(sliced):,} | {longer} of {len(sliced)} | {kept:,} | {sum(once):,} | {len(once)} | {sum(once) / sum(sliced):.3f}"
    return f"| {name} | {len(counted)} | {len(times)} | {shares} | {row} |"


def main(words: list[str]) -> int:
    corpora = {name: Path(folder) for name, _, folder in (word.partition("=") for word in words if "=" in word)}
    if words[:1] == ["--tokens"]:
        print(
            "| corpus | conversations | replies | slices a reply | of the first | tokens as slices | longer | of these trained | tokens once | rows | share |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|", *(tokens(*one) for one in corpora.items()), sep="\n")
    elif words[:1] == ["--draw"]:
        print(report(Path(words[1])))
        draw(Path(words[1]), Path(words[2]))
    else:
        run(Path(words[0]), Path(words[1]), corpora)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
