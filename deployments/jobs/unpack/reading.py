"""Reading a GGUF file with transformers."""

from collections import Counter
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.events import JobError, short

ONE_DIGIT, GPT2 = {"smollm"}, {"gpt-2"}
"""Pre-tokenizers whose merges transformers reads, but not their pattern: the first split digits one
by one, the second split text as GPT-2 does."""
OTHERWISE = "give the model as a folder or a Hub id"


def read_metadata(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the file's metadata, without arrays, and its number of tensors by type."""
    if not path.is_file():
        raise JobError(f"GGUF file {str(path)!r} does not exist; correct --gguf.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            wrong = f"{str(path)!r} is not a GGUF file: it does not start with 'GGUF'"
            raise JobError(f"{wrong}; give another with --gguf.")
    try:
        gguf: Any = import_module("gguf")
        # Cached, since transformers would read the file three more times and build the map of names
        # for each module.
        gguf.GGUFReader = cache(gguf.GGUFReader)
        gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)
        reader = gguf.GGUFReader(str(path))
        fields = reader.fields.items()
        metadata = {name: field.contents() for name, field in fields if len(field.data) == 1}
    except ImportError as error:
        wrong = f"The package gguf cannot be loaded ({short(error)})"
        raise JobError(f"{wrong}; run this script with 'uv run', or install gguf.") from None
    except Exception as error:
        # The reader has no error class: a truncated file can raise any exception.
        wrong = f"{str(path)!r} cannot be read as GGUF ({short(error)})"
        raise JobError(f"{wrong}; it may be truncated: download it again.") from None
    if "tokenizer.chat_template" not in metadata:
        wrong = f"{str(path)!r} has no chat template, so it is not a chat model"
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
    except Exception as error:  # transformers has no error class for this
        wrong = f"transformers cannot read the tokenizer of {str(path)!r} ({short(error)})"
        raise JobError(f"{wrong}; {OTHERWISE}.") from None
    pre = metadata.get("tokenizer.ggml.pre")
    supported = {*GGUF_PRE_TOKENIZER_SPLITS, *ONE_DIGIT, *GPT2}
    if metadata.get("tokenizer.ggml.model") == "gpt2" and pre not in supported:
        wrong = f"transformers does not know how {str(path)!r} splits text into words ({pre!r})"
        raise JobError(f"{wrong}; {OTHERWISE}.")
    if pre in ONE_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
    if tokenizer.chat_template != metadata["tokenizer.chat_template"]:
        wrong = f"transformers reads a chat template that differs from the one in {str(path)!r}"
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
    """Return the tokens that end a text or a turn, as far as the file names them."""
    numbers = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    return sorted({int(number) for number in numbers if number is not None})
