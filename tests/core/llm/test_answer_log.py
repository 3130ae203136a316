"""A result that takes several calls is paid for once, even if it is interrupted."""

import json

import pytest

from core.authoring.design import ask_until, design_request, json_object
from core.dataset.repair import repair_transcript
from core.errors import BudgetError, InvalidOutputError, RepairError
from core.llm.answer_log import FOLDER, RecalledModel
from core.llm.chat import ChatRequest, Message, Reply, Usage
from core.storage.store import Store
from tests.core.dataset.test_repair import Editor, context, conversation, failed


class Stopped:
    """A model that allows a few calls and then reports that the budget is reached."""

    def __init__(self, model, allowed):
        self.reference, self.caveat = model.reference, model.caveat
        self._model, self._allowed = model, allowed

    async def complete(self, request):
        self._allowed -= 1
        if self._allowed < 0:
            raise BudgetError("Budget reached.")
        return await self._model.complete(request)


class Scribe:
    """A designer whose first two attempts are invalid."""

    reference, caveat = "scribe/one", None

    def __init__(self):
        self.asked = []

    async def complete(self, request):
        self.asked.append(request)
        return Reply(json.dumps({"text": f"Attempt {len(request.messages) // 2 + 1}."}), "stop", Usage())


async def repaired(model):
    transcript = conversation("a", exchanges=6)
    return await repair_transcript(context(model), transcript, failed(transcript, {"MT1": [2], "MT6": [2, 4]}), "a-mended")


def third(answer):
    if answer["text"] != "Attempt 3.":
        raise ValueError("not yet")
    return answer["text"]


async def designed(model):
    request = design_request("home-cooking", "a file", "System.", "Write it.", 100, json_object(text={"type": "string"}))
    return await ask_until(model, request, 3, third)


@pytest.mark.parametrize(("make", "writer"), [(repaired, Editor), (designed, Scribe)])
async def test_a_task_stopped_after_every_call_gives_the_same_result_without_repeated_calls(tmp_path, make, writer):
    whole, once = writer(), writer()
    expected = await make(whole)
    assert len(whole.asked) >= 3
    store, found = Store(str(tmp_path)), None
    for _ in range(len(whole.asked)):
        try:
            found = await make(RecalledModel(Stopped(once, 1), store, "it"))
        except BudgetError:
            continue
    assert found == expected
    assert [request.messages for request in once.asked] == [request.messages for request in whole.asked]
    RecalledModel(once, store, "it").remove()
    assert not store.names(FOLDER)


async def test_an_unchanged_repair_is_recalled_without_another_call(tmp_path):
    transcript, store = conversation("a", exchanges=6), Store(str(tmp_path))
    editor = Editor({2: transcript.exchanges[1].assistant})
    for _ in range(2):
        with pytest.raises(RepairError, match="left every answer as it was"):
            await repair_transcript(context(RecalledModel(editor, store, "it")), transcript, failed(transcript, {"MT1": [2]}), "b")
    assert len(editor.asked) == 1


async def test_refused_answers_count_as_attempts_and_the_next_run_uses_another_seed(tmp_path):
    def refuse(_):
        raise InvalidOutputError("no")

    asked, store = Editor(), Store(str(tmp_path))
    request = ChatRequest("repairer", "", (Message("user", "Write."),), 100, 5, inputs={"exchanges": ()}, check=refuse)
    for _ in range(3):
        with pytest.raises(InvalidOutputError):
            await RecalledModel(asked, store, "it").complete(request)
    assert [(one.refused, one.seed) for one in asked.asked] == [(0, 5), (1, 6), (2, 7)]


async def test_another_request_or_another_log_makes_a_new_call(tmp_path):
    asked, store = Editor(), Store(str(tmp_path))
    request = ChatRequest("repairer", "", (Message("user", "Write."),), 100, 5, inputs={"exchanges": ()}, check=lambda _: None)
    other = ChatRequest("repairer", "", (Message("user", "Write more."),), 100, 5, inputs={"exchanges": ()}, check=lambda _: None)
    for name, one in (("it", request), ("it", request), ("it", other), ("other", request)):
        await RecalledModel(asked, store, name).complete(one)
    assert len(asked.asked) == 3
