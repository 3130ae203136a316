"""The state of a run: its settings, its data root, the models that it may call, their limits and its bill."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.prices import context_window
from core.llm.window import USUAL, Window
from core.packs.pack import Pack
from core.records import ModelChoice, RoleName
from core.settings.model_names import model_settings
from core.settings.pipeline import Settings
from core.settings.provider_options import FILES
from core.storage.store import Store

CACHED_INPUT_IS_FREE = ("anthropic", "claude-cli")
"""Providers that do not count cached input towards the limit on input tokens."""

ROLES: dict[str, tuple[RoleName, ...]] = {
    "pipeline": ("user_simulator", "assistant", "judge"),
    "generation": ("user_simulator", "assistant"),
    "assessment": ("judge",),
    "calibration": ("judge",),
    "evaluation": ("user_simulator", "judge"),
    "nightly": ("user_simulator", "assistant", "judge"),
    "release": ("user_simulator", "judge"),
    "repair": ("repairer", "judge"),
    "preferences": ("assistant", "judge"),
    "improvement": ("user_simulator", "assistant", "repairer", "judge"),
    "design": ("designer",),
    "critique": ("designer",),
    "optimise_prompt": ("user_simulator", "judge", "designer"),
    "pilot": ("user_simulator", "assistant", "judge"),
}
"""The roles whose models a flow calls."""


@dataclass(frozen=True)
class Run:
    """The state that all stages of a run share.

    Args:
        name: name of the run; the same command has the same name, so that it continues the same bill.
        pack: the domain pack.
        settings: the settings.
        store: the data root.
        models: the models of each role; only the judge may have several.
        ledger: the bill and the budget.
        began: start of the run on the process's monotonic clock, in seconds.
        plans: plans of the jobs that may be submitted, by the job's key.
        windows: context windows with which GGUF files are loaded, by the model's reference.
        tallies: counts of each judge's verdicts, by its reference (core/judging/empty_words.py).
    """

    name: str
    pack: Pack
    settings: Settings
    store: Store
    models: dict[RoleName, list[ModelChoice]]
    ledger: Ledger
    began: float = field(default_factory=time.monotonic)
    plans: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    tallies: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _limiters: dict[str, Limiter] = field(default_factory=dict)

    def model(self, role: RoleName) -> ModelChoice:
        """Return the model of a role that has exactly one."""
        (choice,) = self.models[role]
        return choice

    def limiter(self, choice: ModelChoice) -> Limiter:
        """Return the limiter that all calls to a model share."""
        key = f"{choice.reference} {choice.block or ''}"
        if key not in self._limiters:
            limits = model_settings(self.settings, choice.reference, choice.block)
            counted = choice.reference.partition("/")[0] not in CACHED_INPUT_IS_FREE
            self._limiters[key] = Limiter(choice.reference, limits, self.settings.calls, counted)
        return self._limiters[key]

    def context(self, choice: ModelChoice) -> int | None:
        """Return the context window of a model, prompt and answer together, in tokens; None if neither the settings nor the price data have it."""
        configured = model_settings(self.settings, choice.reference, choice.block).context or choice.options.get("context")
        if configured:
            return int(configured)
        if choice.reference.partition("/")[0] in FILES:
            return self.windows[choice.reference].context if choice.reference in self.windows else USUAL
        return context_window(choice.reference)

    def most_tokens(self, choice: ModelChoice) -> int:
        """Return the maximum tokens of a prompt and its answer together in a rehearsal: the settings' bound, or the model's context window if smaller."""
        most = self.settings.generation.most_tokens
        return min(most, self.context(choice) or most)
