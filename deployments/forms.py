"""The deployments' forms in Prefect's UI: they offer the existing domains and settings files, check the format of inputs, and refuse keys."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import UnderstudyError
from core.judging.judge_call import FORMS
from core.packs.places import domains
from core.paths import project_folder
from core.records import DOMAIN
from core.redaction import SHAPES
from core.settings.pipeline import load_settings

NEW_DOMAIN = r"^[a-z][a-z0-9-]{2,40}$"
"""Pattern of the name of a new domain."""
MODE = rf"\s*({'|'.join(FORMS)})\s*"
PATTERNS = {"mode": rf"^{MODE}(,{MODE})*$", "start": r"^(system|assistant|.*\.md)$"}
"""Maps a flow parameter to the pattern of its allowed values."""


def form_of(schema: dict[str, Any], entrypoint: str) -> dict[str, Any]:
    """Return the schema of a deployment's form. The server also validates inputs against it before it stores them.

    Args:
        schema: the schema that Prefect derives from the flow's signature.
        entrypoint: the deployment's entrypoint.
    """
    changed = copy.deepcopy(schema)
    fields = changed.get("properties", {})
    if entrypoint.startswith("flows.design:"):
        fields["domain"]["pattern"] = NEW_DOMAIN
        fields["brief"]["minLength"] = 1
    elif "domain" in fields:
        _choose(fields["domain"], sorted(domains()), "Type a name", rf"^{DOMAIN}$")
    if "settings" in fields:
        _choose(fields["settings"], settings_files(), "Type a path", r"\.ya?ml$")
    for name, pattern in PATTERNS.items():
        for kind in [fields[name], *fields[name].get("anyOf", [])] if name in fields else []:
            if kind.get("type") == "string":
                kind["pattern"] = pattern
    return refuse_keys_in(changed)


def settings_files() -> list[str]:
    """Return the paths of the files in config/ that are valid pipeline settings."""
    paths = sorted((project_folder() / "config").glob("*.y*ml"))
    return [f"config/{path.name}" for path in paths if path.is_file() and _is_settings(path, path.stat().st_mtime_ns)]


@lru_cache(maxsize=64)  # each deployment's form offers the same files
def _is_settings(path: Path, _changed: int) -> bool:
    try:
        load_settings(f"config/{path.name}")
    except UnderstudyError:
        return False
    return True


def _choose(field: dict[str, Any], choices: list[str], title_of_other: str, pattern: str) -> None:
    """Turn a text field into a choice. Another value can still be typed, so that a new domain or file needs no new deployment."""
    if choices:
        del field["type"]
        field["anyOf"] = [{"type": "string", "enum": choices, "title": "Choose"}, {"type": "string", "pattern": pattern, "title": title_of_other}]


def refuse_keys_in(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a form with every text field changed so that it refuses API keys."""
    no_key = {"not": {"type": "string", "pattern": rf"(^|[^A-Za-z0-9])({SHAPES}|[Bb]earer\s+\S{{8,}})|://[^\s/@]+:[^\s/@]*@"}}
    changed = copy.deepcopy(schema)
    for field in changed.get("properties", {}).values():
        field.update(no_key)
        for kind in field.get("anyOf", []):
            if isinstance(kind.get("additionalProperties"), dict):
                kind["additionalProperties"].update(no_key)
    return changed
