"""The command `understudy`. Each subcommand runs a flow or another function, whose signature and docstring are its options and its help."""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CoercionError, CycloptsError, Group, MissingArgumentError, Parameter, UnusedCliTokensError

from core.errors import SettingsError, UnderstudyError, nearest
from core.machine.stopping import leave, say_stopped, stop_on_signals, stopped
from core.paths import project_domains
from core.settings.keys import refuse_keys
from core.terminal import Answer, show_error, show_text
from flows.terminal.signatures import Signature, command_function, read_signature, typed_values
from flows.terminal.words import GROUPS, NOTES, TALKS, WORDS, Word, stop_sentence

CODES = (
    "Exit codes: 0 success, 1 the run failed or nothing passed, 2 a command, an option, a setting or a file is wrong, "
    "3 the budget, a provider or a key stopped the run, 130 stopped by Ctrl-C, 143 by SIGTERM."
)
COMPLETION = """Print the completion script of a shell.

For bash, put `eval "$(understudy completion bash)"` into ~/.bashrc. For zsh and fish, write it to a file in the shell's completions folder.
"""
SHIPPED = {"demo": "config/demo.yaml", "full": "config/pipeline.yaml"}
"""Names of the settings files that come with Understudy."""
MAKES_DOMAIN = ("flows.design:design", "flows.terminal.project:init")
"""Targets of the commands that make a domain, which therefore need not exist."""


AS_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print the result as one JSON object, for scripts.")],
)


QUIET = inspect.Parameter(
    "quiet",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Parameter(name="--quiet", negative="", show_default=False, help="Show no progress; warnings and the result only.")],
)


