"""Checks of a GGUF file that do not depend on its weights: vocabulary, texts, prompts, stops."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..common.dataset import Messages, composed
from ..common.events import JobError, emit, short

RENDER_SECONDS = 600
"""Time limit for llama.cpp's server to load a file and render some prompts."""
QUOTED = 16
"""Control tokens that are quoted for a comparison; some vocabularies have hundreds."""
TRICKY = [
    "  two  blanks\n\n\n\tand a tab \r\n",
    "It's 1234567 o'clock, WE'RE late…",
    "日本語 и русский ñandú 🙂👍🏽 x=[1,2];",
    # Decomposed: an angstrom sign, an ohm sign, accents and a syllable in parts of their own.
    "\u212b 5 k\u2126 cafe\u0301 na\u0131\u0308ve \u1112\u1161\u11ab",
]
"""Texts on which tokenizers differ: whitespace, numbers, contractions, scripts, emoji, accents."""


def passed(name: str, **figures: Any) -> dict[str, Any]:
    emit("check", name=name, **figures)
    return figures


def begins_with_bos(tokenizer: Any, texts: list[str]) -> bool:
    return bool(tokenizer.bos_token) and all(text.startswith(tokenizer.bos_token) for text in texts)


def check_reading(
    llm: Any, tokenizer: Any, stop: tuple[str, int], texts: list[str]
) -> dict[str, Any]:
    checks = passed("vocabulary", **check_vocabulary(llm, tokenizer))
    checks |= passed("texts", **check_texts(llm, tokenizer, texts))
    checks |= passed("ends", **check_ends(llm, stop))
    llm.close()
    return checks


def check_vocabulary(llm: Any, tokenizer: Any) -> dict[str, Any]:
    """Special tokens have the same numbers on both sides."""
    known = tokenizer.added_tokens_decoder.items()
    special = {number: token.content for number, token in known if token.special}
    for number, text in special.items():
        there, parsed = llm.text_of(number) or "nothing", llm.tokenize(text)
        if there != text or parsed != [number]:
            wrong = f"Special token {text!r} is number {number} in the tokenizer; in the GGUF"
            wrong = f"{wrong} {there!r} has that number, and the text is read as {parsed}"
            raise JobError(f"{wrong}; check the tokenizer's files.")
    for name in ("bos", "eos"):
        ours, theirs = getattr(tokenizer, f"{name}_token_id"), llm.special(name)
        if ours not in (None, theirs):
            wrong = f"The {name} token is number {theirs} in the GGUF and {ours} in the tokenizer"
            raise JobError(f"{wrong}; make config.json and tokenizer_config.json agree.")
    return {"special_tokens_alike": len(special)}


def check_ends(llm: Any, stop: tuple[str, int]) -> dict[str, Any]:
    """A reply's stop token ends the generation."""
    text, number = stop
    if not llm.is_end(number):
        wrong = f"llama.cpp would not stop where the template ends a reply, at {text!r}"
        raise JobError(f"{wrong}; make that the tokenizer's eos_token.")
    return {"stop_token": text, "stop_token_id": number}


def check_texts(llm: Any, tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """The GGUF has the same chat template and tokenizes each prompt as the training did.

    That includes a BOS before the prompt.
    """
    if llm.metadata("tokenizer.chat_template") != tokenizer.chat_template:
        wrong = "The chat template in the GGUF differs from the tokenizer's"
        raise JobError(f"{wrong}; look at --chat-template.")
    bos = tokenizer.bos_token or ""
    # Decomposed texts are composed where they enter, in training and in use.
    for text in [*texts, *map(composed, TRICKY)]:
        wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
        # llama.cpp's server removes the BOS of a rendered prompt where it adds one itself.
        prompt = text.removeprefix(bos) if llm.adds_bos else text
        found = llm.tokenize(prompt, begin=text in texts)
        if wanted != found:
            first = first_difference(wanted, found)
            ours = tokenizer.convert_ids_to_tokens(wanted[first : first + 3])
            theirs = [llm.text_of(token) for token in found[first : first + 3]]
            wrong = f"{text[:60]!r} becomes {len(wanted)} tokens in the tokenizer and {len(found)}"
            wrong = f"{wrong} in llama.cpp, from token {first + 1} on {ours} and {theirs}"
            look = "check the chat template, the tokenizer's pattern and --fallback-pre-tokenizer"
            raise JobError(f"{wrong}; {look}.")
    check_quoting(llm, tokenizer)
    return {
        "chat_template_identical": True,
        "texts_tokenized_alike": len(texts) + len(TRICKY),
        "adds_bos": llm.adds_bos,
    }


def check_quoting(llm: Any, tokenizer: Any) -> None:
    """Both sides read a control token that a text quotes as the same text."""
    known = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for quoted in filter(str.strip, known[:QUOTED]):
        text = f"It says {quoted} there."
        wanted = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if wanted != llm.tokenize(text, special=False):
            wrong = f"Tokenizer and llama.cpp read the text {text!r} as other tokens"
            emit("warning", text=f"{wrong}; a text that quotes a control token is read otherwise.")
            return


def check_rendering(
    path: Path, tokenizer: Any, chats: list[Messages], texts: list[str], adds_bos: bool
) -> dict[str, Any]:
    """llama.cpp's server renders the template into the prompts of the training.

    Skipped where xllamacpp is not installed.
    """
    if find_spec("xllamacpp") is None:
        return {"prompts_rendered_alike": None}
    # In a separate process, since the server takes over the signals that end this one.
    script = Path(__file__).with_name("llama_library.py")
    command, given = [sys.executable, str(script), "render", str(path)], json.dumps(chats)
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": RENDER_SECONDS}
    try:
        done = subprocess.run(command, input=given, check=False, **options)
    except subprocess.TimeoutExpired:
        wrong = "llama.cpp's server did not render the chat template within"
        unproven = f"{wrong} {RENDER_SECONDS} s; that both render alike is not proven."
        emit("warning", text=unproven)
        return {"prompts_rendered_alike": None}
    if done.returncode:
        raise JobError(f"{why_ended(done.returncode, done.stderr)}, or give another template.")
    for text, prompt in zip(texts, json.loads(done.stdout), strict=True):
        # As above.
        wanted = text.removeprefix(tokenizer.bos_token or "") if adds_bos else text
        if wanted != prompt:
            same = first_difference(wanted, prompt)
            part = slice(max(0, same - 20), same + 40)
            wrong = f"llama.cpp renders {prompt[part]!r} where the tokenizer's template renders"
            raise JobError(f"{wrong} {wanted[part]!r}; give a simpler --chat-template.")
    return {"prompts_rendered_alike": len(texts)}


def why_ended(code: int, stderr: str) -> str:
    """Returns why a process did not do its work: what it said last, or the signal that ended it."""
    last = " | ".join(map(short, stderr.strip().splitlines()[-3:])) or "nothing"
    if code > 0:
        return short((stderr.strip().splitlines() or [f"llama.cpp ended with {code}"])[-1])
    named = signal.Signals(-code).name
    return f"llama.cpp died of {named} (its last lines: {last}); try another one with --library"


def first_difference(these: Sequence[Any], those: Sequence[Any]) -> int:
    """Returns the index of the first difference, or the shorter length if there is none."""
    pairs = enumerate(zip(these, those, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(these), len(those)))
