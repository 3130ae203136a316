"""Removes secrets from untrusted text before it is stored or shown.

There are two filters: the values of the secrets that this process knows, also in common encodings, and patterns of keys.
Errors (core/errors.py) and log records pass through both. A model's answer may legitimately mention keys, so it passes through the first only.
"""

import base64
import html
import logging
import math
import os
import pickle
import re
import sys
import time
import traceback
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from core.terminal import printable

REDACTED = "[redacted]"

SECRET_NAME = re.compile(
    r"(?:(?:^|_)(?:(?:API)?KEY|TOKEN|SECRET|PASSPHRASE|PASS|PAT|CREDENTIAL|CRED)S?|PASSWORD|PASSWD|_PWD|(?:^|_)AUTH_STRING)"
    r"(?:_?\d+)?(?:_(?!PATH|FILE|DIR|URL|HOST|NAME|TYPE|LIMIT|COUNT|SECONDS|TTL)[A-Z0-9]+)*$",
    re.IGNORECASE,
)
"""Names of environment variables whose values are secrets: `OPENAI_API_KEY`, `GH_PAT`, `PGPASSWORD`, `OPENAI_KEY_2`, but not `HF_TOKEN_PATH`."""

MIN_PART = 20
"""Minimum characters of a line of a secret, such as a private key, to be treated as a secret itself."""

DECODINGS = 3
"""How many nested levels of escapes are decoded, such as URL encoding of URL encoding."""

MIN_LENGTH = 8
"""Minimum characters of a secret: a shorter text is not a key, and would match ordinary words."""

SHAPES = (
    r"sk-(?!learn)[\w-]{8,}|[spr]k_(?:live|test)_\w{8,}|AIza[\w-]{20,}|ya29\.[\w-]{20,}|(?:hf|api_org)_[A-Za-z0-9]{10,}|gsk_\w{10,}|xai-[\w-]{10,}|nvapi-[\w-]{10,}"
    r"|gh[opusr]_\w{10,}|github_pat_\w{10,}|glpat-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|pn[ub]_\w{10,}|pplx-\w{10,}|r8_\w{10,}|xox[abeoprs]-[\w-]{10,}"
)
"""Beginnings of keys, as a regular expression that JavaScript reads too: a form's schema contains it (deployments/setup.py)."""

KEY = re.compile(
    rf"(?<![A-Za-z0-9])(?:{SHAPES}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END[A-Z ]*-----|\Z)"
    r"|eyJ[\w-]{10,1000}\.[\w-]{10,}\.[\w-]*"
    r"|Bearer\s+[\w.~+/=-]{8,}|Basic\s+(?-i:[\w+/]+[A-Z\d])[\w+/]{6,}=*"
    r"|(?:x-|x-goog-)?(?:api[_-]?key|access[_-]?key|secret[_-]?access[_-]?key|auth[_-]?token|access[_-]?token|token|secret|authorization)"
    r"(?:[\\\"']*\s*[=:]\s*|[\\\"']+,\s*b?)[\\\"']*(?=[^\s\\\"',;&]{0,200}\d)[^\s\\\"',;&]{8,}"
    r"|(?:password|passwd|pwd)[\\\"']*\s*[=:]\s*[\\\"']*[^\s\\\"',;&]{8,}"
    r"|(?<=[?&]key=)[^\s\\\"'&]{8,}"
    r")|(?<=://)[^\s/@:\"'<>]*+:[^\s/@\"'<>]*+(?=@)",
    re.IGNORECASE,
)
"""Patterns of keys: the providers' prefixes, headers and parameters with a key, and `user:password@` in an address.

Repetitions that can begin at many places of a text are bounded, so that the search takes time linear in the text's length.
"""

FILE_VARIABLES = ("HF_HOME", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "AWS_SHARED_CREDENTIALS_FILE")
"""Environment variables that name the files in which tools keep secrets."""

_LEARNT: set[str] = set()


