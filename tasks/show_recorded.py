"""`make evaluate-recorded`: the statistics of an evaluation that was played and judged elsewhere."""

import sys

from core.errors import EvaluationError
from core.evaluation.comparison import Comparison, compare_arms
from core.evaluation.page import evaluation_page
from core.evaluation.record import FILE, EvaluationRecord, facts_of, summary
from core.evaluation.recorded import FORM, misnamed, read_recorded, recorded_conversations
from core.evaluation.report import evaluation_markdown
from core.fingerprint import fingerprint
from core.imports.foreign_files import shown
from core.packs.pack import load_pack
from core.paths import user_path
from core.reports.render import summary_table
from core.settings.pipeline import load_settings
from core.storage.store import open_store
from core.terminal import show, show_text
from tasks.command_words import in_one_sentence, read_words

AS_RECORDED = "Scores and passes are as recorded in the files; who judged, and by which rubric, is not known to Understudy, and nothing was judged again."


def main(words: list[str]) -> int:
    """Compare, write the report and print the figures; return the exit code."""
    return in_one_sentence(
        lambda: _show(read_words(words, {"dir": "", "transcripts": "", "base": "base", "domain": "therapeutic-coaching", "settings": "config/pipeline.yaml"}))
    )


def _show(given: dict[str, str]) -> int:
    show_text(summary_table(_evaluate(given)))
    return 0


def _evaluate(given: dict[str, str]) -> dict[str, str]:
    if not given["dir"]:
        raise EvaluationError("No folder of assessments was given. Say make evaluate-recorded DIR=folder.")
    folder, store, pack = user_path(given["dir"]), open_store(), load_pack(given["domain"])
    played, numbers = read_recorded(folder), load_settings(given["settings"]).evaluation
    unread = [f"{name} does not fit: its name is not of the form {FORM}" for name in misnamed(folder)]
    for line in shown([*(item.lost for item in played if item.lost), *unread]):
        show(f"Left out: {line}", error=True)
    gates = [key for key, criterion in pack.rubric.criteria.items() if criterion.head.gate]
    comparison = compare_arms(played, given["base"], gates, numbers.decision, numbers.resamples)
    beside = user_path(given["transcripts"]) if given["transcripts"] else folder.parent / "transcripts"
    conversations, left_out = recorded_conversations(folder, beside) if beside.is_dir() else ([], {})
    for name, reason in left_out.items():
        show(f"Its words are left out: {name}: {reason}", error=True)
    models = {arm: f"{arm}, as recorded" for arm in comparison.arms}
    record = EvaluationRecord(domain=given["domain"], models=models, comparison=comparison, played=played, caveats=[AS_RECORDED])
    facts, place = facts_of(record, pack, conversations, {}), f"evaluations/recorded-{fingerprint([played, comparison])}"
    store.write_json(f"{place}/{FILE}", record)
    store.write(f"{place}/report.md", evaluation_markdown(facts))
    page = store.write(f"{place}/report.html", evaluation_page(facts))
    naive = {f"naive comparison of {name}": _naive(comparison, name) for name in comparison.comparisons}
    return naive | summary(record) | {"report": f"{store.root}/{page}"}


def _naive(comparison: Comparison, arm: str) -> str:
    """Say what a t-test over conversations makes of an arm, which takes those of one persona for independent."""
    score, means = comparison.comparisons[arm].score, [comparison.arms[name].mean_score for name in (arm, comparison.base)]
    test = f"t = {score.naive_t.t:.3f}, p = {score.naive_t.p:.4f}" if score.naive_t.t is not None and score.naive_t.p is not None else "no t"
    return f"means {means[0]:.3f} and {means[1]:.3f}, {score.pairs} pairs of conversations, {test}; it takes conversations of one persona for independent"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
