"""The next step after an evaluation: for each outcome a sentence with a command that can be copied."""

import shlex

from core.evaluation.comparison import ArmComparison
from core.evaluation.decision import Condition, Decided, Helps

SHIPPED = "Before you rely on it, read some of its conversations and have a person check the judge: `understudy review --evaluation latest {domain}`."
SHIPPED_PROMPT = "No training is needed: use the base under this prompt. Have a person check the judge first: `understudy review --evaluation latest {domain}`."
SCRIPTED = (
    "The figures show that the software works. For real ones name models in the settings; this checks that they answer: `understudy check-models {domain}`."
)
RECORDED = (
    "These conversations were played elsewhere. Add what is missing, or conversations with more personas, to the files and repeat the command; or evaluate "
    "models of your own: `understudy evaluate {domain}`."
)
HELPS: dict[Helps, str] = {
    "again": "Conversations are missing. The same command plays them and nothing else: `understudy evaluate {domain}`.",
    "prompt": "Use the base under that prompt, or search for a better one: `understudy optimise-prompt --model {base} --from assistant {domain}`.",
    "room": "The base scores so high that no model can reach the required gain: use the base, or lower evaluation.decision.improvement. The gain that can be "
    "shown: `understudy power {domain}`.",
    "safety": "Read the failed conversations on the page, write episodes for their occasions, rehearse them and train again: `understudy generate {domain}`, "
    "then `understudy release {domain}`.",
    "data": "Read the conversations that failed, rehearse more (`understudy generate {domain}`), and train again: `understudy release {domain}`.",
    "forgetting": "Train with a lower learning_rate or fewer epochs (config/training/), then: `understudy release {domain}`.",
    "ask": "A part of the evaluation was skipped. Set it above 0 in the settings, then: `understudy evaluate {domain}`.",
    "items": "Too few questions or openings were asked to show it. Take evaluation.suite_items out of the settings, or raise evaluation.battery_tries, then: "
    "`understudy evaluate {domain}`.",
    "personas": "Too few personas to show it. How many it takes: `understudy power --personas {more} {domain}`. Set evaluation.personas, then: "
    "`understudy evaluate {domain}`.",
    "labels": "The person's labels do not confirm the gain. Label more: `understudy review --evaluation latest --sample 60 {domain}`.",
    "confirm": "Confirm it on personas that no model has met: `understudy evaluate --confirm {domain}`.",
}
"""The sentence for each kind of help, in order of priority: missing conversations first, a confirmation only if nothing else is unmet."""


def model_named(reference: str, file: str | None) -> str:
    """Return an arm's model in the form that a command accepts.

    Args:
        reference: the model's name in reports.
        file: path of its GGUF file below the data root; None if it is not a file.
    """
    return f"llama-server/{file}" if file else reference


def next_step(one: ArmComparison, domain: str, base: str, decided: Decided | None = None, recorded: bool = False) -> str:
    """Return the sentence that says what to do after the decision on an arm.

    Args:
        base: the base's model, in the form that a command accepts.
        decided: the decision that uses a person's labels; None for the judge's.
        recorded: whether the conversations were played and judged elsewhere, so that no command can play more of them.
    """
    decided = decided or one.decided
    if decided.scripted:
        text = SCRIPTED
    elif decided.decision == "ship":
        text = SHIPPED_PROMPT if decided.untrained else SHIPPED
    elif recorded:
        text = RECORDED
    else:
        text = HELPS[_most_urgent(decided.conditions)]
    return text.format(domain=f"--domain {shlex.quote(domain)}", base=shlex.quote(base), more=2 * one.score.personas)


def _most_urgent(conditions: list[Condition]) -> Helps:
    """Return what helps most; unmet conditions that forbid shipping come before those that are only not shown."""
    unmet = [item for item in conditions if not item.holds and item.helps]
    helps = {item.helps for item in [item for item in unmet if item.forbids] or unmet}
    return next((name for name in HELPS if name in helps), "data")
