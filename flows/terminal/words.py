"""The subcommands of `understudy`: what each runs, and how its parameters are passed on the command line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A subcommand.

    Args:
        target: the function that it runs, as `package.module:function`; `flows.NAME:NAME` is a flow.
        group: its heading in the help.
        examples: command lines for the help, without `understudy`.
        positional: the parameter that needs no `--name`; empty for none.
        names: names of options that differ from the parameter's name, as pairs of parameter and option.
    """

    target: str
    group: str
    examples: tuple[str, ...]
    positional: str = ""
    names: tuple[tuple[str, str], ...] = (("conversations", "count"),)

    @property
    def flow(self) -> str | None:
        """Name of the flow that it runs; None if it runs another function."""
        module, _, name = self.target.partition(":")
        return name if module == f"flows.{name}" else None


GROUPS = STAGES, PACKS, FILES, PLANS, PROJECT = "Stages, in their order", "Domain packs", "Transcripts and records", "Before a run", "A project and its server"

WORDS = {
    "run": Word("flows.pipeline:pipeline", STAGES, ("run demo", "run full --domain coding-mentor --count 150"), "settings"),
    "generate": Word("flows.generation:generation", STAGES, ("generate --count 20", "generate --settings demo --count 3")),
    "assess": Word("flows.assessment:assessment", STAGES, ("assess", "assess chats/", "assess --repeat 3 --sample 20"), "transcripts"),
    "review": Word("flows.terminal.review:review", STAGES, ("review --sample 30", "review --evaluation latest", "review data/reviews/…/sheet.csv"), "sheet"),
    "golden": Word("flows.terminal.review:golden", STAGES, ("golden data/reviews/…/sheet.csv", "golden sheet.csv --to golden/"), "sheet"),
    "calibrate": Word(
        "flows.calibration:calibration",
        STAGES,
        ("calibrate", "calibrate --judges openai/gpt-6-luna,anthropic/claude-haiku-5-5 --mode single,category --repeat 2"),
    ),
    "repair": Word("flows.repair:repair", STAGES, ("repair",)),
    "preferences": Word("flows.preferences:preferences", STAGES, ("preferences", "preferences --domain coding-mentor")),
    "dataset": Word("flows.dataset:dataset", STAGES, ("dataset", "dataset --checkpoints old.jsonl --transcripts chats/")),
    "train": Word("flows.training:training", STAGES, ("train",)),
    "export": Word("flows.export:export", STAGES, ("export",)),
    "evaluate": Word(
        "flows.evaluation:evaluation",
        STAGES,
        ("evaluate", "evaluate --arms opus=anthropic/claude-opus-5-5", 'evaluate --arms "mine=base under prompts/mine.md"'),
    ),
    "improve": Word("flows.improvement:improvement", STAGES, ("improve", "improve --rounds 3", "improve --list"), names=(("show", "list"),)),
    "chat": Word(
        "flows.terminal.chat:chat",
        STAGES,
        ("chat", "chat --against base", "chat --domain coding-mentor --open", "chat --model coach.gguf < messages.txt"),
        names=(("open_page", "open"),),
    ),
    "nightly": Word("flows.nightly:nightly", STAGES, ("nightly --count 50",)),
    "release": Word("flows.release:release", STAGES, ("release",)),
    "design": Word("flows.design:design", PACKS, ("design brief.md --domain my-domain", "design brief.md --domain my-domain --install"), "brief"),
    "check-domain": Word("flows.terminal.domain_packs:check_domain", PACKS, ("check-domain --domain my-domain --prompts",)),
    "critique": Word("flows.critique:critique", PACKS, ("critique --domain my-domain",)),
    "pilot": Word("flows.pilot:pilot", PACKS, ("pilot --domain my-domain", "pilot --count 15 --model openai-compatible/qwen3")),
    "optimise-prompt": Word(
        "flows.optimise_prompt:optimise_prompt",
        PACKS,
        ("optimise-prompt --model openai-compatible/qwen3", "optimise-prompt --model llama-server/models/base.gguf --from assistant --to prompts/best.md"),
        names=(("start", "from"),),
    ),
    "personas": Word("flows.terminal.domain_packs:personas", PACKS, ("personas --count 50",)),
    "rubric": Word("flows.terminal.domain_packs:rubric", PACKS, ("rubric --domain coding-mentor",)),
    "import": Word(
        "flows.terminal.importing:bring_in",
        FILES,
        (
            "import chats/",
            'import conversations.json --scrub --licence CC-BY-4.0 --consent "written consent, for training, June 2026"',
            "import hf://datasets/owner/name",
        ),
        "source",
    ),
    "golden-set": Word("flows.terminal.golden_set:golden_set", PACKS, ("golden-set --domain therapeutic-coaching",)),
    "slices": Word("flows.terminal.transcripts:show_slices", FILES, ("slices chats/",), "transcripts"),
    "audit": Word("flows.terminal.audit:audit", FILES, ("audit", "audit chats/", "audit --to README.md"), "transcripts"),
    "fidelity": Word("flows.terminal.transcripts:fidelity", FILES, ("fidelity data/transcripts/therapeutic-coaching",), "transcripts"),
    "rescore": Word("flows.terminal.recorded:rescore", FILES, ("rescore old.jsonl",), "checkpoints"),
    "evaluate-recorded": Word("flows.terminal.recorded:evaluate_recorded", FILES, ("evaluate-recorded assessments/ --base base",), "folder"),
    "check-models": Word("flows.terminal.check_models:ask_models", PLANS, ("check-models", "check-models --settings mine.yaml")),
    "costs": Word("flows.terminal.costs:costs", PLANS, ("costs", "costs --sizes 50,200", "costs --to costs.md")),
    "power": Word("flows.terminal.power:power", PLANS, ("power --personas 30 --trials 3", "power --to ship.svg")),
    "init": Word("flows.terminal.project:init", PROJECT, ("init my-project", "init my-project --domain coding-mentor"), "folder"),
    "studio": Word("flows.terminal.studio:studio", PROJECT, ("studio", "studio --port 4300 --no-open")),
    "ui": Word("flows.terminal.project:ui", PROJECT, ("ui", "ui --port 4300")),
    "deploy": Word("flows.terminal.project:deploy", PROJECT, ("deploy",)),
    "worker": Word("flows.terminal.project:worker", PROJECT, ("worker", "worker night-shift"), "name"),
}
NOTES = {
    "chat": "With a pipe, each line is a message, and only the replies go to standard output.",
    "import": "docs/imports.md lists the formats that are read.",
    "run": "Settings: demo (needs no key), full, or the path of a YAML file.",
}
TALKS = ("chat", "import", "studio", "ui", "deploy", "worker")
"""Subcommands that print while they run and have no result at the end, so no `--json`."""


def stop_sentence(words: Sequence[str]) -> str:
    """Return the sentence that a stopped command prints."""
    word = WORDS.get(words[0]) if words else None
    return "Stopped." if word and not word.flow else "Stopped. Everything made so far is kept; the same command resumes from there."
