"""llama.cpp in this process. The model is random numbers in the form of a GGUF: what it says is nonsense, how it may say it is not."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy
import pytest

from blocks.llama_cpp import LlamaCpp
from core.errors import ContextError, SettingsError
from tests.blocks.conftest import ask

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: make setup brings it")

WIDTH, HIDDEN, CONTEXT = 32, 64, 512
NORMAL, CONTROL = 1, 3
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<assistant>"
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["YES", "NO", "NA"]}, "done": {"type": "boolean"}},
    "required": ["answer", "done"],
    "additionalProperties": False,
}


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    """Write a value after its type, as the GGUF format has it."""
    match value:
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
    if isinstance(value[0], int):
        return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    items = [_value(item) for item in value]
    return struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)


def _letters() -> list[str]:
    """Return the letters that stand for the 256 bytes in a vocabulary of GPT-2's kind."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


def write_gguf(path: Path, **metadata: Any) -> Path:
    """Write a model of one layer whose tokens are the bytes, and the end."""
    tokens = [*_letters(), "<end>"]
    values = {
        "general.architecture": "llama",
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [*[NORMAL] * 256, CONTROL],
        "tokenizer.ggml.merges": ["Ġ Ġ"],
        "tokenizer.ggml.eos_token_id": 256,
        **metadata,
    }
    square, up, down = (WIDTH, WIDTH), (HIDDEN, WIDTH), (WIDTH, HIDDEN)
    layer = {"attn_norm": (WIDTH,), "attn_q": square, "attn_k": square, "attn_v": square, "attn_output": square}
    layer |= {"ffn_norm": (WIDTH,), "ffn_gate": up, "ffn_up": up, "ffn_down": down}
    shapes = {"token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,), "output": (len(tokens), WIDTH)}
    shapes |= {f"blk.0.{name}": shape for name, shape in layer.items()}
    draw, heads, data = numpy.random.default_rng(7), b"", b""
    for name, shape in shapes.items():
        heads += _text(f"{name}.weight") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), 0, len(data))
        data += draw.normal(size=shape).astype("<f4").tobytes()
    written = b"".join(_text(name) + _value(value) for name, value in values.items())
    start = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(values)) + written + heads
    path.write_bytes(start + bytes(-len(start) % 32) + data)
    return path


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "nonsense.gguf", **{"tokenizer.chat_template": TEMPLATE})


@pytest.fixture
def model(gguf):
    return LlamaCpp(model_path=gguf, context=CONTEXT, temperature=1.0).get_client()


async def test_a_grammar_holds_even_a_model_of_random_numbers_to_the_form(model):
    replies = [await model.complete(ask(schema=SCHEMA, seed=seed)) for seed in range(8)]
    answers = [json.loads(reply.text) for reply in replies]
    assert all(reply.finish == "stop" for reply in replies)
    assert all(list(answer) == ["answer", "done"] and isinstance(answer["done"], bool) for answer in answers)
    assert {answer["answer"] for answer in answers} <= {"YES", "NO", "NA"}
    assert len({reply.text for reply in replies}) > 1


async def test_the_same_seed_says_the_same_and_room_ends_it(model):
    first, again, other = [await model.complete(ask(max_tokens=40, seed=seed)) for seed in (1, 1, 2)]
    assert first == again
    assert first.text != other.text
    assert (first.finish, first.usage.output_tokens) == ("length", 40)
    assert first.usage.input_tokens == len("<system>Be kind.<user>Hello.<assistant>")


async def test_a_conversation_longer_than_the_context_is_refused(model):
    with pytest.raises(ContextError, match="holds 512"):
        await model.complete(ask("a" * 600))


async def test_a_file_without_a_chat_template_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no chat template"):
        await LlamaCpp(model_path=write_gguf(tmp_path / "bare.gguf"), context=CONTEXT).get_client().complete(ask())


async def test_a_file_that_llama_cpp_cannot_load_is_named(tmp_path):
    path = write_gguf(tmp_path / "strange.gguf", **{"general.architecture": "nothing-known"})
    with pytest.raises(SettingsError, match="cannot load"):
        await LlamaCpp(model_path=path, context=CONTEXT).get_client().complete(ask())