def learn(secret: str | None) -> str:
    """Remember a secret that does not come from the environment, such as one of a saved block; return it."""
    if secret and len(secret) >= MIN_LENGTH:
        _LEARNT.add(secret)
    return secret or ""


def redact(text: str) -> str:
    """Return a text without known secrets and without anything that looks like a key."""
    return KEY.sub(REDACTED, redact_known(text))


def redact_known(text: str) -> str:
    """Return a text without known secrets: verbatim, truncated at either end, or in base64, hexadecimal, URL, JSON or HTML encoding."""
    return _without_all(text, _forms(_known_secrets()))


def _without_all(text: str, forms: tuple[str, ...]) -> str:
    original, hidden = text, _holds_hidden(text, forms)
    if hidden:
        text = " ".join(REDACTED if _holds_hidden(word, forms) else word for word in text.split(" "))
    for form in forms:
        text = _without(text, form)
    if text == original and not hidden:
        return text
    # a secret that is broken by line breaks or spaces cannot be cut out
    return REDACTED if _holds_hidden(text, forms) else text


def holds_key(text: str) -> bool:
    """Return whether a text contains a known secret or anything that looks like a key."""
    return redact(text) != text


def redact_value(value: Any) -> Any:
    """Return plain data without known secrets in its texts."""
    forms = _forms(_known_secrets())
    texts: list[str] = []
    _collect(value, texts)
    joined = "\n".join(texts)
    if _without_all(joined, forms) == joined:  # nearly always true, and one search of the joined text takes a tenth of the time of one per text
        return value

    def clean(part: Any) -> Any:
        if isinstance(part, str):
            return _without_all(part, forms)
        if isinstance(part, dict):
            return {clean(key): clean(item) for key, item in part.items()}
        return [clean(item) for item in part] if isinstance(part, list | tuple) else part

    return clean(value)


def _collect(value: Any, texts: list[str]) -> None:
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect(key, texts)
            _collect(item, texts)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, texts)


def without_secrets(error: Exception) -> Exception:
    """Return an error that may be stored: the error itself or, if its message or its pickled data may contain a secret, a redacted one.

    The redacted error has the nearest builtin type. An SDK's error contains its request with all headers, and pydantic's contains the rejected value.
    """
    try:
        pickled = pickle.dumps(error).decode(errors="replace")
    except Exception:  # it cannot be inspected
        pickled = None
    message = f"{type(error).__name__}: {error}"
    if pickled is not None and not holds_key(f"{message}\n{pickled}"):
        return error
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    try:
        return kind(redact(message))
    except TypeError:  # its constructor needs more than a message
        return RuntimeError(redact(message))


def guard_output() -> None:
    """Pass each log record of this process, and the traceback of an uncaught exception, through `redact`."""
    factory = logging.getLogRecordFactory()
    if getattr(factory, "redacts", False):
        return

    def make(*arguments: Any, **named: Any) -> logging.LogRecord:
        return redact_record(factory(*arguments, **named))

    make.redacts = True  # ty: ignore[missing-attribute]
    logging.setLogRecordFactory(make)
    sys.excepthook = _print_traceback


def redact_record(record: logging.LogRecord) -> logging.LogRecord:
    """Remove secrets from a log record; a record without any stays unchanged, so that filters see its original arguments."""
    try:
        message = record.getMessage()
    except Exception:  # the handler reports what is wrong with the record
        return record
    if (clean := redact(message)) != message:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[1] is not None:
        trace = record.exc_text or "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (clean := redact(trace)) != trace:
            record.exc_text, record.exc_info = clean, None
    return record


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redact(printable("".join(traceback.format_exception(kind, error, trace)))))


def _known_secrets() -> frozenset[str]:
    """Return the secrets of the current environment, of this machine's files, and those passed to `learn`."""
    files = _from_files(int(time.monotonic()), *(os.environ.get(name) for name in FILE_VARIABLES))
    return _with_variables(files | _LEARNT, tuple(os.environ.items()))


