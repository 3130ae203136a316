"""Compares slicing of transcripts with one plain pass of the tokenizer over the same text, and with encoding every prefix separately.

    python -m bench.slicing [transcripts=folder]        (make bench-slicing)

Takes 1 minute. Without a folder, the conversations are 40 scripted ones.

The times exclude reading the transcripts' JSON. Peak memory is measured in separate processes, for the transcripts once and repeated eight times.
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.judging import rehearsed
from blocks.tokens import load_tokenizer
from core.dataset.example_files import write_examples
from core.dataset.slicing import SliceReport, Tokenizer, chat, slice_points, slices
from core.imports.transcript_files import find_transcripts, read_transcript
from core.packs.pack import load_pack
from core.records import Transcript
from core.settings.pipeline import Slicing
from core.storage.store import Store

SLICING = Slicing(first=3, gap=(2, 5), max_tokens=120_000)
TOKENIZER = load_tokenizer("cl100k_base")
SYSTEM = load_pack("therapeutic-coaching").system()
ROUNDS = 5
CHECKOUT = Path(__file__).resolve().parents[1]


def timed(work: Callable[[], Any]) -> float:
    """Return the median CPU seconds of ROUNDS rounds."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def one_pass(transcripts: list[Transcript]) -> int:
    return sum(TOKENIZER.count(exchange.user) + TOKENIZER.count(exchange.assistant) for item in transcripts for exchange in item.exchanges)


def every_prefix(transcripts: list[Transcript]) -> int:
    return sum(
        TOKENIZER.count(message["content"])
        for item in transcripts
        for point in slice_points(item.id, len(item.exchanges), SLICING)
        for message in chat(SYSTEM, item.exchanges[:point])
    )


def sliced(transcripts: list[Transcript]) -> int:
    return sum(1 for _ in slices(transcripts, lambda _: SYSTEM, SLICING, TOKENIZER, SliceReport()))


def write(transcripts: Iterator[Transcript], tokenizer: Tokenizer = TOKENIZER) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_examples(Store(folder), "examples", transcripts, lambda _: SYSTEM, SLICING, tokenizer, VALIDATION, provenance=False)


VALIDATION = set[str]()


def memory(folder: str, times: int) -> float:
    """Return the peak memory in MB of a process that slices and writes a folder of transcripts, repeated `times` times."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.slicing", "measure", folder, str(times)]
    return float(subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout)


def measure(folder: str, times: int) -> None:
    paths = sorted(Path(folder).rglob("*.json"))
    VALIDATION.add(read_transcript(paths[0]).id)
    write(read_transcript(path) for _ in range(times) for path in paths)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def main(words: list[str]) -> int:
    if words[:1] == ["measure"]:
        measure(words[1], int(words[2]))
        return 0
    source = next((word.partition("=")[2] for word in words if word.startswith("transcripts=")), "")
    with tempfile.TemporaryDirectory() as made:
        if not source:
            for item in await rehearsed(40):
                (Path(made) / f"{item.id}.json").write_text(item.model_dump_json(), encoding="utf-8")
        folder = str(Path(source).absolute()) if source else made
        transcripts = list(find_transcripts(Path(folder)).transcripts.values())
        VALIDATION.add(transcripts[0].id)
        tokens, examples = one_pass(transcripts), sliced(transcripts)
        print(f"{len(transcripts)} transcripts, {tokens:,} tokens, {examples} examples; CPU seconds, median of {ROUNDS}")
        floor, ours, prefixes = (timed(lambda work=work: work(transcripts)) for work in (one_pass, sliced, every_prefix))
        whole = timed(lambda: write(iter(transcripts)))
        print(f"  one pass of the tokenizer  {floor:7.3f}")
        print(f"  slicing                    {ours:7.3f}  {ours / floor:.2f} of one pass")
        print(f"  slicing and parquet        {whole:7.3f}  {whole / floor:.2f} of one pass")
        print(f"  every prefix separately    {prefixes:7.3f}  {prefixes / ours:.1f} times slicing")
        once, more = memory(folder, 1), memory(folder, 8)
        print(f"  peak memory: {once:.0f} MB for {len(transcripts)} transcripts, {more:.0f} MB for {8 * len(transcripts)}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
