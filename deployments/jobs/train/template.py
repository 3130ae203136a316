"""The tokenizer, and a chat template that marks the assistant's replies."""

import argparse
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.chat_template import fold_system, without_markers
from ..common.events import JobError, short
from ..common.hub import HUB_ID, hub, patiently


def load_tokenizer(arguments: argparse.Namespace) -> tuple[Any, str]:
    """Returns the tokenizer, and a chat template with generation markers for the training.

    The markers say which tokens are the assistant's. The tokenizer's own template has none, since
    inference programs do not know them.
    """
    base, name = Path(arguments.base), arguments.chat_template
    is_id = not base.exists() and re.fullmatch(HUB_ID, arguments.base)
    if not is_id and not (base / "config.json").is_file():
        wrong = f"Base {arguments.base!r} is neither a folder with config.json nor a model id"
        raise JobError(f"{wrong} like 'Qwen/Qwen3-4B'; correct --base.")
    from trl import chat_template_utils

    shipped = Path(chat_template_utils.__file__).parent / "chat_templates"
    own = Path(name) if name and Path(name).is_file() else shipped / f"{name}.jinja"
    if name and not own.is_file():
        names = sorted(path.stem for path in shipped.glob("*.jinja"))
        listed = ", ".join(stem for stem in names if not stem.endswith("_training"))
        wrong = f"Chat template {name!r} is neither a file nor one of TRL's ({listed})"
        raise JobError(f"{wrong}; correct --chat-template.")
    try:
        tokenizer = fetch_tokenizer(arguments)
        given = own.read_text(encoding="utf-8") if name else tokenizer.chat_template
    except (OSError, ValueError) as error:
        wrong = f"Tokenizer or chat template cannot be read ({short(error)})"
        raise JobError(f"{wrong}; correct --base or --chat-template.") from None
    tokenizer.chat_template = given["default"] if isinstance(given, dict) else given
    try:
        marked = chat_template_utils.has_generation_markers(tokenizer.chat_template)
        template = tokenizer.chat_template if marked else mark_chatml(tokenizer)
        template = str(template or chat_template_utils.get_training_chat_template(tokenizer))
    except (ValueError, TypeError):
        wrong = "The chat template is missing, or it neither marks the assistant's replies with"
        wrong += " {% generation %}, nor is plain ChatML, nor is known to TRL"
        remedy = "give one of TRL's, from its folder chat_templates, with --chat-template"
        raise JobError(f"{wrong}; {remedy}.") from None
    if marked:
        tokenizer.chat_template = without_markers(template)
    tokenizer.chat_template = fold_system(str(tokenizer.chat_template), tokenizer)
    return tokenizer, fold_system(template, tokenizer)


def fetch_tokenizer(arguments: argparse.Namespace) -> Any:
    """Loads the base's tokenizer; records the commit of a base on the Hub in the arguments."""
    from transformers import AutoTokenizer

    base, doing = arguments.base, f"loading the tokenizer of {arguments.base!r}"
    offline = import_module("huggingface_hub.constants").HF_HUB_OFFLINE
    if not Path(base).is_dir() and not offline:
        asked = arguments.base_revision
        info = patiently(arguments, doing, lambda: hub().model_info(base, revision=asked))
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


def mark_chatml(tokenizer: Any) -> str | None:
    """Marks the replies in a ChatML template that writes every message in one expression.

    That is `<|im_start|>role, line break, content<|im_end|>`. SmolLM2 and many others have such a
    template, and TRL knows none of them. The result must render the same texts.
    """
    quote, add = r"""['"]""", r"\s*\+\s*"
    field = r"\w+(?:\.{0}|\[['\"]{0}['\"]\])"
    role, content = (f"(?P<{name}>{field.format(name)})" for name in ("role", "content"))
    end_of_line = rf"{quote}(?:\\n|\n){quote}"
    frame = rf"{quote}<\|im_start\|>{quote}{add}{role}{add}{end_of_line}{add}{content}"
    frame = rf"\{{\{{-?\s*{frame}{add}{quote}<\|im_end\|>{quote}{add}{end_of_line}\s*-?\}}\}}"
    unmarked = str(tokenizer.chat_template)
    if len(found := list(re.finditer(frame, unmarked))) != 1:
        return None
    whole, role, content = found[0][0], found[0]["role"], found[0]["content"]
    reply = (
        "{{ '<|im_start|>assistant\\n' }}{% generation %}"
        f"{{{{ {content} + '<|im_end|>' }}}}{{% endgeneration %}}{{{{ '\\n' }}}}"
    )
    by_role = f"{{% if {role} == 'assistant' %}}{reply}{{% else %}}{whole}{{% endif %}}"
    marked = unmarked.replace(whole, by_role)
    for roles in (("user", "assistant"), ("system", "user", "assistant", "user")):
        chat = [{"role": role, "content": f"The {role}'s  words.\n"} for role in roles]
        for prompt in (False, True):
            asked = {"tokenize": False, "add_generation_prompt": prompt}
            old, new = (
                tokenizer.apply_chat_template(chat, chat_template=text, **asked)
                for text in (unmarked, marked)
            )
            if old != new:
                return None
    return marked
