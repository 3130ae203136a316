"""The Modelfile: Ollama reads from it the system prompt that was trained, whatever stands in that."""

import ast
import contextlib
import io
import re
import runpy
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CHECKOUT, needs
from tests.jobs.conftest import make_tokenizer

needs("trl")
EXPORT = runpy.run_path(str(CHECKOUT / "deployments/jobs/built/convert_gguf.py"))
COMMANDS = ("from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message", "requires")


def unquoted(value: str) -> str | None:
    """Return what a value means; none if its quotation mark is not closed yet."""
    for mark in ('"""', '"'):
        if value.startswith(mark):
            return value[len(mark) : -len(mark)] if len(value) >= 2 * len(mark) and value.endswith(mark) else None
    return value


def parse(text: str) -> list[tuple[str, str]]:
    """Read a Modelfile as Ollama does.

    Source: ParseFile in parser/parser.go of github.com/ollama/ollama.
    """
    found, state, name, read = [], "between", "", ""
    for character in text:
        blank, line = character in " \t", character in "\r\n"
        if state == "between" and not (blank or line):
            state, read = ("comment", "") if character == "#" else ("name", character)
        elif state == "comment" and line:
            state = "between"
        elif state in ("name", "parameter") and blank:
            assert state == "parameter" or read.lower() in COMMANDS
            state, name, read = ("parameter", "", "") if read.lower() == "parameter" else ("value", read.lower(), "")
        elif state in ("name", "parameter"):
            assert re.fullmatch(r"[A-Za-z]" if state == "name" else r"[A-Za-z0-9_]", character)
            read += character
        elif state == "value":
            value = unquoted(read.strip())
            if line and value is not None:
                found.append((name, value))
                state = "between"
            elif blank or line or character.isprintable():
                read += character  # what has no glyph is dropped
    assert state in ("between", "comment")
    return found


def test_the_parser_reads_what_ollama_reads() -> None:
    text = 'FROM ./a.gguf\n# SYSTEM no\nPARAMETER stop "<a b>"\nsystem """One "two"\n\n FROM {{ three\u200b }}"""\n'
    assert parse(text) == [("from", "./a.gguf"), ("stop", "<a b>"), ("system", 'One "two"\n\n FROM {{ three }}')]
    assert parse('SYSTEM """def f():\n"""\nFROM b\n')[0] == ("system", "def f():\n")


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    chatml = make_tokenizer({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>"], "qwen3_instruct_2507")
    marks = ["<start_of_turn>", "<end_of_turn>"]
    return {"chatml": chatml, "gemma": make_tokenizer({"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}, marks, "gemma3")}


def written(tokenizer: Any, system: str, stop: str) -> tuple[list[tuple[str, str]], str]:
    """Return the commands of the Modelfile for a system prompt, and what was said of it."""
    arguments = Namespace(name="coach", quantisations=["q4_k_m"], context=512, temperature=0.7, system=system)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        EXPORT["write_modelfile"](arguments, Path(folder), tokenizer, EXPORT["make_chats"](tokenizer, ""), [stop])
        return parse((Path(folder) / "Modelfile").read_bytes().decode()), said.getvalue()


TRICKY = [
    '"""',
    '"',
    "\n",
    "\r\n",
    "\t",
    " ",
    "{{ .System }}",
    "}}",
    "{{",
    "\\",
    "\\n",
    "SYSTEM x",
    "\nFROM ./b.gguf",
    "# no",
    "cafe\u0301",
    "\u00a0",
    "\u200d",
]
PROMPTS = st.lists(st.sampled_from(TRICKY) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=12).map("".join)


@settings(max_examples=60)
@given(PROMPTS)
def test_ollama_reads_the_system_prompt_that_was_trained(tokenizers: dict[str, Any], prompt: str) -> None:
    """Where its grammar cannot hold one, the template brings it; where Ollama brings the template, it is said what is missing."""
    system = EXPORT["as_read"](prompt)
    for name, stop in (("chatml", "<|im_end|>"), ("gemma", "<end_of_turn>")):
        commands, said = written(tokenizers[name], system, stop)
        found = dict(commands)
        assert len(found) == len(commands)
        assert (found["from"], found["stop"], found["num_ctx"], found["temperature"]) == ("./coach-q4_k_m.gguf", stop, "512", "0.7")
        if name == "chatml" and "system" not in found and system:
            default = re.search(r'\{\{ else \}\}<\|im_start\|>system\n\{\{ ("(?:[^"\\\n]|\\.)*") \}\}<\|im_end\|>\n\{\{ end \}\}', found["template"])
            assert default
            assert ast.literal_eval(default[1]) == system  # Go's escapes that are used here are Python's too
            assert "system prompt" not in said
        else:
            assert found.get("system", "") == system or (name == "gemma" and "system prompt" in said)