@lru_cache(maxsize=4)
def _with_variables(secrets: frozenset[str], variables: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """Return the secrets, those of environment variables, and the long lines of each."""
    for name, value in variables:
        if _is_secret(name):
            if not (value.startswith("/") and Path(value).exists()):  # otherwise it is the path of a file with the secret
                secrets |= {value.strip(), *([value.partition(":")[2]] if name.endswith("AUTH_STRING") else [])}
        elif "://" in value and "@" in value and (credentials := re.search(r"://([^\s/@]*):([^\s/@]+)@", value)):
            secrets |= {credentials[2], unquote(credentials[2])}
    secrets |= {part for secret in secrets for part in re.split(r"\s+|\\n", secret) if len(part) >= MIN_PART}
    return frozenset(secret for secret in secrets if len(secret) >= MIN_LENGTH)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


@lru_cache(maxsize=1)
def _from_files(_second: int, hf_home: str | None, hf_token: str | None, hf_stored: str | None, aws: str | None) -> frozenset[str]:
    """Return the secrets in files of this machine's tools (huggingface_hub's `constants`, AWS's shared credentials), read at most once per second."""
    home = Path(hf_home or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface")
    paths = [hf_token or home / "token", hf_stored or home / "stored_tokens", aws or Path.home() / ".aws" / "credentials"]
    return frozenset[str]().union(*(_read(Path(path)) for path in paths))


def _read(path: Path) -> set[str]:
    """Return the secrets in a tool's file, which contains a bare token or `name = value` lines."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    values = [(name.strip(), value.strip()) for name, _, value in (line.partition("=") for line in lines if not line.startswith("["))]
    return {value or name for name, value in values if (not value and " " not in name) or SECRET_NAME.search(name)}


@lru_cache(maxsize=4)
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """Return the forms in which secrets may occur in a text, longest first: verbatim, hexadecimal, and base64 at each of its three alignments."""
    forms: set[str] = set()
    for secret in secrets:
        raw = secret.encode(errors="surrogatepass")
        forms |= {secret, raw.hex(), raw.hex().upper()}
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + raw).decode()
            # only characters that encode nothing but the secret: those at the ends also encode adjacent bytes
            core = coded[math.ceil(shift * 8 / 6) : (shift + len(raw)) * 8 // 6]
            forms |= {core, core.translate(str.maketrans("+/", "-_"))}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _without(text: str, form: str) -> str:
    """Replace a form of a secret, complete or truncated to at least its first or its last half."""
    half = max(MIN_LENGTH, len(form) // 2)
    for part, step in ((form[:half], 1), (form[-half:], -1)):
        start = 0
        while (at := text.find(part, start)) >= 0:
            begin, end = at, at + half
            if step > 0:
                while end < len(text) and end - at < len(form) and text[end] == form[end - at]:
                    end += 1
            else:
                while begin > 0 and end - begin < len(form) and text[begin - 1] == form[len(form) - (end - begin) - 1]:
                    begin -= 1
            text, start = text[:begin] + REDACTED + text[end:], begin + len(REDACTED)
    return text


def _without_unicode_escapes(text: str) -> str:
    return re.sub(r"\\u00([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), text)


def _holds_hidden(text: str, forms: tuple[str, ...]) -> bool:
    """Return whether a text contains a secret once escapes are decoded and whitespace is removed."""
    views = [text]
    for _ in range(DECODINGS if any(mark in text for mark in "%\\&") else 0):  # every stage is searched: a secret may contain what looks like an escape
        decoded = _without_unicode_escapes(views[-1])
        views += [decoded, html.unescape(decoded), unquote(decoded), html.unescape(unquote(decoded))]
    plain = {"".join(view.split()) for view in views}
    if "\\" in text:  # compare without backslashes: a secret may contain some, and each level of quoting doubles them
        plain |= {re.sub(r"\\+[nrt]?", "", view) for view in plain} | {view.replace("\\", "") for view in plain}
        forms += tuple(form.replace("\\", "") for form in forms if "\\" in form)
    return any(form in view for view in plain - {text} for form in forms)
