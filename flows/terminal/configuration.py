"""The reference of all settings, docs/configuration.md."""

import sys
from typing import Any

from pydantic import SecretStr

from blocks.chat import PROVIDERS, block_class
from core.paths import SHIPPED, find_data, project_folder
from core.reports.render import markdown
from core.settings.jobs import Training
from core.settings.pipeline import Settings, load_settings
from core.settings.reference import Row, setting_rows, value_of
from core.storage.whole_files import write_page
from core.terminal import Answer, show_text
from core.training.hardware import Hardware
from core.yaml_files import read_yaml

PAGE = "docs/configuration.md"
NAMED = ("model", "name", "model_path")
"""Fields of a block that are set by the model's reference, not by options."""


def configuration_page() -> str:
    """Return the page as Markdown."""
    files = {name: load_settings(f"config/{name}.yaml").model_dump(mode="json") for name in ("pipeline", "demo")}
    demo = {"demo.yaml": _differing(files["demo"], files["pipeline"])}
    tables = [
        (
            "The pipeline: `config/pipeline.yaml`",
            "The column demo.yaml shows where `config/demo.yaml` differs.",
            setting_rows(Settings),
            {"value": files["pipeline"], **demo},
        ),
        ("A model: `config/training/<model>.yaml`", "[training.md](training.md) lists the files.", setting_rows(Training), {}),
        ("Machines for paid jobs: `config/hardware.yaml`", "`core/training/estimate.py` uses these numbers.", setting_rows(Hardware), _hardware()),
    ]
    return markdown("configuration", tables=tables, value=value_of, options=_options(), variables=_variables())


def undescribed() -> list[Row]:
    """Return the settings that have no description."""
    return [row for model in (Settings, Training, Hardware) for row in setting_rows(model) if not row.meaning]


def _hardware() -> dict[str, Any]:
    return {"value": read_yaml(find_data("config/hardware.yaml"), ValueError)}  # ty: ignore[invalid-argument-type]


def _differing(data: Any, base: Any) -> Any:
    """Return the values of one settings file that differ from those of another."""
    if not isinstance(data, dict) or not isinstance(base, dict):
        return data
    return {name: _differing(value, base.get(name)) for name, value in data.items() if value != base.get(name)}


def _options() -> list[tuple[str, str, str, str]]:
    options = []
    for provider in PROVIDERS:
        for name, field in block_class(provider).model_fields.items():
            if name in NAMED or field.annotation is SecretStr:
                continue
            default = "none" if field.default in (None, "") else str(field.default)
            options.append((provider, name, default, field.description or field.title or ""))
    return options


def _variables() -> list[tuple[str, str]]:
    """Return the variables of .env.example, each with the comment above it."""
    variables, above = [], []
    for line in (SHIPPED / ".env.example").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            above.append(line.lstrip("# "))
        elif "=" in line:
            variables.append((line.partition("=")[0], " ".join(above)))
        else:
            above = []
    return variables


def configuration() -> Answer:
    """Write the reference of all settings, docs/configuration.md."""
    write_page(project_folder() / PAGE, configuration_page())
    missing = [row.name for row in undescribed()]
    return Answer("\n".join([f"Written: {PAGE}", *(f"{name} has no description." for name in missing)]), {"written": PAGE, "undescribed": missing})


if __name__ == "__main__":
    sys.exit(f"Unknown word {sys.argv[1]!r}. This command has no options." if sys.argv[1:] else show_text(configuration().text))
