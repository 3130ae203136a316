"""A GGUF model with random weights: its answers are nonsense, but its vocabulary and schema handling are real."""

import struct
from pathlib import Path
from typing import Any

import numpy

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
