"""A random model as a GGUF file whose chats are SmolLM2's."""

import json
from pathlib import Path
from typing import Any

from tests.jobs.conftest import make_tokenizer

LAYERS, HIDDEN, INNER, HEADS, KV, HEAD = 2, 64, 96, 4, 2, 16
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_gguf(path: Path, tied: bool = True, **other: Any) -> Path:
    """Write a random Llama in 8 bits whose chats are SmolLM2's: its bos token opens every turn.

    Args:
        other: metadata in place of the usual; none leaves it out.
    """
    import gguf
    import numpy

    tokenizer = make_tokenizer({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}, [], "qwen3_instruct_2507")
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens, draw = sorted(model["vocab"], key=model["vocab"].__getitem__), numpy.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    numbers = {"block_count": LAYERS, "context_length": 512, "embedding_length": HIDDEN, "feed_forward_length": INNER, "vocab_size": len(tokens)}
    numbers |= {"attention.head_count": HEADS, "attention.head_count_kv": KV, "rope.dimension_count": HEAD}
    for name, value in numbers.items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.rope.freq_base", 100000.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 2e-5)
    texts = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.chat_template": TEMPLATE, **other}
    for name, value in texts.items():
        if value is not None:
            writer.add_string(name, value)
    writer.add_token_list(tokens)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    for name in ("bos", "eos", "unk"):
        getattr(writer, f"add_{name}_token_id")(getattr(tokenizer, f"{name}_token_id"))
    writer.add_add_bos_token(False)

    def add(name: str, *shape: int) -> None:
        kind = gguf.GGMLQuantizationType.Q8_0
        data = draw.normal(0, 0.3, shape).astype(numpy.float32)
        writer.add_tensor(name, data if len(shape) == 1 else gguf.quantize(data, kind), raw_dtype=None if len(shape) == 1 else kind)

    add("token_embd.weight", len(tokens), HIDDEN)
    add("output_norm.weight", HIDDEN)
    if not tied:
        add("output.weight", len(tokens), HIDDEN)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name, rows, columns in (
            *(("attn_q", HEADS * HEAD, HIDDEN), ("attn_k", KV * HEAD, HIDDEN), ("attn_v", KV * HEAD, HIDDEN), ("attn_output", HIDDEN, HEADS * HEAD)),
            *(("ffn_gate", INNER, HIDDEN), ("ffn_up", INNER, HIDDEN), ("ffn_down", HIDDEN, INNER)),
        ):
            add(f"{block}{name}.weight", rows, columns)
        add(f"{block}attn_norm.weight", HIDDEN)
        add(f"{block}ffn_norm.weight", HIDDEN)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    return path
