"""Reads a decoder's shape from its config.json: the matrices of each layer, the embeddings and the context."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import SettingsError
from core.records import ModelRef
from core.storage.store import Store

Matrices = Mapping[str, tuple[int, int]]
"""By name, the numbers of inputs and outputs of a layer's matrices."""
EXPERTS = ("enable_moe_block", "num_experts", "num_local_experts", "n_routed_experts")
"""Keys of a config that mark a mixture of experts; each family has its own."""


@dataclass(frozen=True)
class Shape:
    """A decoder's shape.

    Args:
        layers: the matrices of each layer.
        attended: sum of the query widths of all layers whose attention grows with the length, which are all but those with linear attention. A sliding window
            saves nothing if the complete matrix is computed and masked.
        embedding: number of weights of the embeddings, and of the output head if it has its own.
        context: number of tokens that the model was made for.
    """

    layers: tuple[Matrices, ...]
    hidden: int
    intermediate: int
    attended: int
    vocabulary: int
    embedding: int
    context: int

    @property
    def linear(self) -> int:
        """The number of weights in the matrices of all layers."""
        return sum(inputs * outputs for layer in self.layers for inputs, outputs in layer.values())


def shape_of(config: Mapping[str, Any], where: str) -> Shape:
    """Return a model's shape from its config.json; for a model that reads images, the shape of its text part.

    Args:
        config: contents of config.json.
        where: name of the model for messages.

    Raises:
        SettingsError: the model is not a decoder of a known form.

    Source:
        The modules of transformers 5.23 for Llama, Ministral 3, Qwen3, Qwen3.5, Gemma 3, Gemma 4 and LFM2.
    """
    text = {**config, **config.get("text_config", {})}
    if any(text.get(name) for name in EXPERTS):
        raise SettingsError(f"{where} is a mixture of experts, whose memory is not estimated. Name a dense decoder such as Qwen3.5, Gemma 4 or Llama.")
    try:
        count, hidden, vocabulary = text["num_hidden_layers"], text["hidden_size"], text["vocab_size"]
        kinds = _kinds(text)
        layers = tuple(_layer(text, kind, number) for number, kind in enumerate(kinds))
        # a missing key means the default of the family: Gemma ties its embeddings, Qwen and Llama do not
        tied = text.get("tie_word_embeddings", text.get("tie_embedding", str(text.get("model_type", "")).startswith(("gemma", "lfm2"))))
        embedding = vocabulary * hidden * (1 if tied else 2)
        if per_layer := _own_embedding(text):
            embedding += (text.get("vocab_size_per_layer_input", vocabulary) + hidden) * count * per_layer
        return Shape(
            layers=layers,
            hidden=hidden,
            intermediate=max((layer.get("gate_proj") or layer["w1"])[1] for layer in layers),
            attended=sum(layer["q_proj"][1] // _gates(text) for layer, kind in zip(layers, kinds, strict=True) if kind not in ("linear_attention", "conv")),
            vocabulary=vocabulary,
            embedding=embedding,
            context=_context(text),
        )
    except KeyError as missing:
        raise SettingsError(
            f"{where} has no {missing} in its config.json, so its memory cannot be estimated. Name a decoder such as Qwen3.5, Gemma 4 or Llama."
        ) from None


def shape(store: Store, base: ModelRef) -> Shape:
    """Return the shape of a base in the data root."""
    config = store.load_json(f"{base.path}/config.json")
    return shape_of(json.loads(json.dumps(config)), base.repo or base.name)  # plain data: a key that a base's own file lacks is no damage of the store


def _context(text: Mapping[str, Any]) -> int:
    """Return the number of positions, including a scaling that the config states; 131,072 if it states none."""
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    factor, original = rope.get("factor"), rope.get("original_max_position_embeddings")
    return max(int(text.get("max_position_embeddings") or 0), int(factor * original) if factor and original else 0) or 131072


def _kinds(text: Mapping[str, Any]) -> list[str]:
    """Return the kind of each layer's attention; if the config does not list them, the defaults of transformers."""
    count = text["num_hidden_layers"]
    if kinds := text.get("layer_types"):
        return list(kinds)
    if "linear_num_value_heads" in text:
        return ["linear_attention" if (number + 1) % text.get("full_attention_interval", 4) else "full_attention" for number in range(count)]
    if text.get("model_type") == "lfm2":
        attend = text.get("full_attn_idxs")
        return ["full_attention" if attend is None or number in attend else "conv" for number in range(count)]
    if "gemma4" in str(text.get("model_type")):
        return ["sliding_attention" if (number + 1) % 6 and number + 1 < count else "full_attention" for number in range(count)]
    return ["full_attention"] * count


def _layer(text: Mapping[str, Any], kind: str, number: int) -> Matrices:
    if text.get("model_type") == "lfm2":
        return _lfm2(text, kind)
    hidden, shared = text["hidden_size"], _shares_keys(text, number)
    width = text["intermediate_size"] * (2 if shared and text.get("use_double_wide_mlp") else 1)
    mlp = {"gate_proj": (hidden, width), "up_proj": (hidden, width), "down_proj": (width, hidden)}
    if per_layer := _own_embedding(text):
        mlp |= {"per_layer_input_gate": (hidden, per_layer), "per_layer_projection": (per_layer, hidden)}
    return (_linear_attention(text) if kind == "linear_attention" else _attention(text, kind, number, shared)) | mlp


def _attention(text: Mapping[str, Any], kind: str, number: int, shared: bool) -> dict[str, tuple[int, int]]:
    hidden, heads, kv_heads = text["hidden_size"], text["num_attention_heads"], text.get("num_key_value_heads") or text["num_attention_heads"]
    head, values = text.get("head_dim") or hidden // heads, True
    if "gemma4" in str(text.get("model_type")) and kind == "full_attention":
        # Gemma 4's layers with full attention have fewer and wider heads, and may use the keys as values
        head, values = text.get("global_head_dim") or head, not text.get("attention_k_eq_v")
        kv_heads = (text.get("num_global_key_value_heads") if not values else None) or kv_heads
    own = (text.get("per_layer_config") or {}).get(str(number), {})  # the form in which transformers saves the same
    head, kv_heads = own.get("head_dim") or head, own.get("num_key_value_heads") or kv_heads
    matrices = {"q_proj": (hidden, heads * head * _gates(text)), "o_proj": (heads * head, hidden)}
    if not shared:
        matrices |= {"k_proj": (hidden, kv_heads * head)} | ({"v_proj": (hidden, kv_heads * head)} if values else {})
    return matrices


def _gates(text: Mapping[str, Any]) -> int:
    """Return 2 if the query matrix also computes a gate for the attention's output, as in Qwen3.5; otherwise 1."""
    return 2 if "linear_num_value_heads" in text else 1


def _lfm2(text: Mapping[str, Any], kind: str) -> dict[str, tuple[int, int]]:
    """Return the matrices of a layer of LFM2 or LFM2.5; most of their layers are short convolutions."""
    hidden, width = text["hidden_size"], text.get("block_ff_dim") or text["intermediate_size"]
    if text.get("block_auto_adjust_ff_dim", True):
        multiple, width = text.get("block_multiple_of", 256), int(2 * width / 3 * (text.get("block_ffn_dim_multiplier") or 1))
        width = multiple * -(-width // multiple)
    mlp = {"w1": (hidden, width), "w3": (hidden, width), "w2": (width, hidden), "out_proj": (hidden, hidden)}
    if kind == "conv":
        return {"in_proj": (hidden, 3 * hidden), **mlp}
    keys = hidden // text["num_attention_heads"] * text["num_key_value_heads"]
    return {"q_proj": (hidden, hidden), "k_proj": (hidden, keys), "v_proj": (hidden, keys), **mlp}


def _linear_attention(text: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the matrices of a Gated DeltaNet layer."""
    hidden, value_heads = text["hidden_size"], text["linear_num_value_heads"]
    keys, values = text["linear_num_key_heads"] * text["linear_key_head_dim"], value_heads * text["linear_value_head_dim"]
    return {
        "in_proj_qkv": (hidden, 2 * keys + values),
        "in_proj_z": (hidden, values),
        "in_proj_b": (hidden, value_heads),
        "in_proj_a": (hidden, value_heads),
        "out_proj": (values, hidden),
    }


def _shares_keys(text: Mapping[str, Any], number: int) -> bool:
    """Return whether a layer reuses the keys and values of an earlier one, as the last layers of a small Gemma 4 do."""
    return number >= text["num_hidden_layers"] - (text.get("num_kv_shared_layers") or 0)


def _own_embedding(text: Mapping[str, Any]) -> int:
    """Return the width of the embedding of each single layer in a small Gemma 4; 0 for other models."""
    return (text.get("hidden_size_per_layer_input") or 0) if "gemma4" in str(text.get("model_type")) else 0
