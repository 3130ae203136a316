"""The Modelfile for Ollama."""

import argparse
import re
from pathlib import Path
from typing import Any

from ..common.dataset import Messages
from ..common.events import emit
from .texts import render, turns

RECOGNISED = r"<start_of_turn>|<\|start_header_id\|>"
"""Matches the chat templates that Ollama recognises by itself: Gemma's and Llama's, not Qwen's."""


def write_modelfile(
    arguments: argparse.Namespace,
    folder: Path,
    tokenizer: Any,
    chats: list[Messages],
    stops: list[str],
) -> None:
    template = ollama_template(tokenizer, chats)
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
    # A quotation mark at the end would be read as part of the closing three.
    end = "\n" * arguments.system.endswith('"')
    lines += [f'SYSTEM """{arguments.system}{end}"""'] if arguments.system else []
    (folder / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ollama_template(tokenizer: Any, chats: list[Messages]) -> str | None:
    """Returns ChatML in Ollama's template language, if it renders the same prompts."""
    opening, closing = "<|im_start|>", "<|im_end|>\n"
    replying = f"{opening}assistant\n"
    first, _, rest = render(tokenizer, turns("A")).partition(f"{opening}user\nA{closing}")
    past = render(tokenizer, turns("A", "B", "C"))
    # The template's text before a past reply and before the next one, such as an empty think block.
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
    otherwise = f"{{{{ else }}}}{first}" if first else ""
    before = f'{{{{ if eq .Role "assistant" }}}}{block}{{{{ end }}}}' if block else ""
    return (
        f"{{{{ if .System }}}}{opening}system\n{{{{ .System }}}}{closing}{otherwise}{{{{ end }}}}"
        f'{{{{ range .Messages }}}}{{{{ if ne .Role "system" }}}}'
        f"{opening}{{{{ .Role }}}}\n{before}{{{{ .Content }}}}{closing}"
        f"{{{{ end }}}}{{{{ end }}}}{replying}{coming}"
    )
