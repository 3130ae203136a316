"""The command line as a newcomer meets it: help, refusals, JSON, completion, and the aliases of `make`."""

import importlib
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from itertools import pairwise

import pytest

from core.authoring.new_project import make_project
from flows.terminal.command import main, make_app
from flows.terminal.signatures import option_of, read_signature
from flows.terminal.words import TALKS, WORDS
from tests.conftest import CHECKOUT

MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
ALIASES = re.findall(r"^([a-z-]+):.*## .*(?:\[(.*)\])?\n(?:\t.*\n)*?\t@\$\(UNDERSTUDY\) ", MAKEFILE, re.MULTILINE)


def understudy(*words, folder=None, script="from flows.terminal.command import main; main()"):
    environment = {**os.environ, "UNDERSTUDY_DATA": str(folder or "/nowhere"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def shown(*words, capsys):
    assert not make_app(*words[:1])(words)
    return capsys.readouterr().out


@pytest.mark.parametrize("name", WORDS)
def test_each_command_has_help_with_its_options_their_defaults_examples_and_exit_codes(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    word, text = WORDS[name], shown(name, "--help", capsys=capsys)
    for item in read_signature(word.target).parameters:
        option = option_of(item.name, dict(word.names))
        line = next(line for line in text.splitlines() if option in line and not line.startswith("Usage"))
        assert len(line.rpartition(option)[2].split()) > 3, line
        if isinstance(item.default, str | int) and not isinstance(item.default, bool) and item.default != "" and (name, item.name) != ("run", "settings"):
            assert f"[default: {item.default}]" in text
    assert re.search(rf"Examples:\n  understudy {name}", text)
    assert "130 stopped by Ctrl-C" in text
    assert ("--json" in text) == (name not in TALKS)


def test_help_wraps_at_the_width_of_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "800")
    docs = {name: read_signature(WORDS[name].target).doc for name in ("review", "evaluate")}
    paragraphs = docs["review"].partition("\n\nArgs:")[0].split("\n\n")
    arms = docs["evaluate"].partition("    arms: ")[2].partition("\n    personas:")[0]
    assert any("\n" in paragraph for paragraph in paragraphs)
    assert "\n" in arms
    assert all(" ".join(paragraph.split()) in shown("review", "--help", capsys=capsys) for paragraph in paragraphs)
    assert " ".join(arms.split()) in shown("evaluate", "--help", capsys=capsys)


@pytest.mark.parametrize("name", WORDS)
def test_the_options_of_a_command_are_the_parameters_of_its_function(name):
    module, _, function = WORDS[name].target.partition(":")
    found = getattr(importlib.import_module(module), function)
    real = inspect.signature(getattr(found, "fn", found))
    read = read_signature(WORDS[name].target)
    assert {item.name: item.default for item in read.parameters} == {item.name: item.default for item in real.parameters.values() if item.name != "shard"}
    assert read.doc == inspect.getdoc(found)


@pytest.mark.parametrize("words", [["--help"], ["generate", "--help"], ["generate", "--cuont", "3"], ["genrate"], ["completion", "bash"]])
def test_help_refusals_and_completion_import_no_large_library(words):
    script = """
import sys, flows.terminal.command
try:
    flows.terminal.command.main()
finally:
    print([name for name in sys.modules if name.partition(".")[0] in ("prefect", "pydantic", "openai", "torch", "numpy")], file=sys.stderr)
"""
    assert understudy(*words, script=script).stderr.splitlines()[-1] == "[]"


def test_a_wrong_domain_or_setting_is_refused_by_every_command_before_prefect_is_loaded(tmp_path):
    (tmp_path / "mine.yaml").write_text("generation:\n  conversatons: 3\n", encoding="utf-8")
    script = """
import json, sys
from flows.terminal.command import _ended, make_app
app = make_app()
codes = [_ended(app, words) for words in json.loads(sys.argv[1])]
print(json.dumps([codes, [name for name in sys.modules if name.partition(".")[0] in ("prefect", "openai", "torch", "numpy", "huggingface_hub")]]))
"""
    needed = {name: [item.name for item in read_signature(word.target).parameters if item.default is inspect.Parameter.empty] for name, word in WORDS.items()}
    taking = {
        option: [name for name, word in WORDS.items() if option in {item.name for item in read_signature(word.target).parameters}]
        for option in ("domain", "settings")
    }
    wrong = [
        [name, "--domain=moon", *(f"--{item}=x" for item in needed[name] if item != "settings"), *(["demo"] if name == "run" else [])]
        for name in taking["domain"]
    ]
    wrong += [[name, *(f"--{item}=x" for item in needed[name] if item != "settings"), f"--settings={tmp_path}/none.yaml"] for name in taking["settings"]]
    wrong += [["generate", f"--settings={tmp_path}/mine.yaml"], ["generate", "--count=0"]]
    wrong = [words for words in wrong if words[0] not in ("design", "init")]  # whose domain is made
    ended = understudy(json.dumps(wrong), folder=tmp_path / "data", script=script)
    assert json.loads(ended.stdout.splitlines()[-1]) == [[2] * len(wrong), []], ended.stderr
    refused = ended.stderr.splitlines()
    assert len(refused) == len(wrong) > 40
    assert all(
        ("Unknown domain 'moon'" if "--domain=moon" in words else ".yaml" if "--count=0" not in words else "--count") in said
        for words, said in zip(wrong, refused, strict=True)
    )


REFUSED = {
    "genrate": 'Did you mean "generate"?',
    "generate --cuont 3": "Did you mean --count?",
    "generate COUNT=3": "Did you mean --count 3?",
    "generate cuont=3": "Did you mean --count 3?",
    "generate 3": "Unknown word '3'",
    "generate --count 3 --count 4": "--count specified multiple times",
    "generate --count many": "--count: 'many' is not a whole number",
    "generate --count 3.0": "'3.0' is not a whole number",
    "generate --count 0x10": "'0x10' is not a whole number",
    "generate --count 1_000": "'1_000' is not a whole number",
    "generate --count 0": "--count is 0. Allowed: greater than or equal to 1",
    "generate --count": "--count requires an argument",
    "generate --count=": "--count: '' is not a whole number",
    "generate --first-seed -1": "--first-seed is -1. Allowed: greater than or equal to 0",
    "generate --settings config/moon.yaml": "config/moon.yaml does not exist",
    "generate --settings dmeo": "Did you mean 'demo'?",
    "generate --domain therapeutic-coching": "Did you mean 'therapeutic-coaching'?",
    "generate --shard {}": "Unknown option: --shard",
    "generate --json=maybe": "maybe",
    "run": "needs SETTINGS",
    "run dmeo": "Did you mean 'demo'?",
    "run demo --count": "requires an argument",
    "studio --port 99999": "--port is 99999. Allowed: less than or equal to 65535",
    "ui --port 0": "--port is 0. Allowed: greater than or equal to 1",
    "power --personnas 5": "Did you mean --personas?",
    "power --trials none": "'none' is not a whole number",
    "personas --count 100000000": "less than or equal to",
    "assess REPAET=3": "Did you mean --repeat 3?",
    "evaluate --arms scripted/0.5": "Allowed: name=value",
    "evaluate --arms a=b/c,a=b/d": "occurs twice",
    "evaluate --arms opus=antropic/claude-opus-5-5": "Unknown model reference 'antropic/claude-opus-5-5'. Did you mean 'anthropic'?",
    "evaluate --arms opus=anthropic/claude-opsu-5-5": "No price is known for anthropic/claude-opsu-5-5",
    "evaluate --arms opus=anthropic/": "Unknown model reference 'anthropic/'",
    "pilot --model nowhere/qwen3": "Unknown model reference 'nowhere/qwen3'",
    "evaluate --base {}": "--base, as JSON",
    "train --dataset nothing": "--dataset, as JSON",
    "chat --agianst base": "Did you mean --against?",
    "chat --temperature warm": "warm",
    "design": "needs BRIEF",
    "fidelity": "needs TRANSCRIPTS",
    "fidelity chats more": "Unknown word 'more'",
    "costs --sizes 10,many": "whole numbers",
    "costs --wriet": "Unknown option: --wriet",
    "check-domain --prompts=1x": "1x",
    "import": "needs SOURCE",
    "completion csh": 'Did you mean "zsh"?',
    "generate api_key=sk-ant-api03-abcdefgh": "looks like a key",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_wrong_word_option_or_value_is_refused_with_a_suggestion_before_anything_is_written(words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("flows.terminal.command.leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path))
    monkeypatch.setattr("flows.terminal.running.temporary_server", lambda: pytest.fail("a server was started"))
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    reported = capsys.readouterr()
    assert (ended.value.code, reported.out) == (2, "")
    assert REFUSED[words] in reported.err
    assert reported.err.startswith("Error: ")
    assert len(reported.err.splitlines()) == 1
    assert "sk-ant" not in reported.err
    assert list(tmp_path.iterdir()) == []


def test_json_output_is_one_object_and_nothing_else(tmp_path):
    done = understudy("rubric", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "words", ["personas --count 2", "costs", "power --personas 6 --trials 1", "check-domain", "check-domain --prompts", "check-models --settings demo"]
)
def test_json_output_is_one_object_for_every_kind_of_answer(words, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path))
    monkeypatch.setattr("flows.terminal.power.SIMULATED", ())  # the planned number alone
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--json"])
    for number, handler in handlers.items():
        signal.signal(number, handler)
    said = capfd.readouterr()
    assert ended.value.code == 0, said.err
    assert isinstance(json.loads(said.out), dict)
    assert len(said.out.splitlines()) == 1


def test_shells_complete_words_and_options(capsys, tmp_path):
    for shell in ("bash", "zsh", "fish"):
        make_app()(["completion", shell])
        text = capsys.readouterr().out
        assert all(name in text for name in WORDS)
        assert "first-seed" in text
    make_app()(["completion", "bash"])
    (tmp_path / "completion").write_text(capsys.readouterr().out, encoding="utf-8")
    subprocess.run(["bash", "-n", str(tmp_path / "completion")], check=True)


def make(*words):
    return subprocess.run(["make", "--no-print-directory", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["generate", "CUONT=3"], "Unknown variable CUONT of make generate. Did you mean COUNT?"),
        (["generate", "count=3"], "Did you mean COUNT?"),
        (["generate", "CUONT="], "Did you mean COUNT?"),
        (["generate", "PERSONAS=3"], "Unknown variable PERSONAS of make generate."),
        (["generate", "it's=3"], "Unknown variable it's of make generate"),
        (["power", "COUNT=3"], "Allowed: PILOT PERSONAS TRIALS SETTINGS TO"),
        (["critique", "DOMIAN=x"], "Did you mean DOMAIN?"),
        (["check", "COUNT=3"], "It takes none"),
        (["help", "COUNT=3"], "It takes none"),
        (["COUNT=3"], "It takes none"),
        (["genrate", "COUNT=3"], "Unknown target genrate. Did you mean generate?"),
        (["generate", "assess", "COUNT=3"], "Unknown variable COUNT of make assess"),
    ],
)
def test_make_refuses_a_variable_that_its_target_does_not_take(words, reported):
    done = make("-n", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert reported in done.stderr


@pytest.mark.parametrize("target", [name for name, _ in ALIASES])
def test_a_make_target_passes_each_variable_that_it_lists_to_its_command(target):
    (line,) = re.findall(rf"^{target}:.*## (.*)", MAKEFILE, re.MULTILINE)
    names = re.findall(r"(?<=[ \[])([A-Z]+)=", line)
    assert set(re.findall(r"\$\(call (?:option|flag),([A-Z]+),", re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[0])) <= set(names)
    plain, full = make("-n", target), make("-n", target, *(f"{name}=7" for name in names))
    assert (plain.returncode, full.returncode) == (0, 0), plain.stderr + full.stderr
    without, words = (shlex.split(done.stdout.replace("\\\n", "").splitlines()[-1]) for done in (plain, full))
    for name in names:  # a variable and the option of the same name mean the same
        option = f"--{name.lower().replace('_', '-')}"
        if option in words:
            assert words[words.index(option) :][1:2] == ["7"] or option not in without, name
        else:
            assert WORDS[words[1]].positional.upper() == name
            assert any(word == "7" and not before.startswith("--") for before, word in pairwise(words)), name
    assert words[0] == ".venv/bin/understudy"
    make_app(words[1]).parse_args(words[1:])


def test_the_make_targets_that_run_a_command_are_listed():
    assert len(ALIASES) > 20


def test_a_single_domain_is_the_default_and_several_require_a_name(tmp_path, capsys, monkeypatch):
    project = make_project(str(tmp_path / "proj"), "coding-mentor")
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "200")
    assert "[default: coding-mentor]" in shown("generate", "--help", capsys=capsys)
    (project / "config/domains/tutor").mkdir()
    words = [sys.executable, "-c", "from flows.terminal.command import main; main()", "generate", "--count", "1"]
    done = subprocess.run(words, cwd=project, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "needs DOMAIN. The project has coding-mentor and tutor." in done.stderr
