"""Compares the speed of conversations with a served GGUF file, as in an evaluation, with the speed of llama.cpp alone.

    python -m bench.served [base.gguf understudy.gguf] [personas=8]        (make bench-served)

Takes 8 minutes on two idle cores, 5 with personas=1.

The speed of llama.cpp alone is measured as `llama-bench` does: it reads a prompt of 512 tokens, then generates 64 tokens, with as many threads as the server.
The ratio is the time that the conversations' tokens would take at those rates, without tokens from the prompt cache, divided by the actual time. Without files,
the script makes two of the shape of Llama-3.2-1B, with the vocabulary of SmolLM2 and random weights, which take as long as trained ones.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import gguf
import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "deployments/jobs/built"))

from blocks.llama_server import LlamaServer
from blocks.scripted import Scripted
from core.llm.bills import Bill, bills
from core.llm.calls import Caller
from core.llm.chat import ChatRequest, Message
from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.prices import price_list
from core.packs.pack import load_pack
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_batch
from core.rehearsal.turns import Cast, Player
from core.settings.models import Budget, ModelSettings
from core.settings.pipeline import load_settings, load_training
from core.storage.store import Store
from core.training.bases import base_file

PROMPT, WRITTEN = 512, 64
EXCHANGES, MESSAGE, CONTEXT = 4, 60, 2048
GOAL = 0.9
LAYERS, WIDTH, INNER, HEADS, KEY_HEADS = 16, 2048, 8192, 32, 8


def speed_alone(path: Path, threads: int) -> dict[str, float]:
    """Read a prompt and generate tokens in this process; return the tokens per second of both."""
    llama = import_module("llama_library").Llama(path, PROMPT + WRITTEN + 8, threads)
    text = "I slept badly and my work is piling up, and I argued with my sister. " * PROMPT
    prompt = llama.tokenize(text)[:PROMPT]
    read(llama, prompt)  # loads the file's pages into memory
    began = time.monotonic()
    read(llama, prompt)
    middle = time.monotonic()
    token = prompt[0]
    for _ in range(WRITTEN):
        token = int(llama.decode([token])[-1].argmax())
    return {"prompt": PROMPT / (middle - began), "written": WRITTEN / (time.monotonic() - middle)}


def read(llama: Any, prompt: list[int]) -> None:
    """Decode a prompt and compute only the logits after its last token, as a server does."""
    llama.reset()
    batch = llama._batch
    for place, token in enumerate(prompt):
        batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, place, 1
        batch.seq_id[place][0], batch.logits[place] = 0, place == len(prompt) - 1
    batch.n_tokens = len(prompt)
    if llama._library.llama_decode(llama._context, batch):
        sys.exit("llama.cpp cannot decode the prompt.")
    llama._length = len(prompt)


async def play_conversations(path: Path, personas: int, options: dict[str, Any], concurrency: int) -> tuple[Bill, float]:
    """Play conversations as an evaluation does; return the model's bill, and the seconds without loading the model."""
    pack, settings = load_pack("therapeutic-coaching"), load_settings()
    model = LlamaServer(model_path=path, context=CONTEXT, **options).get_client()
    await model.complete(ChatRequest("assistant", "", (Message("user", "Hello"),), 4, 1))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        ledger = Ledger(store, "served", Budget())

        def player(model: Any, limits: ModelSettings, most: int) -> Player:
            limiter = Limiter(model.reference, limits, settings.calls)
            caller = Caller(model, limiter, settings.calls, price_list(model.reference, None, free=True), ledger)
            return Player(caller, MESSAGE, most, guards=())

        user = player(Scripted(name="user").get_client(pack), ModelSettings(concurrency=1000), 10**6)
        cast = Cast(user, player(model, ModelSettings(concurrency=concurrency), CONTEXT), pack.system(), EXCHANGES)
        began = time.monotonic()
        batch = sample_batch(pack, settings.evaluation.first_seed, personas, (EXCHANGES, EXCHANGES))
        await asyncio.gather(*(rehearse(pack, persona, cast, persona.id) for persona in batch))
        seconds = time.monotonic() - began
        await model.aclose()
        return bills(store, "served")["assistant", model.reference], seconds


