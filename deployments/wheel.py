"""Puts what is shipped beside the code into a wheel, where core/paths.py finds it; an editable installation has the checkout. Run by hatchling."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = "core/shipped"


class ShippedData(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= {name: f"{SHIPPED}/{name}" for name in self.config["shipped"]}
