"""A GGUF file as transformers reads it."""

from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.events import JobError, short

ONE_DIGIT, GPT2 = {"smollm"}, {"gpt-2"}
"""Pre-tokenizers of which transformers reads the merges but not the pattern. They split digits one
by one, or as GPT-2 does."""
OTHERWISE = "give the model as a folder or a Hub id"


def read_metadata(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns the file's metadata, without long lists, and its number of tensors by type."""
    if not path.is_file():
        raise JobError(f"GGUF file {str(path)!r} does not exist; correct --gguf.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            wrong = f"{str(path)!r} is no GGUF file: it does not begin with 'GGUF'"
            raise JobError(f"{wrong}; give another with --gguf.")
    try:
        gguf: Any = import_module("gguf")
        # transformers would read the file's lists three more times and build the map of names for
        # each module.
        gguf.GGUFReader = cache(gguf.GGUFReader)
        gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)
        reader = gguf.GGUFReader(str(path))
        fields = reader.fields.items()
        metadata = {name: field.contents() for name, field in fields if len(field.data) == 1}
    except ImportError as error:
        wrong = f"The package gguf cannot be loaded ({short(error)})"
        raise JobError(f"{wrong}; run this script with 'uv run', or install gguf.") from None
    except Exception as error:
        # The reader has no errors of its own: a truncated file raises whatever comes first.
        wrong = f"{str(path)!r} cannot be read as GGUF ({short(error)})"
        raise JobError(f"{wrong}; it may be cut short: get it again.") from None
    if "tokenizer.chat_template" not in metadata:
        wrong = f"{str(path)!r} has no chat template, so it is no model to chat with"
        raise JobError(f"{wrong}; choose an instruction-tuned one.")
    return metadata, dict(Counter(tensor.tensor_type.name for tensor in reader.tensors))


def read_tokenizer(path: Path, metadata: dict[str, Any]) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, trust_remote_code=False
        )
    except Exception as error:  # transformers has no errors of its own here
        wrong = f"transformers cannot read the tokenizer of {str(path)!r} ({short(error)})"
        raise JobError(f"{wrong}; {OTHERWISE}.") from None
    pre, known = metadata.get("tokenizer.ggml.pre"), {*GGUF_PRE_TOKENIZER_SPLITS, *ONE_DIGIT, *GPT2}
    if metadata.get("tokenizer.ggml.model") == "gpt2" and pre not in known:
        wrong = f"How {str(path)!r} cuts text into words ({pre!r}) is not known to transformers"
        raise JobError(f"{wrong}; {OTHERWISE}.")
    if pre in ONE_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
    if tokenizer.chat_template != metadata["tokenizer.chat_template"]:
        wrong = f"transformers reads another chat template than {str(path)!r} has"
        raise JobError(f"{wrong}; {OTHERWISE}.")
    return tokenizer


def read_model(path: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, trust_remote_code=False
        ).eval()
    except Exception as error:  # as above
        wrong = f"transformers cannot read the weights of {str(path)!r} ({short(error)})"
        raise JobError(f"{wrong}; {OTHERWISE}.") from None


def stop_tokens(metadata: dict[str, Any]) -> list[int]:
    """Returns the tokens that end a text and, where the file names another, a turn."""
    known = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    return sorted({int(token) for token in known if token is not None})
