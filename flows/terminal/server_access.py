"""Access to a Prefect server that is started here: its password, its settings, and the permissions of its folder.

Call these functions before Prefect is imported, which reads the environment on import.
"""

import base64
import json
import os
import secrets
import tempfile
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from core.errors import ServerError, SettingsError
from core.paths import project_folder, working_directory
from core.redaction import learn

PASSWORD_FILE = "server-password"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
USER = "understudy"


def use_project_settings() -> None:
    """Apply the project's prefect.toml in every working directory below the project folder.

    Prefect itself reads only the file in the working directory. Variables that are set already take precedence.

    Raises:
        SettingsError: there is no project folder, or the file is not TOML.
    """
    project = project_folder()
    os.environ.setdefault("PREFECT_HOME", str(project / ".prefect"))
    file = project / "prefect.toml"
    if working_directory() == project or not file.is_file():
        return
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as broken:
        raise SettingsError(f"{file} is not TOML: {broken}. Correct it there.") from broken
    for name, value in _variables("PREFECT", settings):
        os.environ.setdefault(name, value)


def _variables(name: str, value: Any) -> list[tuple[str, str]]:
    """Return settings as the environment variables that Prefect reads."""
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in _variables(f"{name}_{key.upper()}", part)]
    if isinstance(value, list):
        return [(name, ",".join(map(str, value)))]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


def home() -> Path:
    """Return Prefect's folder, which holds its database, logs and results; only this user may enter it.

    Raises:
        ServerError: the folder cannot be created or belongs to another user.
    """
    folder = Path(os.environ.get("PREFECT_HOME") or project_folder() / ".prefect")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise ServerError(f"{folder} cannot be made private: {error.strerror}. Set PREFECT_HOME to a folder that you own.") from error
    return folder


def new_password() -> str:
    """Return a new `user:password`."""
    return learn(f"{USER}:{secrets.token_urlsafe(24)}")


def kept_password() -> tuple[str, bool]:
    """Return the `user:password` of this project's server, and whether it is new; it is stored in a file that only this user may read.

    Raises:
        ServerError: another process stored a password that cannot be read.
    """
    path = home() / PASSWORD_FILE
    for _ in range(2):
        if password := _read(path):
            return password, False
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".password-")  # mkstemp creates it with mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(password := new_password())
        try:
            os.link(part, path)  # fails if another process was faster
        except FileExistsError:
            if not _read(path):
                Path(part).replace(path)
                return password, True
        else:
            return password, True
        finally:
            Path(part).unlink(missing_ok=True)
    raise ServerError(f"{path} cannot be read. Remove it, and run the same command again.")


def use_kept_password() -> None:
    """Set `PREFECT_API_AUTH_STRING`, unless it is set, to the password of the server that `understudy ui` started.

    The password is sent only to a server on this machine.
    """
    host = urlsplit(os.environ.get("PREFECT_API_URL", "")).hostname
    if host in LOOPBACK and not os.environ.get("PREFECT_API_AUTH_STRING"):
        path = Path(os.environ.get("PREFECT_HOME") or project_folder() / ".prefect") / PASSWORD_FILE
        if password := _read(path):
            os.environ["PREFECT_API_AUTH_STRING"] = password


def server_environment(password: str, port: int | str) -> dict[str, str]:
    """Return the environment of a server on this machine: a password, browser requests only from the server's pages, no telemetry."""
    origins = ",".join(f"http://{host}:{port}" for host in LOOPBACK[:2])
    return {
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_API_AUTH_STRING": password,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def ask(path: str, body: Any = None, seconds: float = 5) -> Any:
    """Return the answer of the server at PREFECT_API_URL. Prefect's client is not used, because importing it takes seconds.

    Args:
        path: path below the API's address.
        body: data that is posted as JSON; None for a GET request.
        seconds: timeout of the request.

    Raises:
        OSError: the server does not answer, or refuses the request.
    """
    headers = {}
    if password := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(password.encode()).decode()}"
    if body is not None:
        client = secrets.token_hex(16)
        headers |= {"Content-Type": "application/json", "Prefect-Csrf-Client": client}
        try:
            headers["Prefect-Csrf-Token"] = ask(f"csrf-token?client={quote(client)}", seconds=seconds)["token"]
        except urllib.error.HTTPError as refused:
            if refused.code not in (404, 422):  # answers of a server without this protection
                raise
    request = urllib.request.Request(f"{os.environ['PREFECT_API_URL']}/{path}", None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.loads(answer.read() or "null")


def _read(path: Path) -> str:
    """Return the password in a file, and make the file private; an empty text if the file cannot be read."""
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return learn(path.read_text(encoding="utf-8").strip())
    except OSError:
        return ""
