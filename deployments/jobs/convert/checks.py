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
"""Time limit in seconds for llama.cpp's server to load a file and render the prompts."""
QUOTED = 16
"""Number of control tokens that are quoted for a comparison; some vocabularies have hundreds."""
TRICKY = [
    "  two  blanks\n\n\n\tand a tab \r\n",
    "It's 1234567 o'clock, WE'RE late…",
    "日本語 и русский ñandú 🙂👍🏽 x=[1,2];",
    # Decomposed: an angstrom sign, an ohm sign, accents, and a Korean syllable as separate letters.
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
    """Check that special tokens have the same numbers in the tokenizer and in the GGUF."""
    added = tokenizer.added_tokens_decoder.items()
    special = {number: token.content for number, token in added if token.special}
    for number, text in special.items():
        theirs, parsed = llm.text_of(number) or "nothing", llm.tokenize(text)
        if theirs != text or parsed != [number]:
            wrong = f"Special token {text!r} is number {number} in the tokenizer; in the GGUF"
            wrong = f"{wrong} {theirs!r} has that number, and the text is read as {parsed}"
            raise JobError(f"{wrong}; check the tokenizer's files.")
    for name in ("bos", "eos"):
        ours, theirs = getattr(tokenizer, f"{name}_token_id"), llm.special(name)
        if ours not in (None, theirs):
            wrong = f"The {name} token is number {theirs} in the GGUF and {ours} in the tokenizer"
            raise JobError(f"{wrong}; make config.json and tokenizer_config.json agree.")
    return {"special_tokens_alike": len(special)}


def check_ends(llm: Any, stop: tuple[str, int]) -> dict[str, Any]:
    """Check that a reply's stop token ends the generation in llama.cpp."""
    text, number = stop
    if not llm.is_end(number):
        wrong = f"llama.cpp would not stop where the template ends a reply, at {text!r}"
        raise JobError(f"{wrong}; make that the tokenizer's eos_token.")
    return {"stop_token": text, "stop_token_id": number}


def check_texts(llm: Any, tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    """Check that the GGUF has the same chat template and tokenizes each prompt as in training.

    The comparison includes a BOS before the prompt.
    """
    if llm.metadata("tokenizer.chat_template") != tokenizer.chat_template:
        wrong = "The chat template in the GGUF differs from the tokenizer's"
        raise JobError(f"{wrong}; look at --chat-template.")
    bos = tokenizer.bos_token or ""
    # Input texts are composed before they are tokenized, in training and in use.
    for text in [*texts, *map(composed, TRICKY)]:
        expected = tokenizer(text, add_special_tokens=False)["input_ids"]
        # llama.cpp's server removes the BOS of a rendered prompt if it adds one itself.
        prompt = text.removeprefix(bos) if llm.adds_bos else text
        actual = llm.tokenize(prompt, begin=text in texts)
        if expected != actual:
            first = first_difference(expected, actual)
            ours = tokenizer.convert_ids_to_tokens(expected[first : first + 3])
            theirs = [llm.text_of(token) for token in actual[first : first + 3]]
            wrong = f"{text[:60]!r} becomes {len(expected)} tokens in the tokenizer and"
            wrong = f"{wrong} {len(actual)} in llama.cpp; from token {first + 1} on they are {ours}"
            wrong = f"{wrong} and {theirs}"
            look = "check the chat template, the tokenizer's pattern and --fallback-pre-tokenizer"
            raise JobError(f"{wrong}; {look}.")
    check_quoting(llm, tokenizer)
    return {
        "chat_template_identical": True,
        "texts_tokenized_alike": len(texts) + len(TRICKY),
        "adds_bos": llm.adds_bos,
    }


def check_quoting(llm: Any, tokenizer: Any) -> None:
    """Warn if the tokenizer and llama.cpp tokenize a quoted control token differently as text."""
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for quoted in filter(str.strip, special[:QUOTED]):
        text = f"It says {quoted} there."
        expected = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if expected != llm.tokenize(text, special=False):
            wrong = f"Tokenizer and llama.cpp read the text {text!r} as different tokens"
            emit("warning", text=f"{wrong}, since it quotes a control token.")
            return


def check_rendering(
    path: Path, tokenizer: Any, chats: list[Messages], texts: list[str], adds_bos: bool
) -> dict[str, Any]:
    """Check that llama.cpp's server renders the same prompts as in training.

    The check is skipped if xllamacpp is not installed.
    """
    if find_spec("xllamacpp") is None:
        return {"prompts_rendered_alike": None}
    # In a separate process, since the server replaces the signal handlers of its process.
    script = Path(__file__).with_name("llama_library.py")
    command, body = [sys.executable, str(script), "render", str(path)], json.dumps(chats)
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": RENDER_SECONDS}
    try:
        done = subprocess.run(command, input=body, check=False, **options)
    except subprocess.TimeoutExpired:
        wrong = "llama.cpp's server did not render the chat template within"
        unproven = f"{wrong} {RENDER_SECONDS} s; whether both render alike is not known."
        emit("warning", text=unproven)
        return {"prompts_rendered_alike": None}
    if done.returncode:
        raise JobError(f"{why_ended(done.returncode, done.stderr)}, or give another template.")
    for text, prompt in zip(texts, json.loads(done.stdout), strict=True):
        expected = text.removeprefix(tokenizer.bos_token or "") if adds_bos else text
        if expected != prompt:
            same = first_difference(expected, prompt)
            part = slice(max(0, same - 20), same + 40)
            wrong = f"llama.cpp renders {prompt[part]!r} where the tokenizer's template renders"
            raise JobError(f"{wrong} {expected[part]!r}; give a simpler --chat-template.")
    return {"prompts_rendered_alike": len(texts)}


def why_ended(code: int, stderr: str) -> str:
    """Return why a process failed: its last line of output, or the signal that ended it."""
    last = " | ".join(map(short, stderr.strip().splitlines()[-3:])) or "nothing"
    if code > 0:
        return short((stderr.strip().splitlines() or [f"llama.cpp ended with {code}"])[-1])
    named = signal.Signals(-code).name
    return f"llama.cpp died of {named} (its last lines: {last}); try another one with --library"


def first_difference(these: Sequence[Any], those: Sequence[Any]) -> int:
    """Return the index of the first difference, or the shorter length if there is none."""
    pairs = enumerate(zip(these, those, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(these), len(those)))
