"""Chats with several models: replies, marks, judgements and reuse."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from core.evaluation.fresh_personas import read_personas
from core.imports.stored import read_folder
from core.llm.bills import read_entries
from core.records import Transcript, TranscriptBatch
from studio.app import build_app
from tests.core.judged import PACK

OWN = {"Origin": "http://127.0.0.1"}
SETTINGS = """
extends: demo.yaml
evaluation:
  arms: {base: scripted/0.1, prompted base: scripted/0.1 under assistant, understudy: scripted/0.95}
"""


@pytest.fixture
def talking(store, tmp_path, monkeypatch):
    path = tmp_path / "chat.yaml"
    path.write_text(SETTINGS.replace("demo.yaml", str(Path("config/demo.yaml").resolve())), encoding="utf-8")
    return TestClient(build_app(store, settings=str(path)), base_url="http://127.0.0.1")


@pytest.fixture
def chat(talking):
    begun = talking.post("/chat", data={"domain": PACK.name}, headers=OWN, follow_redirects=False)
    return begun.headers["location"]


def send(client, chat, text):
    number = client.post(f"{chat}/say", json={"text": text}, headers=OWN).json()["number"]
    replies = {}
    for player in ("base", "prompted base", "understudy"):
        events = [json.loads(line) for line in client.post(f"{chat}/turns/{number}/{player}", headers=OWN).text.splitlines()]
        assert events[-1] == {"ended": "stop", "why": ""}
        replies[player] = "".join(event.get("piece", "") for event in events)
    return replies


def test_all_models_answer_the_same_message_and_replies_are_kept_with_thumbs_and_notes(talking, chat):
    first = send(talking, chat, "My boss scares me <script>alert(1)</script>")
    assert all(first.values())
    send(talking, chat, "And I slept badly.")
    assert talking.post(f"{chat}/turns/1/understudy/mark", json={"thumb": "1", "note": "Warm."}, headers=OWN).status_code == 200
    shown = talking.get(chat).text
    assert shown.count('class="turn"') == 2
    assert 'value="Warm."' in shown
    assert 'value="1" aria-pressed="true"' in shown
    assert "<script>alert" not in shown
    assert chat in talking.get("/chat").text


def test_a_chat_can_be_judged_and_becomes_training_data_after_it_was_read(talking, chat, store):
    send(talking, chat, "My boss scares me.")
    judged = talking.post(f"{chat}/judge", data={"player": "understudy"}, headers=OWN)
    assert "by scripted/judge" in judged.text
    form = {"player": "understudy", "as": "training", "licence": "CC-BY-4.0", "consent": "typed by the team"}
    assert "Read the conversation first" in talking.post(f"{chat}/keep", data=form, headers=OWN).text
    kept = talking.post(f"{chat}/keep", data=form | {"read": "yes"}, headers=OWN)
    assert "Kept:" in kept.text
    (folder,) = [name for name in store.names("imported") if not name.endswith(".json")]
    batch = store.load(read_folder(store, str(store.local(folder)), PACK.name, print), TranscriptBatch)
    taken = store.load(batch.transcripts[0].path, Transcript)
    assert taken.exchanges[0].user == "My boss scares me."
    assert taken.provenance["terms"] == {"origin": "a chat in the studio", "licence": "CC-BY-4.0", "consent": "typed by the team", "replaced": None}


def test_a_chat_can_become_a_persona_that_an_evaluation_plays(talking, chat, store):
    send(talking, chat, "My boss scares me.")
    for _ in range(2):  # the same persona, once
        talking.post(f"{chat}/keep", data={"player": "base", "as": "persona", "read": "yes"}, headers=OWN)
    (persona,) = read_personas(store.local(f"personas/{PACK.name}-from-chats.json"), PACK, None)
    assert persona.topics[0].description == "My boss scares me."


async def test_two_windows_that_request_the_same_reply_share_one_call(talking, chat, store):
    number = talking.post(f"{chat}/say", json={"text": "My boss scares me."}, headers=OWN).json()["number"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(talking.app), base_url="http://127.0.0.1") as window:
        asked = [window.post(f"{chat}/turns/{number}/understudy", headers=OWN) for _ in range(2)]
        said = [json.loads(answer.text.splitlines()[0])["piece"] for answer in await asyncio.gather(*asked)]
    assert said[0] == said[1] != ""
    again = talking.post(f"{chat}/turns/{number}/understudy", headers=OWN)
    assert json.loads(again.text.splitlines()[0])["piece"] == said[0]
    assert len(read_entries(store, f"chat-{PACK.name}")) == 1


def test_the_chat_page_without_a_model_says_what_to_do(client):
    shown = client.get("/chat").text
    assert "There is no model to chat with yet" in shown
    assert "understudy run demo" in shown
    assert client.post("/chat", data={"domain": PACK.name}, headers=OWN).status_code == 422


@pytest.mark.parametrize(
    ("address", "sent", "code"),
    [
        ("say", {"text": " "}, 422),
        ("say", {"text": "x" * 30_000}, 422),
        ("turns/1/nobody", {}, 404),
        ("turns/7/base", {}, 404),
        ("turns/1/base/mark", {"thumb": "5"}, 422),
    ],
)
def test_an_invalid_chat_request_is_refused(talking, chat, address, sent, code):
    send(talking, chat, "Hello.")
    assert talking.post(f"{chat}/{address}", json=sent, headers=OWN).status_code == code
    assert talking.get("/chat/../x").status_code in (404, 422)
    assert talking.get("/chat/20260101T000000-abcdef").status_code == 422
