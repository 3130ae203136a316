"""The Modelfile for Ollama.

Source of its grammar: parser/parser.go of https://github.com/ollama/ollama.
"""

import argparse
import re
import unicodedata
from pathlib import Path
from typing import Any

from ..common.dataset import Messages
from ..common.events import emit
from .texts import render, turns

RECOGNISED = r"<start_of_turn>|<\|start_header_id\|>"
"""Matches the chat templates that Ollama recognises: Gemma's and Llama's, but not Qwen's."""
ENDING = r'"""(?=\s*[\r\n])'
"""Matches quotation marks at the end of a line, which end a text in a Modelfile. They cannot be
escaped."""


def write_modelfile(
    arguments: argparse.Namespace,
    folder: Path,
    tokenizer: Any,
    chats: list[Messages],
    stops: list[str],
) -> None:
    """Write the Modelfile.

    A system prompt that SYSTEM cannot represent becomes the default of the template. If Ollama
    recognises the template, SYSTEM gets the nearest text that it can represent, with a warning.

    Args:
        stops: texts of the stop tokens.
    """
    system = arguments.system
    template = ollama_template(tokenizer, chats, "" if holds(system) else system)
    if not template and not re.search(RECOGNISED, tokenizer.chat_template):
        wrong = "The Modelfile has no TEMPLATE: Ollama may not know this chat template."
        emit("warning", text=f"{wrong} Use llama.cpp, or write one.")
    lines = [f"FROM ./{arguments.name}-{arguments.quantisations[0]}.gguf"]
    printable = [stop for stop in stops if stop.isprintable() and '"' not in stop]
    lines += [f'PARAMETER stop "{stop}"' for stop in printable]
    lines += [f"PARAMETER num_ctx {arguments.context}"]
    if arguments.temperature is not None:
        lines += [f"PARAMETER temperature {arguments.temperature:g}"]
    lines += [f'TEMPLATE """{template}"""'] if template else []
    if not holds(system) and not template:
        wrong = "The Modelfile's SYSTEM differs from the system prompt: Ollama drops unprintable"
        emit("warning", text=f'{wrong} characters, and ends a text at a line that ends with """.')
        system = nearest(system)
    lines += [f'SYSTEM """{system}"""'] if system and holds(system) else []
    (folder / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def holds(text: str) -> bool:
    """Return whether Ollama reads a text from a Modelfile unchanged."""
    shown = all(character.isprintable() or character in "\t\r\n" for character in text)
    return shown and not re.search(ENDING, text)


def nearest(text: str) -> str:
    """Return a text that a Modelfile can represent.

    Special spaces become blanks, other unprintable characters are dropped, and quotation marks
    that would end the text are replaced.
    """
    replacements = {
        character: " " if unicodedata.category(character)[0] == "Z" else ""
        for character in set(text)
        if not character.isprintable() and character not in "\t\r\n"
    }
    return re.sub(ENDING, "'''", text.translate(str.maketrans(replacements)))


def go_string(text: str) -> str:
    """Return a text as a string of Go's template language, on one line."""
    escapes = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

    def spelt(character: str) -> str:
        escape = f"\\U{ord(character):08x}"
        return escapes.get(character) or (character if character.isprintable() else escape)

    return f'"{"".join(map(spelt, text))}"'


def ollama_template(tokenizer: Any, chats: list[Messages], system: str) -> str | None:
    """Return ChatML in Ollama's template language; None if it would render other prompts.

    Args:
        system: the template's default system prompt; empty for none.
    """
    opening, closing = "<|im_start|>", "<|im_end|>\n"
    replying = f"{opening}assistant\n"
    first, _, rest = render(tokenizer, turns("A")).partition(f"{opening}user\nA{closing}")
    past = render(tokenizer, turns("A", "B", "C"))
    # What the template puts before past replies and before the next one, e.g. an empty think block.
    block = past.partition(replying)[2].partition(f"B{closing}")[0]
    coming = rest.removeprefix(replying)

    def chatml(chat: Messages) -> str:
        text = "" if chat[0]["role"] == "system" else first
        for message in chat:
            before = block if message["role"] == "assistant" else ""
            text += f"{opening}{message['role']}\n{before}{message['content']}{closing}"
        return text + replying + coming

    if any(render(tokenizer, chat) != chatml(chat) for chat in chats):
        return None
    if re.search(r'\{\{|"""', first + block + coming):
        return None
    if system:
        first = f"{opening}system\n{{{{ {go_string(system)} }}}}{closing}"
    otherwise = f"{{{{ else }}}}{first}" if first else ""
    before = f'{{{{ if eq .Role "assistant" }}}}{block}{{{{ end }}}}' if block else ""
    return (
        f"{{{{ if .System }}}}{opening}system\n{{{{ .System }}}}{closing}{otherwise}{{{{ end }}}}"
        f'{{{{ range .Messages }}}}{{{{ if ne .Role "system" }}}}'
        f"{opening}{{{{ .Role }}}}\n{before}{{{{ .Content }}}}{closing}"
        f"{{{{ end }}}}{{{{ end }}}}{replying}{coming}"
    )
