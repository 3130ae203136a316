"""A project folder and what serves it: its server with pages, its deployments, its workers."""

import os
import sys
from typing import NoReturn

from core.authoring.new_project import make_project
from core.paths import SHIPPED, project_folder
from core.settings.trust import find_settings
from core.terminal import Answer


def init(folder: str, domain: str = "therapeutic-coaching") -> Answer:
    """Write a project folder: settings, a domain with its prompts, deployments, a CI workflow.

    Args:
        folder: is made, or is there and empty.
        domain: the domain pack that is copied into it.
    """
    project = make_project(folder, domain)
    lines = [f"Made the project {project} with the domain {domain}.", "", f"  cd {project}", "  understudy run demo     # the whole pipeline without keys", ""]
    text = "\n".join([*lines, "Its README.md says what to edit."])
    return Answer(text, {"folder": str(project), "domain": domain})


def ui(port: int = 4200) -> int:
    """Start a Prefect server with its pages, make the deployments, and start a worker. It runs until Ctrl-C.

    Args:
        port: of the server.
    """
    os.environ["PORT"] = str(port)
    _become("ui.py")


def deploy(settings: str = "config/pipeline.yaml") -> int:
    """Make the work pool, limits, blocks, automations and deployments on the server that PREFECT_API_URL names.

    A second time it changes nothing.

    Args:
        settings: path of the settings file whose models get limits.
    """
    _become("setup.py", "deploy", f"settings={find_settings(settings)}")


def worker(name: str | None = None) -> int:
    """Start a worker for the server that PREFECT_API_URL names. It runs the flows of the project's prefect.yaml and no others.

    Args:
        name: of the worker, as the server's pages show it.
    """
    _become("worker.py", *([name] if name else []))


def _become(script: str, *words: str) -> NoReturn:
    """Have a script of deployments/ take the place of this process, in the project folder."""
    os.chdir(project_folder())
    os.execv(sys.executable, [sys.executable, str(SHIPPED / "deployments" / script), *words])
