"""The Modelfile: Ollama reads any trained system prompt from it, and renders the trained prompts."""

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
from tests.jobs.conftest import make_tokenizer, read_template

needs("trl")
EXPORT = runpy.run_path(str(CHECKOUT / "deployments/jobs/built/convert_gguf.py"))
COMMANDS = ("from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message", "requires")


def unquoted(value: str) -> str | None:
    """Return a value without its quotation marks; None if they are not closed yet."""
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
                read += character  # unprintable characters are dropped
    assert state in ("between", "comment")
    return found


def test_the_parser_of_these_tests_reads_a_modelfile_as_ollama_does() -> None:
    text = 'FROM ./a.gguf\n# SYSTEM no\nPARAMETER stop "<a b>"\nsystem """One "two"\n\n FROM {{ three\u200b }}"""\n'
    assert parse(text) == [("from", "./a.gguf"), ("stop", "<a b>"), ("system", 'One "two"\n\n FROM {{ three }}')]
    assert parse('SYSTEM """def f():\n"""\nFROM b\n')[0] == ("system", "def f():\n")


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    chatml = make_tokenizer({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>"], "qwen3_instruct_2507")
    marks = ["<start_of_turn>", "<end_of_turn>"]
    return {"chatml": chatml, "gemma": make_tokenizer({"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"}, marks, "gemma3")}


def written(tokenizer: Any, system: str, stop: str) -> tuple[list[tuple[str, str]], str]:
    """Return the commands of the Modelfile for a system prompt, and the warnings."""
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
    """A prompt that SYSTEM cannot represent becomes the template's default; if Ollama provides the template, there is a warning."""
    system = EXPORT["as_read"](prompt)
    for name, stop in (("chatml", "<|im_end|>"), ("gemma", "<end_of_turn>")):
        commands, said = written(tokenizers[name], system, stop)
        found = dict(commands)
        assert len(found) == len(commands)
        assert (found["from"], found["stop"], found["num_ctx"], found["temperature"]) == ("./coach-q4_k_m.gguf", stop, "512", "0.7")
        if name == "chatml" and "system" not in found and system:
            default = re.search(r'\{\{ else \}\}<\|im_start\|>system\n\{\{ ("(?:[^"\\\n]|\\.)*") \}\}<\|im_end\|>\n\{\{ end \}\}', found["template"])
            assert default
            assert ast.literal_eval(default[1]) == system  # the escapes used here are the same in Go and in Python
            assert "system prompt" not in said
        else:
            assert found.get("system", "") == system or (name == "gemma" and "system prompt" in said)


def go_render(template: str, system: str, messages: list[dict[str, str]]) -> str:
    """Evaluate the part of Go's template language that is used here: values, if with else, range, eq and ne."""
    parts = re.split(r"(\{\{.*?\}\})", template)

    def block(at: int, scope: dict[str, Any] | None) -> tuple[str, int]:
        """Return the text from a position to its `else` or `end`, and the position there; without a scope nothing is evaluated."""
        text = ""
        while at < len(parts):
            words = parts[at].strip("{} ").split() if parts[at].startswith("{{") else None
            if words is None:
                text, at = text + parts[at], at + 1
            elif words[0] in ("else", "end"):
                return text, at
            elif words[0] == "if":
                value = scope and scope.get(words[-1] if len(words) == 2 else words[2])
                holds = bool(value) if len(words) == 2 else (value == words[3].strip('"')) == (words[1] == "eq")
                found, end = block(at + 1, scope if holds else None)
                otherwise, end = block(end + 1, None if holds else scope) if parts[end].strip("{} ") == "else" else ("", end)
                text, at = text + (found if holds else otherwise), end + 1
            elif words[0] == "range":
                turns = [block(at + 1, {**(scope or {}), ".Role": m["role"], ".Content": m["content"]}) for m in (scope or {}).get(words[1], [])]
                text, at = text + "".join(turn for turn, _ in turns), block(at + 1, None)[1] + 1
            else:
                text, at = text + str((scope or {}).get(words[0], "")), at + 1
        return text, at

    return block(0, {".System": system, ".Messages": messages})[0]


def test_the_evaluator_of_these_tests_renders_a_go_template_correctly() -> None:
    turn = '{{ if ne .Role "system" }}<{{ .Role }}{{ if eq .Role "user" }}!{{ end }}{{ .Content }}>{{ end }}'
    template = f"{{{{ if .System }}}}[{{{{ .System }}}}]{{{{ else }}}}none{{{{ end }}}}{{{{ range .Messages }}}}{turn}{{{{ end }}}}."
    said = [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert go_render(template, "S", said) == "[S]<user!a><assistantb>."
    assert go_render(template, "", []) == "none."


CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "I slept badly."},
    {"role": "assistant", "content": "That is hard."},
    {"role": "user", "content": "What now?"},
    {"role": "assistant", "content": "Ask why."},
    {"role": "user", "content": "Thanks."},
]
TEMPLATES = {
    "plain": lambda: read_template("qwen3_instruct_2507"),
    "an empty think block before each reply": lambda: (CHECKOUT / "config/training/qwen3-no-think.jinja").read_text(encoding="utf-8"),
    "a default system prompt": lambda: read_template("qwen2_5"),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_ollama_renders_the_prompts_that_were_trained(tokenizers: dict[str, Any], tmp_path: Path, template: str) -> None:
    trained, system, output = tmp_path / "template.jinja", tmp_path / "system.md", tmp_path / "out"
    trained.write_text(TEMPLATES[template](), encoding="utf-8")
    system.write_text("Be kind.\nAnd brief.\n", encoding="utf-8")
    tokenizers["chatml"].save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    words = ["--base", tmp_path, "--output", output, "--name", "coach", "--chat-template", trained, "--system-file", system, "--temperature", 0.7]
    arguments = EXPORT["parse_arguments"]([str(word) for word in [*words, "--context", 512]], "")
    EXPORT["check_arguments"](arguments)
    tokenizer = EXPORT["load_tokenizer"](arguments, tmp_path)
    assert "generation" not in tokenizer.chat_template.replace("add_generation_prompt", "")
    EXPORT["write_modelfile"](arguments, tmp_path, tokenizer, EXPORT["make_chats"](tokenizer, arguments.system), ["<|im_end|>"])
    modelfile = (tmp_path / "Modelfile").read_text(encoding="utf-8")
    commands = parse(modelfile)
    assert [command for command in commands if command[0] != "template"] == [
        *[("from", "./coach-q4_k_m.gguf"), ("stop", "<|im_end|>"), ("num_ctx", "512"), ("temperature", "0.7")],
        ("system", "Be kind.\nAnd brief."),
    ]
    for chat in (CHAT[:4], CHAT[1:4], CHAT[1:2], CHAT):
        prompt = tokenizers["chatml"].apply_chat_template(chat, chat_template=trained.read_text(encoding="utf-8"), tokenize=False, add_generation_prompt=True)
        assert go_render(dict(commands)["template"], "Be kind." if chat[0]["role"] == "system" else "", chat) == prompt
