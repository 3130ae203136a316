"""Checks that need no weights, run before a training is paid for."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from ..common.limits import check_kind, check_tokens, text_part
from .checks import begins_with_bos, check_reading
from .llama_cpp import load, run_converter
from .merging import keep_pieces
from .sources import fetch, fetch_converter
from .texts import load_tokenizer, make_prompts


def preflight(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Check without weights that llama.cpp reads template and tokenizer as the training does."""
    folder = fetch(arguments, "base", weights=False)
    tokenizer = load_tokenizer(arguments, folder)
    prompts = make_prompts(tokenizer, arguments.system)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    check_kind(config, arguments.base)
    check_tokens(tokenizer, prompts.ids, text_part(config).get("vocab_size"))
    plain, target = work / "tokenizer", work / "vocabulary.gguf"
    tokenizer.save_pretrained(plain)
    keep_pieces(tokenizer, plain, [folder])
    shutil.copy(folder / "config.json", plain)
    converter, fallback = (
        arguments.llama_cpp or fetch_converter(work),
        arguments.fallback_pre_tokenizer,
    )
    begins = begins_with_bos(tokenizer, prompts.texts)
    run_converter(converter, plain, target, fallback, begins, vocabulary_only=True)
    return check_reading(load(target, 0, arguments), tokenizer, prompts.stop, prompts.texts)