def make_app(wanted: str = "") -> App:
    """Return the command line application.

    Args:
        wanted: the subcommand that is run: only its signature is read. With any other text, the signatures of all subcommands are read.
    """
    app = App(
        name="understudy",
        help="Train a small private model to play one part well: rehearse and judge conversations, make a dataset of those that pass, train and evaluate.",
        help_format="plaintext",
        help_epilogue=f"`understudy COMMAND --help` lists the options of a command, with examples.\n\n{CODES}",
        version=partial(version, "understudy"),
        group_commands=Group("This command", sort_key=len(GROUPS)),
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    groups = {name: Group(name, sort_key=place) for place, name in enumerate(GROUPS)}
    for place, (name, word) in enumerate(WORDS.items()):
        if wanted in WORDS and name != wanted:
            continue
        signature = _helped(name, read_signature(word.target))
        more = [] if name in TALKS else [AS_JSON, QUIET] if word.flow else [AS_JSON]
        function = command_function(signature, partial(_start, word, signature), word.positional, dict(word.names), more)
        examples = "\n".join(["Examples:", *(f"  understudy {example}" for example in word.examples)])
        epilogue = "\n\n".join(filter(None, (examples, NOTES.get(name), CODES)))
        app.command(function, name=name, group=groups[word.group], sort_key=place, help_epilogue=epilogue)
    app.command(partial(_completion, app), name="completion", help=COMPLETION, help_epilogue=CODES)
    return app


def _helped(name: str, signature: Signature) -> Signature:
    """Return a signature with the defaults of the command line.

    `run` requires the settings, so that nobody pays for a run by accident. In a project with one domain, that domain is the default; with several, `--domain`
    is required.
    """
    try:
        own = project_domains() if name != "init" else []
    except SettingsError:  # the command itself reports what is wrong with the folder
        own = []
    changed: dict[str, Any] = {"settings": inspect.Parameter.empty} if name == "run" else {}
    if own:
        changed["domain"] = own[0] if len(own) == 1 else inspect.Parameter.empty
    parameters = [
        replace(item, default=changed.get(item.name, item.default), optional=item.optional and item.name not in changed) for item in signature.parameters
    ]
    return Signature(tuple(parameters), signature.doc)


def _completion(app: App, shell: Literal["bash", "zsh", "fish"], /) -> int:
    show_text(app.generate_completion(shell=shell))
    return 0


def _start(word: Word, signature: Signature, values: dict[str, Any]) -> int:
    """Check the arguments as far as possible without side effects, and run the command."""
    as_json, quiet = values.pop("as_json", False), values.pop("quiet", False)
    options = dict(word.names)
    values = {item.name: item.default for item in signature.parameters if item.name == "domain" and item.default is not inspect.Parameter.empty} | values
    _refuse_assignment(values.get(word.positional), [options.get(item.name, item.name) for item in signature.parameters])
    if "domain" in values and word.target not in MAKES_DOMAIN:
        from core.packs.places import find_pack

        find_pack(values["domain"])
    if "settings" in values:
        from core.settings.trust import ask_to_trust, find_settings
        from core.text_files import read_text

        values["settings"] = _settings(values["settings"])
        file = find_settings(values["settings"])
        ask_to_trust(file)
        read_text(file, SettingsError)  # refuses a missing file before large libraries are imported
    typed = typed_values(signature, {key: value for key, value in values.items() if value is not None}, options)
    if word.flow:
        from flows.terminal.running import run_flow

        answer = run_flow(word.flow, typed, {item.name: item.default for item in signature.parameters} | typed, quiet)
    else:
        module, _, function = word.target.partition(":")
        answer = getattr(importlib.import_module(module), function)(**typed)
    if not isinstance(answer, Answer):
        return answer
    show_text(as_text(answer.data) if as_json else answer.text)
    return answer.code


def as_text(data: Any) -> str:
    """Return data as one JSON object."""
    from pydantic_core import to_json

    return to_json(data, fallback=str, inf_nan_mode="null").decode()


def _settings(word: str) -> str:
    """Return the path of the settings file that a person named: `demo`, `full` or a path.

    Raises:
        SettingsError: it is neither a known name nor a path.
    """
    if word in SHIPPED:
        return SHIPPED[word]
    if Path(word).suffix or Path(word).exists():
        return word
    raise SettingsError(f"Unknown settings {word!r:.80}.{nearest(word, SHIPPED)} Allowed: {', '.join(SHIPPED)}, or the path of a YAML file.")


def _refuse_assignment(value: Any, options: Sequence[str]) -> None:
    """Refuse `count=3` where a file or folder is expected."""
    # os.path.exists returns False, where Path.exists raises, for a text that cannot be a path, such as the text of a brief
    if isinstance(value, str) and "=" in value and not os.path.exists(os.path.expanduser(value)):  # noqa: PTH110, PTH111
        raise SettingsError(f"Unknown word {value!r:.80}.{_meant(value, options)}")


def _meant(word: str, options: Sequence[str]) -> str:
    """Return a question that names the option that was probably meant by `name=value`; empty if none is near."""
    name, separator, value = word.partition("=")
    suggestion = nearest(name.strip("-").lower().replace("_", "-"), options) if separator else ""
    return suggestion and f" Did you mean --{suggestion.split(chr(39))[1]} {value:.40}?"


def main(words: list[str] | None = None) -> None:
    """Run a command line and end the process.

    Args:
        words: the arguments; None for those of the process.

    Raises:
        SystemExit: always, with the exit code.
    """
    words = sys.argv[1:] if words is None else words
    stop_on_signals(stop_sentence(words))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal's encoding may lack characters that a model writes
    leave(_ended(make_app(*words[:1]), words))


def _ended(app: App, words: list[str]) -> int:
    """Run the command and return its exit code; an error that a person can act on is printed as one sentence to stderr."""
    try:
        refuse_keys({f"word {number}": word for number, word in enumerate(words)})
        return app(words) or 0
    except CycloptsError as error:
        show_error(_sentence(error, words))
        return 2
    except UnderstudyError as error:
        show_error(error)
        return error.exit_code
    except BrokenPipeError:  # the program that reads the output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if code := stopped():  # a stopped run may raise any exception
            say_stopped()
            return code
        if not isinstance(error, OSError):
            raise
        show_error(f"{error.strerror or error}: {error.filename or 'a file of the run'}. Correct that and repeat the command; everything made so far is kept.")
        return 1


def _sentence(error: CycloptsError, words: list[str]) -> str:
    """Return one sentence that says what is wrong with the command line, and where the help is."""
    name = words[0] if words and words[0] in WORDS else ""
    if isinstance(error, UnusedCliTokensError):
        unused = str((error.unused_tokens or [""])[0])
        options = [dict(WORDS[name].names).get(item.name, item.name) for item in read_signature(WORDS[name].target).parameters] if name else []
        text = f"Unknown word {unused!r:.80}.{_meant(unused, options)}"
    elif isinstance(error, CoercionError) and str(error.__cause__ or "").endswith("is not a whole number."):
        text = f"{error.argument.name if error.argument else 'A value'}: {error.__cause__}"
    elif isinstance(error, MissingArgumentError) and error.argument and not error.argument.tokens and error.argument.name not in words:
        own = " and ".join(project_domains()) if error.argument.name == "--domain" and name != "design" else ""
        text = f"`understudy {name}` needs {error.argument.name.strip('-').upper()}.{own and f' The project has {own}.'}"
    else:
        text = " ".join(str(error).split())
    return f"{text} `understudy {f'{name} ' if name else ''}--help` lists what is allowed."
