"""Adds the shipped files that are not Python packages to the wheel, where core/paths.py finds them; an editable install uses the checkout. Run by hatchling."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = "core/shipped"


class ShippedData(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= {name: f"{SHIPPED}/{name}" for name in self.config["shipped"]}
