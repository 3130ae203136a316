"""Assessments from earlier or from other tools: compared by the evaluation's statistics, or scored again from their answers."""

from collections import Counter

from core.evaluation.by_exchange import by_exchange
from core.evaluation.comparison import Comparison, compare_arms
from core.evaluation.page import evaluation_page
from core.evaluation.record import FILE, EvaluationRecord, facts_of, summary
from core.evaluation.recorded import FORM, judges_recorded, misnamed, read_recorded, recorded_conversations
from core.evaluation.report import evaluation_markdown
from core.fingerprint import fingerprint
from core.imports.foreign_files import shown
from core.judging.checkpoints import read_checkpoints
from core.judging.checkpoints import rescore as score_again
from core.judging.gather_rule import unmet
from core.packs.pack import load_pack
from core.paths import user_path
from core.reports.render import summary_table
from core.settings.pipeline import load_settings
from core.settings.provider_options import SCRIPTED
from core.storage.store import open_store
from core.terminal import Answer, one_line, show

AS_RECORDED = "Scores and passes are as recorded in the files. Understudy does not know who judged by which rubric; nothing was judged again."

NEAR = 0.00051
"""Largest difference between two scores that are the same: recorded ones are rounded to three places, so they are off by 0.0005 at most."""


def evaluate_recorded(
    folder: str, transcripts: str | None = None, base: str = "base", domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml"
) -> Answer:
    """Apply the statistics of the evaluation to assessments from another tool, and write the evaluation's report.

    Args:
        folder: folder of assessments, one JSON file each, named <arm>_seed<number>_run<number>.json.
        transcripts: folder of the assessed conversations; default: the folder `transcripts` in the same parent folder, if it exists.
        base: arm that the others are compared with.
        domain: name of a domain pack; its rubric says which criteria are gates.
        settings: path of the settings file.
    """
    assessments, store, pack = user_path(folder), open_store(), load_pack(domain)
    played, numbers = read_recorded(assessments), load_settings(settings).evaluation
    unread = [f"{name} does not fit: its name is not of the form {FORM}" for name in misnamed(assessments)]
    for line in shown([*(item.lost for item in played if item.lost), *unread]):
        show(f"Left out: {line}", error=True)
    scripted = any(judge.startswith(SCRIPTED) for judge in judges_recorded(assessments))
    comparison = compare_arms(played, base, pack.rubric, numbers.decision, numbers.resamples, scripted=scripted)
    conversation_folder = user_path(transcripts) if transcripts else assessments.parent / "transcripts"
    conversations, left_out = recorded_conversations(assessments, conversation_folder) if conversation_folder.is_dir() else ([], {})
    for name, reason in left_out.items():
        show(f"Transcript not loaded: {name}: {reason}", error=True)
    models = {arm: f"{arm}, as recorded" for arm in comparison.arms}
    faults = by_exchange((item.arm, item.transcript, item.assessment) for item in conversations)
    record = EvaluationRecord(domain=domain, models=models, comparison=comparison, played=played, caveats=[AS_RECORDED], by_exchange=faults)
    facts, place = facts_of(record, pack, conversations, {}), f"evaluations/recorded-{fingerprint([played, comparison])}"
    store.write_json(f"{place}/{FILE}", record)
    store.write(f"{place}/report.md", evaluation_markdown(facts))
    page = store.write(f"{place}/report.html", evaluation_page(facts))
    naive = {f"naive comparison of {name}": _naive(comparison, name) for name in comparison.comparisons}
    figures = naive | summary(record) | {"report": f"{store.root}/{page}"}
    return Answer(summary_table(figures), figures)


def _naive(comparison: Comparison, arm: str) -> str:
    """Return a sentence with the result of a t-test over conversations, which wrongly treats the conversations of one persona as independent."""
    score, means = comparison.comparisons[arm].score, [comparison.arms[name].mean_score for name in (arm, comparison.base)]
    test = f"t = {score.naive_t.t:.3f}, p = {score.naive_t.p:.4f}" if score.naive_t.t is not None and score.naive_t.p is not None else "no t"
    return f"means {means[0]:.3f} and {means[1]:.3f}, {score.pairs} pairs of conversations, {test}; it treats conversations of one persona as independent"


def rescore(checkpoints: str, domain: str = "therapeutic-coaching") -> Answer:
    """Compute scores again from recorded answers by the current rubric, and show the differences and which passes would be gathered for training.

    Args:
        checkpoints: files or folders (*.jsonl, *.json), separated by commas.
        domain: name of a domain pack.
    """
    rubric = load_pack(domain).rubric
    read = read_checkpoints([user_path(path.strip()) for path in checkpoints.split(",")])
    same, lines, rows, missed = 0, [], [], Counter[str]()
    for name, (_, line) in read.lines.items():
        score, unknown = score_again(line, rubric)
        near = score.score is not None and line.score is not None and abs(score.score - line.score) <= NEAR
        same += near and line.passed == (score.outcome == "pass")
        recorded, now = ("none" if value is None else f"{value:.3f}" for value in (line.score, score.score))
        rest = ("" if near else "  DIFFERS") + (f"  not in the rubric: {', '.join(unknown)}" if unknown else "")
        conditions = unmet(rubric.numbers.gather, rubric, line.answers, score) if score.outcome == "pass" else []
        missed.update(conditions)
        rest += f"  not gathered: {'; '.join(conditions)}" if conditions else ""
        lines.append(f"{name:<40} recorded {recorded} {'pass' if line.passed else 'fail':<10}  now {now} {score.outcome.value:<10}{rest}")
        rows.append(
            {
                "id": name,
                "recorded": line.score,
                "passed": line.passed,
                "score": score.score,
                "outcome": score.outcome.value,
                "unknown": unknown,
                "unmet": conditions,
            }
        )
    passed = [row for row in rows if row["outcome"] == "pass"]
    gathered = sum(not row["unmet"] for row in passed)
    why = f"; not gathered: {', '.join(f'{count} ({name})' for name, count in missed.most_common())}" if missed else ""
    lines += [
        *read.notices(),
        f"{len(passed)} pass, {gathered} of them gathered{why}",
        f"{same} of {len(read.lines)} as recorded, {len(read.damaged)} not read",
    ]
    return Answer("\n".join(map(one_line, lines)), {"same": same, "damaged": len(read.damaged), "gathered": gathered, "assessments": rows})
