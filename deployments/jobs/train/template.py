"""The tokenizer, and a chat template that marks the assistant's replies."""

import argparse
import re
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.chat_template import fold_system, without_clock, without_markers
from ..common.events import JobError, short
from ..common.hub import HUB_ID, hub, patiently


def load_tokenizer(arguments: argparse.Namespace) -> tuple[Any, str]:
    """Return the tokenizer, and a chat template with generation markers for the training.

    The markers tell which tokens are the assistant's. They are removed from the tokenizer's own
    template, since inference programs do not know them. For a template that TRL does not know, the
    training template has no markers, either.
    """
    base, name = Path(arguments.base), arguments.chat_template
    is_id = not base.exists() and re.fullmatch(HUB_ID, arguments.base)
    if not is_id and not (base / "config.json").is_file():
        wrong = f"Base {arguments.base!r} is neither a folder with config.json nor a model id"
        raise JobError(f"{wrong} like 'Qwen/Qwen3-4B'; correct --base.")
    from trl import chat_template_utils

    trl_templates = Path(chat_template_utils.__file__).parent / "chat_templates"
    file = Path(name) if name and Path(name).is_file() else trl_templates / f"{name}.jinja"
    if name and not file.is_file():
        names = sorted(path.stem for path in trl_templates.glob("*.jinja"))
        listed = ", ".join(stem for stem in names if not stem.endswith("_training"))
        wrong = f"Chat template {name!r} is neither a file nor one of TRL's ({listed})"
        raise JobError(f"{wrong}; correct --chat-template.")
    try:
        tokenizer = fetch_tokenizer(arguments)
        source = file.read_text(encoding="utf-8") if name else tokenizer.chat_template
    except (OSError, ValueError) as error:
        wrong = f"Tokenizer or chat template cannot be read ({short(error)})"
        raise JobError(f"{wrong}; correct --base or --chat-template.") from None
    tokenizer.chat_template = source["default"] if isinstance(source, dict) else source
    if not tokenizer.chat_template:
        remedy = "give one of TRL's, or a file, with --chat-template"
        raise JobError(f"{arguments.base!r} has no chat template; {remedy}.")
    marked = chat_template_utils.has_generation_markers(tokenizer.chat_template)
    template = str(tokenizer.chat_template)
    if not marked:
        # Without markers, `find_replies` finds the replies by their prompts.
        with suppress(ValueError, TypeError):
            template = str(chat_template_utils.get_training_chat_template(tokenizer) or template)
    if marked:
        tokenizer.chat_template = without_markers(template)
    inference = without_clock(str(tokenizer.chat_template))
    tokenizer.chat_template = fold_system(inference, tokenizer)
    return tokenizer, fold_system(without_clock(template), tokenizer)


def fetch_tokenizer(arguments: argparse.Namespace) -> Any:
    """Load the base's tokenizer; record the commit of a base on the Hub in the arguments."""
    from transformers import AutoTokenizer

    base, doing = arguments.base, f"loading the tokenizer of {arguments.base!r}"
    offline = import_module("huggingface_hub.constants").HF_HUB_OFFLINE
    if not Path(base).is_dir() and not offline:
        revision = arguments.base_revision
        info = patiently(arguments, doing, lambda: hub().model_info(base, revision=revision))
        arguments.base_revision = info.sha

    def load() -> Any:
        revision = arguments.base_revision
        return AutoTokenizer.from_pretrained(base, revision=revision, trust_remote_code=False)

    return patiently(arguments, doing, load, files=True)


def fetch_config(arguments: argparse.Namespace) -> dict[str, Any]:
    from transformers import AutoConfig

    base, revision = arguments.base, arguments.base_revision

    def load() -> Any:
        return AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)

    try:
        return patiently(arguments, f"loading the config of {base!r}", load, files=True).to_dict()
    except (OSError, ValueError) as error:
        wrong = f"The configuration of {base!r} cannot be read ({short(error)})"
        raise JobError(f"{wrong}; correct --base.") from None
