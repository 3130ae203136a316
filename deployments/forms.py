"""The forms of the deployments in Prefect's UI: choices of what is there, patterns of what a flow takes, and no keys."""

import copy
from typing import Any

from core.errors import UnderstudyError
from core.judging.judge import FORMS
from core.packs.places import domains
from core.paths import project_folder
from core.records import DOMAIN
from core.redaction import SHAPES
from core.settings.pipeline import load_settings

DRAFTED = r"^[a-z][a-z0-9-]{2,40}$"
"""The name of a domain that is not there yet."""
MODE = rf"\s*({'|'.join(FORMS)})\s*"
PATTERNS = {"mode": rf"^{MODE}(,{MODE})*$", "start": r"^(system|assistant|.*\.md)$"}
"""By parameter, what the flow takes."""


def form_of(schema: dict[str, Any], entrypoint: str) -> dict[str, Any]:
    """Return the schema of a deployment's form, which the server checks too, before it stores what was typed.

    Args:
        schema: as Prefect makes it of the flow's signature; entrypoint: of the deployment.
    """
    changed = copy.deepcopy(schema)
    given = changed.get("properties", {})
    if entrypoint.startswith("flows.design:"):
        given["domain"]["pattern"] = DRAFTED
        given["brief"]["minLength"] = 1
    elif "domain" in given:
        _choose(given["domain"], sorted(domains()), "Type a name", rf"^{DOMAIN}$")
    if "settings" in given:
        _choose(given["settings"], settings_files(), "Type a path", r"\.ya?ml$")
    for name, pattern in PATTERNS.items():
        for kind in [given[name], *given[name].get("anyOf", [])] if name in given else []:
            if kind.get("type") == "string":
                kind["pattern"] = pattern
    return refuse_keys_in(changed)


def settings_files() -> list[str]:
    """Return the project's files in config/ that are settings of the pipeline, by their paths."""
    return [name for path in sorted((project_folder() / "config").glob("*.y*ml")) if _is_settings(name := f"config/{path.name}")]


def _is_settings(name: str) -> bool:
    try:
        load_settings(name)
    except UnderstudyError:
        return False
    return True


def _choose(given: dict[str, Any], choices: list[str], another: str, pattern: str) -> None:
    """Make a choice of a text; what is not there yet can still be typed, so that it needs no new deployment."""
    if choices:
        del given["type"]
        given["anyOf"] = [{"type": "string", "enum": choices, "title": "Choose"}, {"type": "string", "pattern": pattern, "title": another}]


def refuse_keys_in(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a form whose texts are no keys."""
    no_key = {"not": {"type": "string", "pattern": rf"(^|[^A-Za-z0-9])({SHAPES}|[Bb]earer\s+\S{{8,}})|://[^\s/@]+:[^\s/@]*@"}}
    changed = copy.deepcopy(schema)
    for given in changed.get("properties", {}).values():
        given.update(no_key)
        for kind in given.get("anyOf", []):
            if isinstance(kind.get("additionalProperties"), dict):
                kind["additionalProperties"].update(no_key)
    return changed
