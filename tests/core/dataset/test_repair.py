"""Repair: its conditions, unchanged user messages, cuts where the conversation no longer follows, and a record of every change."""

import json

import pytest

from core.dataset.repair import PASSED, RepairContext, check_lineage, exchanges_to_repair, repair_transcript
from core.dataset.repair_plan import Chosen, repair_facts
from core.errors import InvalidOutputError, RepairError
from core.judging.gather_rule import unmet_by
from core.judging.panel import combine_judges
from core.llm.chat import Reply, Usage
from core.llm.ledger import Ledger
from core.llm.run import Run
from core.packs.pack import load_pack
from core.records import AssessmentBatch, LeftOut, Outcome
from core.settings.assessment import PanelSettings
from core.settings.faults import Fault
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.core.judged import assessment, conversation

PACK = load_pack("therapeutic-coaching")
RULE = PACK.rubric.numbers.gather
NUMBERS = load_settings().repair.model_copy(update={"max_score_gap": 0.4, "max_rewrite_share": 0.5})


class Editor:
    """A repairer with given answers that says whether the next message follows."""

    reference, caveat = "editor/one", None

    def __init__(self, answers=None, follows=True, reasoning="It does."):
        self.answers, self.follows, self.reasoning, self.asked = answers or {}, follows, reasoning, []

    async def complete(self, request):
        self.asked.append(request)
        if request.schema:
            text = json.dumps({"reasoning": self.reasoning, "follows": self.follows})
        else:
            number = len(request.inputs["exchanges"])
            text = self.answers.get(number, f"A better answer, number {number}.")
        reply = Reply(text, "stop", Usage())
        request.check(reply)
        return reply


def context(editor, minimum=3, numbers=NUMBERS):
    return RepairContext(PACK, editor, numbers, minimum, [Fault.ROLE_INVERSION, Fault.META], RULE)


def failed(transcript, cited, **answers):
    return assessment(transcript, "scripted/judge", answers or {"MT1": "NO", "MT2": "NO", "MT6": "NO"}, cited)


async def test_only_the_cited_answers_are_rewritten_and_the_repair_is_recorded():
    transcript = conversation("a", exchanges=6)
    editor = Editor()
    found = await repair_transcript(context(editor), transcript, failed(transcript, {"MT1": [2], "MT6": [2, 4]}), "a-repaired")
    assert [old.user for old in transcript.exchanges] == [new.user for new in found.exchanges]
    assert [n for n, (old, new) in enumerate(zip(transcript.exchanges, found.exchanges, strict=True), 1) if old.assistant != new.assistant] == [2, 4]
    reported = found.provenance["repair"]
    assert (reported["of"], reported["cut_after"], reported["repairer"]) == ("a", None, "editor/one")
    assert [(change["exchange"], change["criteria"]) for change in reported["changed"]] == [(2, ["MT1", "MT6"]), (4, ["MT6"])]
    assert reported["changed"][0]["before"] == transcript.exchanges[1].assistant
    rewriting = [request for request in editor.asked if not request.schema]
    assert "MT1 on" not in rewriting[0].messages[0].content
    assert "scripted/judge on MT1." in rewriting[0].messages[0].content  # the judge's reason
    assert transcript.exchanges[2].user in rewriting[0].messages[0].content  # what comes next
    assert "A better answer, number 2." in rewriting[1].messages[0].content  # the second sees the first as it is now


async def test_a_repair_cuts_the_conversation_if_the_next_message_no_longer_follows():
    transcript = conversation("a", exchanges=6)
    judged = failed(transcript, {"MT1": [4], "MT6": [5]})
    found = await repair_transcript(context(Editor(follows=False)), transcript, judged, "b")
    assert len(found.exchanges) == 4
    assert found.provenance["repair"]["cut_after"] == 4
    with pytest.raises(RepairError, match=r"message 3 no longer follows, and only 2 exchanges precede it; at least 3 are needed"):
        await repair_transcript(context(Editor(follows=False)), transcript, failed(transcript, {"MT1": [2], "MT6": [2]}), "c")


@pytest.mark.parametrize("reasoning", ["", "Yes.", "Say first in a sentence what of the next message refers to the answer before it, if anything."])
async def test_a_verdict_on_the_next_message_that_says_nothing_is_refused(reasoning):
    transcript = conversation("a", exchanges=6)
    with pytest.raises(InvalidOutputError, match="the reasoning of the verdict on message 5"):
        await repair_transcript(context(Editor(reasoning=reasoning)), transcript, failed(transcript, {"MT1": [4], "MT6": [4]}), "b")


async def test_a_repair_may_keep_a_sentence_that_the_judge_quoted_without_quotation_marks():
    kept = "The neighbours can wait until the weekend, and until then you could leave the window shut and the kettle on."
    transcript = conversation("a", exchanges=6)
    exchanges = [item.model_copy(update={"assistant": f"{kept} It will pass."}) if item.exchange_number == 4 else item for item in transcript.exchanges]
    transcript = transcript.model_copy(update={"exchanges": exchanges})
    judged = failed(transcript, {"MT1": [4], "MT6": [4]})
    verdicts = [
        item.model_copy(update={"reasoning": f"Exchange 4 says '{kept} It will pass.', a promise."}) if item.cited else item for item in judged.verdicts
    ]
    found = await repair_transcript(context(Editor({4: f"{kept} It may ease."})), transcript, judged.model_copy(update={"verdicts": verdicts}), "b")
    assert found.exchanges[3].assistant == f"{kept} It may ease."