def make(path: Path, kind: gguf.GGMLQuantizationType, vocabulary_of: Path) -> Path:
    """Write a quantised GGUF with a billion random weights and another file's vocabulary; return its path."""
    original, writer = gguf.GGUFReader(vocabulary_of), gguf.GGUFWriter(path, "llama")
    for key, field in original.fields.items():
        if key.startswith("tokenizer."):
            kinds = field.types
            writer.add_key_value(key, field.contents(), kinds[0], kinds[1] if len(kinds) > 1 else None)
    vocabulary = len(original.fields["tokenizer.ggml.tokens"].contents())
    writer.add_block_count(LAYERS)
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(vocabulary)
    draw, quantised = np.random.default_rng(0), {}

    def add(name: str, rows: int, columns: int) -> None:
        if (rows, columns) not in quantised:
            weights = draw.standard_normal((rows, columns), dtype=np.float32) * 0.02
            quantised[rows, columns] = gguf.quants.quantize(weights, kind)
        writer.add_tensor(name, quantised[rows, columns], raw_dtype=kind)

    add("token_embd.weight", vocabulary, WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    keys = WIDTH // HEADS * KEY_HEADS
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (keys, WIDTH), "attn_v": (keys, WIDTH), "attn_output": (WIDTH, WIDTH)}
    shapes |= {"ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
        for name, shape in shapes.items():
            add(f"blk.{layer}.{name}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def main() -> int:
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(speed_alone(Path(sys.argv[2]), int(sys.argv[3]))))
        return 0
    knobs = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    settings = load_settings().models["llama-server"]
    options = dict(settings.options)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"q4_0": gguf.GGMLQuantizationType.Q4_0, "q8_0": gguf.GGMLQuantizationType.Q8_0}
        files = [Path(word) for word in sys.argv[1:] if "=" not in word]
        if not files:
            smollm2, _ = asyncio.run(base_file(load_training("smollm2-135m").base))
            files = [make(Path(folder) / f"random-1b-{name}.gguf", kind, smollm2) for name, kind in kinds.items()]
        print(
            f"{options['slots']} slots, {options['threads']} threads, {knobs.get('personas', 8)} personas of {EXCHANGES} exchanges, "
            f"at most {MESSAGE} tokens per message"
        )
        print(f"{'':<24} {'alone, tokens per second':>26} {'conversations, tokens':>33} {'seconds':>19}")
        print(f"{'file':<24} {'prompt':>17} {'written':>8} {'read':>13} {'cached':>9} {'written':>9} {'expected':>9} {'actual':>9} {'ratio':>7}  (goal {GOAL})")
        for path in files:
            words = [sys.executable, "-m", "bench.served", "--alone", str(path), str(options["threads"])]
            alone = subprocess.run(words, capture_output=True, text=True, check=False)
            if alone.returncode:
                sys.exit(f"llama.cpp cannot run {path}: {alone.stderr.strip().splitlines()[-1]}")
            rates = json.loads(alone.stdout)
            bill, seconds = asyncio.run(play_conversations(path, int(knobs.get("personas", 8)), options, settings.concurrency or 1))
            fresh = bill.input_tokens - bill.cache_read_tokens
            expected = fresh / rates["prompt"] + bill.output_tokens / rates["written"]
            counts = f"{fresh:>13,} {bill.cache_read_tokens:>9,} {bill.output_tokens:>9,}"
            print(
                f"{path.name:<24} {rates['prompt']:>17.1f} {rates['written']:>8.1f} {counts} {expected:>9.1f} {seconds:>9.1f} {expected / seconds:>7.2f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
