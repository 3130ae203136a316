"""`understudy chat` with real models in the terminal, through a pipe and in the browser."""

import gzip
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from core.imports.transcript_files import read_transcript
from core.packs.pack import load_pack
from flows.terminal.command import main
from tests.blocks.test_llama_server import needs_program, random_gguf
from tests.conftest import CHECKOUT

COMMAND = [sys.executable, "-m", "flows.terminal"]
TRAINED = "You were trained as a coach."
PACK = "therapeutic-coaching"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return random_gguf(tmp_path_factory.mktemp("gguf") / "random.gguf")


class Chat:
    """The command with its own data root and a scripted server."""

    def __init__(self, folder):
        self.data, self.requests = folder / "data", folder / "requests.jsonl"
        program = folder / "llama-server"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CHECKOUT}/tests/terminal/talker.py" "$@"\n')
        program.chmod(0o755)
        self.environment = os.environ | {"UNDERSTUDY_DATA": str(self.data), "REQUESTS": str(self.requests), "UNDERSTUDY_LLAMA_SERVER": str(program)}

    def run(self, *words, said=""):
        return subprocess.run(
            [*COMMAND, "chat", *words], cwd=CHECKOUT, env=self.environment, input=said, capture_output=True, text=True, timeout=120, check=False
        )

    def asked(self):
        return [json.loads(line) for line in self.requests.read_text().splitlines()]

    def export(self, gguf):
        """Write the files of an export of the domain."""
        for arm in ("base", "understudy"):
            folder = self.data / "models/gguf" / f"{arm}-1"
            folder.mkdir(parents=True)
            name = f"{arm}-q4_k_m.gguf"
            (folder / name).write_bytes(gguf.read_bytes())
            (folder / "Modelfile").write_text(f'FROM ./{name}\nSYSTEM """{TRAINED}"""\n')
            (folder / "export.json").write_text(json.dumps({"base": "HuggingFaceTB/SmolLM2-135M-Instruct", "files": {name: {"bytes": 1, "sha256": "0"}}}))
        dataset = {"path": "datasets/d", "repo": "r", "commit": "c", "url": "", "examples": 1234, "validation_examples": 9, "transcripts": 28}
        (self.data / "datasets/d").mkdir(parents=True)
        (self.data / "datasets/d/manifest.json").write_text(json.dumps({"caveats": ["Played by a scripted company."]}))
        models = {arm: {"path": f"models/gguf/{arm}-1", "name": arm} for arm in ("base", "understudy")}
        (self.data / f"models/latest-export-{PACK}.json").write_text(json.dumps({**models, "dataset": dataset}))


@pytest.fixture
def chat(tmp_path):
    return Chat(tmp_path)


@pytest.fixture
def real(chat):
    """The same with the llama.cpp of this installation."""
    chat.environment = {name: value for name, value in chat.environment.items() if name != "UNDERSTUDY_LLAMA_SERVER"}
    if own := os.environ.get("UNDERSTUDY_LLAMA_SERVER"):
        chat.environment["UNDERSTUDY_LLAMA_SERVER"] = own
    return chat


@pytest.fixture
def here(data_root, capsys):
    """The command in this process, which is faster; its signal handlers are restored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return ended.value.code, *capsys.readouterr()

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def playing(path):
    return [process for process in psutil.process_iter(["cmdline"]) if any(str(path) in word for word in process.info["cmdline"] or [])]


@needs_program
def test_a_piped_chat_with_a_real_model_leaves_no_process_and_no_file(real, gguf):
    done = real.run("--model", str(gguf), "--max-tokens", "6", said="Hello.\nHow are you?\n")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^understudy> ", done.stdout, re.MULTILINE)) == 2
    assert "you> How are you?" in done.stderr
    assert not playing(gguf)
    assert not real.data.exists()


def test_base_and_understudy_of_the_latest_export_answer_with_the_trained_prompt_and_their_own_histories(chat, gguf):
    chat.export(gguf)
    done = chat.run("--against", "base", "--temperature", "0", "--max-tokens", "99", said="one\ntwo\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "base> Heard 'one' after 1.\nunderstudy> Heard 'one' after 1.\nbase> Heard 'two' after 3.\nunderstudy> Heard 'two' after 3.\n"
    last = chat.asked()[-1]
    assert [message["content"] for message in last["messages"]] == [TRAINED, "one", "Heard 'one' after 1.", "two"]
    assert [message["role"] for message in last["messages"]] == ["system", "user", "assistant", "user"]
    assert (last["temperature"], last["max_tokens"]) == (0, 99)
    assert last["model"].endswith("understudy-q4_k_m.gguf")
    assert "understudy-q4_k_m.gguf" in done.stderr
    assert "SmolLM2-135M-Instruct, trained on 1,234 examples from 28 conversations" in done.stderr
    assert "Played by a scripted company." in done.stderr


def test_a_models_text_cannot_control_the_terminal_and_its_thinking_is_neither_shown_nor_remembered(chat, gguf):
    """A file without an export gets the pack's prompt, and the notice is shown first."""
    done = chat.run("--model", str(gguf), said="hostile\nthink\nand?\n")
    assert chat.asked()[0]["messages"][0]["content"] == load_pack(PACK).system()
    before = done.stderr.partition("you> ")[0]
    assert all(said in before for said in ("not a therapist", "not a crisis service", "local emergency number"))
    assert done.stdout == "understudy> Red:  and bell done.\nunderstudy> \nunderstudy> Heard 'and?' after 3.\n"
    assert "It only thought" in done.stderr
    assert chat.asked()[-1]["messages"][2]["content"] == "Red:  and bell done."


