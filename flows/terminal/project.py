"""A project folder, its server, its deployments and its workers."""

import os
import sys
from typing import NoReturn

from core.authoring.new_project import make_project
from core.paths import SHIPPED, project_folder
from core.quantities import ServerPort
from core.settings.trust import find_settings
from core.terminal import Answer


def init(folder: str, domain: str = "therapeutic-coaching") -> Answer:
    """Create a project folder: settings, a domain with its prompts, deployments, a CI workflow.

    Args:
        folder: a new or empty folder.
        domain: name of the domain pack that is copied into it.
    """
    project = make_project(folder, domain)
    lines = [f"Made the project {project} with the domain {domain}.", "", f"  cd {project}", "  understudy run demo     # the whole pipeline without keys", ""]
    text = "\n".join([*lines, "README.md says what to edit."])
    return Answer(text, {"folder": str(project), "domain": domain})


def ui(port: ServerPort = 4200) -> int:
    """Start a Prefect server with its UI, the deployments, a worker and the studio; runs until Ctrl-C.

    Args:
        port: port of the server; the studio's port is 10 higher.
    """
    os.environ["PORT"] = str(port)
    _become("ui.py")


def deploy(settings: str = "config/pipeline.yaml") -> int:
    """Create or update work pool, limits, blocks, automations and deployments on the server at PREFECT_API_URL.

    The command can be repeated: what is up to date stays as it is.

    Args:
        settings: path of the settings file; a limit is created for each of its models.
    """
    _become("setup.py", "deploy", "--settings", str(find_settings(settings)))


def worker(name: str | None = None) -> int:
    """Start a worker for the server at PREFECT_API_URL; it runs only the flows in the project's prefect.yaml.

    Args:
        name: name of the worker in the UI.
    """
    _become("worker.py", *([name] if name else []))


def _become(script: str, *words: str) -> NoReturn:
    """Replace this process by a script of deployments/, in the project folder."""
    os.chdir(project_folder())
    os.execv(sys.executable, [sys.executable, str(SHIPPED / "deployments" / script), *words])
