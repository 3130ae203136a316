"""The command `understudy`: one function for each word, made into a command by cyclopts from its signature and its docstring."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from core.errors import UnderstudyError
from core.machine.stopping import leave, stop_on_signals
from core.terminal import show_error

CODES = "Exit codes: 0 it ended as it should, 1 something failed, 2 a word, an option or a setting is wrong, 130 stopped by Ctrl-C, 143 stopped by SIGTERM."
EXAMPLES = """Examples:
  understudy chat
  understudy chat --against base
  understudy chat --domain coding-mentor --open
  understudy chat --model coach.gguf < messages.txt

With a pipe, each line is a message, and the replies alone go to standard output.

"""

app = App(
    name="understudy",
    help="Train a small private model to play one part well. The stages are make targets (`make help`).",
    help_format="plaintext",
    help_epilogue=CODES,
    version_flags=[],
    print_error=False,
    exit_on_error=False,
)


@app.command(help_epilogue=EXAMPLES + CODES)
def chat(
    *,
    domain: str = "therapeutic-coaching",
    against: str | None = None,
    model: Path | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative="", show_default=False)] = False,
    settings: str = "config/pipeline.yaml",
    temperature: float | None = None,
    max_tokens: int | None = None,
) -> int:
    """Talk to the latest understudy, with the system prompt that was trained in.

    It runs on this machine; nothing is sent elsewhere, and nothing is kept unless you write /save FILE.

    Args:
        domain: The domain pack.
        against: Another model that answers the same messages: `base`, or the path of a GGUF.
        model: A GGUF in place of that of the domain's latest export.
        open_page: Open llama.cpp's web page in the browser in place of a chat in the terminal.
        settings: File whose models.llama-server.options are used.
        temperature: 0 always takes the likeliest word. Without it, the settings decide.
        max_tokens: Room for one reply. Without it, evaluation.max_tokens of the settings decides.
    """
    from tasks.chat import chat as hold_chat

    return hold_chat(domain, model, against, settings, open_page, temperature, max_tokens)


IMPORT_EXAMPLES = """Examples:
  understudy import chats/
  understudy import conversations.json --scrub --licence CC-BY-4.0 --consent "written consent, for training, June 2026"
  understudy import hf://datasets/owner/name

docs/imports.md lists the shapes that are read.

"""


@app.command(name="import", help_epilogue=IMPORT_EXAMPLES + CODES)
def import_(source: str, /, *, scrub: Annotated[bool, Parameter(negative="")] = False, licence: str = "", consent: str = "") -> int:
    """Read conversations that you have and write them as transcripts below the data root; the files themselves are left as they are.

    A table says what was read, what was joined or dropped within conversations, and what was left out and why.

    Args:
        source: A folder, a file, or a dataset repository of the Hugging Face Hub.
        scrub: Replace names, e-mail addresses, telephone numbers, addresses, dates of birth, ids and account numbers. It does not find all of them.
        licence: Under which the conversations may be used. It is asked for where it is not given, and stands on the dataset's card.
        consent: What the people who speak in them have agreed to. It is asked for where it is not given, and stands on the dataset's card.
    """
    from tasks.importing import bring_in

    return bring_in(source, licence, consent, scrub)


def main(words: list[str] | None = None) -> None:
    """Run the command that the words name, and end the process.

    Args:
        words: those of the command line, if they are not given.

    Raises:
        SystemExit: with the exit code.
    """
    stop_on_signals()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may know fewer characters than a model
    try:
        code = app(words, result_action="return_value") or 0
    except UnusedCliTokensError as error:
        code = _refuse(f"Unknown word {' '.join(map(str, error.unused_tokens or []))!r}. `understudy --help` lists what there is.")
    except CycloptsError as error:
        code = _refuse(str(error))
    except UnderstudyError as error:
        show_error(error)
        code = error.exit_code
    except BrokenPipeError:  # whoever read the replies has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    leave(code)


def _refuse(sentence: str) -> int:
    show_error(sentence)
    return 2


if __name__ == "__main__":
    main()