def test_each_command_of_a_chat_works(chat, gguf, tmp_path):
    file = tmp_path / "kept.json"
    chat.export(gguf)
    done = chat.run("--against", "base", said=f"/system\none\n/svae {file}\n/save {file}\n/save {file}\n/save /nowhere/x.json\n/new\ntwo\n/quit\nthree\n")
    assert done.returncode == 0, done.stderr
    assert TRAINED in done.stderr
    assert "Did you mean '/save'?" in done.stderr
    assert f"{file} exists already" in done.stderr
    assert "Cannot write /nowhere/x.json" in done.stderr
    assert done.stdout.endswith("understudy> Heard 'two' after 1.\n")
    for path, name in ((file, "understudy"), (tmp_path / "kept-base.json", "base")):
        assert [(exchange.user, exchange.assistant) for exchange in read_transcript(path).exchanges] == [("one", "Heard 'one' after 1.")]
        kept = json.loads(path.read_text())
        assert (kept["system"], kept["provenance"]["model"]) == (TRAINED, f"{name}-q4_k_m.gguf")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 1, r"No export of therapeutic-coaching in .* Run `understudy run demo` or `understudy export` first"),
        (["--against", "base"], 1, r"No export of therapeutic-coaching"),
        (["--domain", "therapeutic-coachin"], 2, r"Unknown domain 'therapeutic-coachin'\. Did you mean 'therapeutic-coaching'\?"),
        (["--agianst", "base"], 2, r"--agianst.*Did you mean --against"),
        (["--temperature", "warm"], 2, r"--temperature"),
        (["--temperature", "-1"], 2, r"--temperature is -1"),
        (["therapeutic-coaching"], 2, r"Unknown word 'therapeutic-coaching'"),
        (["--model", "nowhere.gguf"], 2, r"nowhere\.gguf does not exist"),
        (["--model", "README.md"], 2, r"README\.md is not a GGUF file"),
        (["--settings", "config/nowhere.yaml"], 2, r"nowhere\.yaml does not exist"),
        (["--open", "--against", "base"], 2, r"--open shows one model"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_refused_with_one_sentence_and_its_exit_code(here, words, code, sentence):
    ended, out, error = here("chat", *words)
    assert ended == code, error
    assert re.search(sentence, error)
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    assert out == ""


def test_a_misspelt_value_of_against_gets_a_suggestion(here, gguf):
    code, _, error = here("chat", "--model", str(gguf), "--against", "bsae")
    assert (code, "Did you mean 'base'?" in error) == (2, True)


def test_without_llama_cpp_the_error_says_how_to_install_it(here, gguf, monkeypatch):
    monkeypatch.delenv("UNDERSTUDY_LLAMA_SERVER", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("blocks.llama_launch.read_runtime", lambda: None)  # a light install has none
    code, _, error = here("chat", "--model", str(gguf))
    assert (code, "llama.cpp is not installed" in error, "make setup" in error) == (2, True, True)


def test_a_piped_chat_ends_with_one_sentence_if_it_is_too_long_or_the_server_dies(chat, gguf):
    done = chat.run("--model", str(gguf), said="overflow\n")
    assert (done.returncode, "/new begins a new conversation" in done.stderr) == (1, True)
    done = chat.run("--model", str(gguf), said="die\n")
    assert done.returncode == 1
    assert re.search(r"Error: llama-server/random\.gguf .* died of SIGTERM", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["--help"], ["chat", "--help"]], ids=" ".join)
def test_help_has_defaults_examples_and_exit_codes(here, words):
    code, out, _ = here(*words)
    assert code == 0
    assert "Exit codes: 0" in out
    if "chat" in words:
        assert "[default: therapeutic-coaching]" in out
        assert "understudy chat --against base" in out


def test_an_unknown_command_is_refused_with_the_nearest_known_one(here):
    code, _, error = here("chta")
    assert (code, 'Did you mean "chat"?' in error) == (2, True)


def test_a_chat_imports_neither_prefect_nor_openai_nor_torch():
    script = "import sys, flows.terminal.chat; print([name for name in sys.modules if name.partition('.')[0] in ('prefect', 'openai', 'torch')])"
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, chat, *words):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, "chat", *words],
            cwd=CHECKOUT,
            env=chat.environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # a suite that runs in the background may have been set to ignore Ctrl-C, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        os.close(slave)
        self.seen = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, text):
        """Read until a text appears and drop the output before it."""
        until = time.monotonic() + 60
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, until - time.monotonic()))
            assert ready, self.seen
            self.seen += os.read(self.master, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def interrupt(self):
        time.sleep(0.3)  # readline prints its prompt a moment before it waits, and a signal between the two is seen at the next key only
        self.process.send_signal(signal.SIGINT)

    def end(self):
        code = self.process.wait(timeout=240)
        os.close(self.master)
        return code


@pytest.fixture
def in_terminal(chat, request):
    """Start the command in a terminal and end it with the test."""

    def start(*words):
        terminal = Terminal(chat, *words)
        request.addfinalizer(terminal.process.kill)
        return terminal

    return start


def test_ctrl_c_stops_a_reply_and_a_second_one_leaves(chat, gguf, in_terminal):
    terminal = in_terminal("--model", str(gguf))
    terminal.wait_for("you> ")
    terminal.type("long\n")
    terminal.wait_for("word5 ")
    terminal.interrupt()
    terminal.wait_for("Ctrl-C once more leaves")
    terminal.wait_for("you> ")
    terminal.type("and?\n")
    terminal.wait_for("Heard 'and?' after 3.")
    terminal.wait_for("you> ")
    terminal.interrupt()
    terminal.wait_for("you> ")
    terminal.interrupt()
    assert terminal.end() == 130
    kept = chat.asked()[-1]["messages"][2]["content"]
    assert kept.startswith("word0 word1")
    assert "word1999" not in kept
    assert not playing(gguf)


def test_an_error_in_a_terminal_leaves_the_conversation_open_and_ctrl_d_ends_it(gguf, in_terminal):
    terminal = in_terminal("--model", str(gguf))
    terminal.wait_for("you> ")
    terminal.type("overflow\n")
    terminal.wait_for("/new begins a new conversation")
    terminal.wait_for("you> ")
    terminal.type("still there?\n")
    terminal.wait_for("Heard 'still there?' after 1.")
    terminal.wait_for("you> ")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_sigterm_ends_the_conversation_and_its_server(chat, gguf, in_terminal):
    terminal = in_terminal("--model", str(gguf))
    terminal.wait_for("you> ")
    terminal.type("long\n")
    terminal.wait_for("word5 ")
    terminal.process.terminate()
    assert terminal.end() == 143
    assert not playing(gguf)


def test_the_command_behind_a_page_ends_with_the_reason_if_its_server_dies(chat, gguf, request):
    chat.environment |= {"BROWSER": "true"}
    process = subprocess.Popen([*COMMAND, "chat", "--open", "--model", str(gguf)], cwd=CHECKOUT, env=chat.environment, stderr=subprocess.PIPE, text=True)
    request.addfinalizer(process.kill)
    assert process.stderr
    address = next(line for line in iter(process.stderr.readline, "") if line.startswith("http://127.0.0.1:"))
    port = re.findall(r":(\d+)", address)[-1]  # a server of the test before may still be on its way out
    next(found for found in playing(gguf) if port in found.cmdline() and "tethered" not in " ".join(found.cmdline())).terminate()
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert re.search(r"Error: .* died of SIGTERM .* Run the same command again\.\n$", said), said
    assert "Traceback" not in said


@needs_program
def test_the_page_has_the_prompt_the_notice_and_a_secret_address(real, gguf, tmp_path, request):
    real.export(gguf)
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}"\n')
    browser.chmod(0o755)
    real.environment |= {"BROWSER": str(browser)}
    process = subprocess.Popen(
        [*COMMAND, "chat", "--open"],
        cwd=CHECKOUT,
        env=real.environment,
        stderr=subprocess.PIPE,
        text=True,
        # a suite that runs in the background may have been set to ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    request.addfinalizer(process.kill)
    assert process.stderr
    lines = iter(process.stderr.readline, "")
    address = next(line.strip() for line in lines if line.startswith("http://127.0.0.1:"))
    with urllib.request.urlopen(f"{address}props", timeout=30) as answer:
        page = json.load(answer)["ui_settings"]
    assert page["systemMessage"] == TRAINED
    assert "not a therapist" in page["customCss"]
    assert json.loads(page["customJson"]) == {"tools": []}
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept-Encoding": "gzip"}), timeout=30) as answer:
        assert b"<html" in gzip.decompress(answer.read())
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address.rpartition("/")[0].rpartition("/")[0] + "/props", timeout=30)
    until = time.monotonic() + 30
    while not opened.exists() or not opened.read_text():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert opened.read_text() == address
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=240) == 0
    process.stderr.close()
    assert not playing(Path(real.data))
