"""The types that llama.cpp gives to the matrices of a quantised file."""

F32, F16, BF16 = 0, 1, 30
TYPES = {
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "q2_k": 10,
    "q3_k": 11,
    "q4_k": 12,
    "q5_k": 13,
    "q6_k": 14,
}
"""Numbers of ggml's types (enum ggml_type)."""
NAMES = {number: name for name, number in TYPES.items()} | {F32: "f32", F16: "f16", BF16: "bf16"}
MIXTURES = {
    "q2_k": 10,
    "q3_k_m": 12,
    "q4_0": 2,
    "q4_k_s": 14,
    "q4_k_m": 15,
    "q5_k_m": 17,
    "q6_k": 18,
    "q8_0": 7,
}
"""Numbers of the supported mixtures of types (enum llama_ftype)."""
NARROWER = {"q2_k": "q4_0", "q3_k": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}
"""Replacements for a type if a matrix's row length is not a multiple of its block size of 256. They
have blocks of 32."""
NEVER = (
    "_norm.weight",
    "ffn_gate_inp.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    ".position_embd",
)
"""Parts of the names of matrices that are not quantised."""


def choose_types(
    kind: str, names: dict[str, int], layers: int, shared: int, large: bool, guided: bool = False
) -> dict[str, str]:
    """Return the type that llama.cpp chooses for each matrix of a dense model.

    Source: llama_tensor_get_type_impl in src/llama-quant.cpp.

    Args:
        kind: one of MIXTURES.
        names: the tensors' names, each with its number of dimensions.
        layers: number of the model's layers.
        shared: number of query heads that share a key head.
        large: whether the model has about 70 billion parameters.
        guided: whether an importance matrix is used.
    """
    plain = kind.removesuffix("_m").removesuffix("_s")
    in_order = sorted(names, key=_place)
    values = [name for name in in_order if "attn_v.weight" in name or "attn_qkv.weight" in name]
    down = [name for name in in_order if "ffn_down" in name and names[name] > 1]
    tied = "output.weight" not in names
    chosen = {}
    for name, dimensions in names.items():
        if dimensions < 2 or not name.endswith("weight") or any(part in name for part in NEVER):
            continue
        is_embedding = name in ("token_embd.weight", "per_layer_token_embd.weight")
        if name == "output.weight" or (tied and is_embedding):
            chosen[name] = "q8_0" if kind == "q8_0" else "q6_k"
        elif name in values:
            chosen[name] = _value_type(kind, plain, values.index(name), len(values), shared)
            if "attn_qkv" not in name and large and chosen[name] in ("q3_k", "q4_k"):
                chosen[name] = "q5_k"
        elif name in down:
            chosen[name] = _down_type(kind, plain, down.index(name), layers, guided)
        elif "attn_output.weight" in name:
            chosen[name] = {"q2_k": "q3_k", "q3_k_m": "q4_k"}.get(kind, plain)
        else:
            chosen[name] = plain
    return chosen


def _place(name: str) -> tuple[int, str]:
    parts = name.split(".")
    return (int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else -1, name)


def _more_bits(number: int, of: int) -> bool:
    return number < of // 8 or number >= 7 * of // 8 or (number - of // 8) % 3 == 2


def _value_type(kind: str, plain: str, number: int, of: int, shared: int) -> str:
    if kind == "q2_k":
        return "q4_k" if shared >= 4 else "q3_k"
    if kind == "q3_k_m":
        return "q5_k" if number < 2 else "q4_k"
    if kind in ("q4_k_m", "q5_k_m") and _more_bits(number, of):
        return "q6_k"
    return "q5_k" if kind == "q4_k_s" and number < 4 else plain


def _down_type(kind: str, plain: str, number: int, of: int, guided: bool) -> str:
    if kind == "q4_0" and guided and number < of // 8:
        return "q4_1"
    if kind == "q2_k":
        return "q3_k"
    if kind == "q3_k_m":
        return "q5_k" if number < of // 16 else "q4_k"
    if kind in ("q4_k_m", "q5_k_m") and _more_bits(number, of):
        return "q6_k"
    return "q5_k" if kind == "q4_k_s" and number < of // 8 else plain