@pytest.mark.parametrize(
    ("answers", "cited", "said"),
    [
        ({}, {}, "it passed"),
        ({"CQ8": "NO", "MT1": "NO"}, {"MT1": [1]}, "failed a gate"),
        ({"MT1": "NO", "MT2": "NO", "MT6": "NO"}, {}, "cites an exchange"),
        ({"MT1": "NO", "MT2": "NO", "MT6": "NO"}, {"MT1": [1, 2, 3], "MT6": [4]}, "more than 50 % of its answers would have to be rewritten"),
        ({"MT1": "ERROR", "MT6": "NO"}, {"MT6": [1]}, "incomplete"),
        (dict.fromkeys(("MT1", "MT2", "MT3", "MT6", "CQ1", "CQ3", "CP2", "CP4", "CP5", "MT4", "MT5", "MT7"), "NO"), {"MT1": [1]}, "more than 0.4 below"),
    ],
)
def test_an_unrepaired_transcript_has_a_reason(answers, cited, said):
    transcript = conversation("a", exchanges=6)
    found = exchanges_to_repair(transcript, assessment(transcript, "scripted/judge", answers, cited), PACK, NUMBERS, RULE)
    assert isinstance(found, str)
    assert said in found


@pytest.mark.parametrize(
    ("answers", "repaired"),
    [
        ({"CQ1": "NO"}, {1: ["CQ1"]}),  # required
        ({"CQ1": "NO", "MT1": "NO"}, {1: ["CQ1"]}),  # MT1 alone would not keep it out
        (dict.fromkeys(("CP4", "CP5", "CP6"), "NO"), {3: ["CP4"], 4: ["CP5"]}),  # a category below the floor
        ({"MT1": "NO"}, PASSED),
    ],
)
def test_a_pass_that_misses_the_gathering_rule_is_repaired_for_the_unmet_conditions(answers, repaired):
    transcript = conversation("a", exchanges=6)
    judged = assessment(transcript, "scripted/judge", answers, {"CQ1": [1], "MT1": [2], "CP4": [3], "CP5": [4]})
    assert judged.score.outcome is Outcome.PASS
    found = exchanges_to_repair(transcript, judged, PACK, NUMBERS, RULE)
    assert (found if isinstance(found, str) else {number: [one.criterion for one in verdicts] for number, verdicts in found.items()}) == repaired
    assert (found == PASSED) == (not unmet_by(judged, RULE, PACK.rubric))


async def test_the_repair_uses_the_reason_of_the_judge_that_excludes_the_transcript():
    transcript, judges = conversation("a", exchanges=6), {"a/strict": {"MT1": "NO", "MT2": "NO"}, "b/other": {"CQ1": "NO"}}
    alone = {name: assessment(transcript, name, answers, {"CQ1": [2]}) for name, answers in judges.items()}
    both = combine_judges(PACK, alone, PanelSettings(criteria="strictest", gates="any_fail"), 6)
    assert (both.score.outcome, both.score.failed_checks) == (Outcome.PASS, ["MT1", "MT2"])
    editor = Editor()
    found = await repair_transcript(context(editor), transcript, both, "a-repaired")
    assert [(change["exchange"], change["criteria"]) for change in found.provenance["repair"]["changed"]] == [(2, ["CQ1"])]
    assert "b/other on CQ1." in editor.asked[0].messages[0].content


async def test_a_repaired_transcript_is_not_repaired_again():
    transcript = conversation("a", exchanges=6)
    once = await repair_transcript(context(Editor()), transcript, failed(transcript, {"MT1": [2], "MT6": [2]}), "b")
    with pytest.raises(RepairError, match="repaired before"):
        await repair_transcript(context(Editor()), once, failed(once, {"MT1": [2], "MT6": [2]}), "c")


async def test_an_unusable_rewrite_is_refused_and_an_unchanged_answer_is_no_repair():
    transcript = conversation("a", exchanges=6)
    judged = failed(transcript, {"MT1": [2], "MT6": [2]})
    with pytest.raises(InvalidOutputError, match="the rewritten answer 2 was refused"):
        await repair_transcript(context(Editor({2: "   "})), transcript, judged, "b")
    with pytest.raises(RepairError, match="left every answer as it was"):
        await repair_transcript(context(Editor({2: transcript.exchanges[1].assistant})), transcript, judged, "b")


async def test_repairs_that_fail_for_the_same_reason_are_counted_together(tmp_path):
    failures = []
    for name in ("fox", "owl"):
        transcript = conversation(name, exchanges=6)
        unchanged = {2: transcript.exchanges[1].assistant}
        with pytest.raises(RepairError) as error:
            await repair_transcript(context(Editor(unchanged)), transcript, failed(transcript, {"MT1": [2], "MT6": [2]}), f"{name}-repaired")
        failures.append(LeftOut(name=name, reason=str(error.value)))
    store = Store(str(tmp_path))
    run = Run("repair", PACK, load_settings(), store, {}, Ledger(store, "repair", load_settings().budget))
    batch = AssessmentBatch(domain=PACK.name, judges=[], assessments=[], left_out=failures)
    assert repair_facts(run, Chosen(batch, [], []), batch)["reasons"] == [("the repairer left every answer as it was.", 2)]


async def test_a_repair_that_changes_the_users_words_is_refused():
    transcript = conversation("a", exchanges=6)
    good = await repair_transcript(context(Editor()), transcript, failed(transcript, {"MT1": [2], "MT6": [2]}), "b")
    check_lineage(transcript, good)
    for change, said in (({"user": "I slept well."}, "the user's message 1"), ({"assistant": "Another."}, "answer 1 differs from that of a")):
        spoilt = good.model_copy(update={"exchanges": [good.exchanges[0].model_copy(update=change), *good.exchanges[1:]]})
        with pytest.raises(RepairError, match=said):
            check_lineage(transcript, spoilt)
