"""The words of a command, `name=value`, and how it tells what is wrong with them."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from core.errors import SettingsError, UnderstudyError, nearest
from core.paths import project_folder
from core.settings.model_names import refuse_keys
from core.settings.trust import TRUST_VARIABLE, find_settings, is_trusted, trust, trusted
from core.terminal import one_line, show, show_error, show_text

NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


def read_words(words: list[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """Return what was asked for.

    Raises:
        SettingsError: a word of another form, an unknown or repeated name, what looks like a key, or settings that are not trusted.
    """
    refuse_keys({f"parameter {number}": word for number, word in enumerate(words)})
    given: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if name not in defaults or not separator:
            allowed = ", ".join(f"{known}=…" for known in defaults)
            raise SettingsError(f"Unknown parameter {word!r:.80}.{nearest(name, list(defaults))} Allowed: {allowed}.")
        if name in given:
            raise SettingsError(f"The parameter {name} is there twice. Say it once.")
        given[name] = value
    asked = {**defaults, **given}
    if asked.get("settings"):
        ask_to_trust(find_settings(asked["settings"]))
    return asked


def ask_to_trust(settings: Path) -> None:
    """Ask the person at the terminal before a settings file from outside the project is used.

    Raises:
        SettingsError: they say no, or there is nobody to ask.
    """
    if is_trusted(settings) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        trusted(settings)
        return
    folder = settings.resolve().parent
    show(f"{settings} is outside the project. A settings file is trusted as code is: it names addresses, programs and images.", error=True)
    show_text(one_line(f"Use it and what is in {folder}? [y/N] "), error=True, end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SettingsError(f"Nothing was done. Put the file below {project_folder()}, or its folder into {TRUST_VARIABLE}.")
    trust(folder)


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """Return a number that a word gives.

    Raises:
        SettingsError: it is none, or outside the bounds.
    """
    if not NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise SettingsError(f"{name} is {text!r:.40}. Allowed: a whole number from {least:,} to {most:,}.")
    return int(text)


def in_one_sentence(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; what a person can act on is one sentence on the standard error."""
    try:
        return command()
    except UnderstudyError as error:
        show_error(error)
        return error.exit_code
    except BrokenPipeError:  # whoever read it has ended
        return 1
    except OSError as error:
        show_error(f"{error.strerror or error}: {error.filename or 'a file of the command'}.")
        return 1
