"""The page of a conversation."""

import pytest

from core.records import Exchange, Transcript
from core.rehearsal.personas import sample_persona
from tests.core.judged import PACK, conversation, single
from tests.studio.kept import keep
from tests.studio.reading import read

HOSTILE = "</script><img src=x onerror=\"alert('run')\"><!--<script >alert('run')</script> [x](javascript:alert(1)) \u202edlrow \ud800 \x07"


PERSONA = next(persona for seed in range(50) if (persona := sample_persona(PACK, seed, (4, 4))).flaws and persona.life)


def drawn(name: str = "rehearsed") -> Transcript:
    persona = PERSONA
    steering = [
        {
            "flaws": [persona.flaws[0].name],
            "topics": [persona.topics[0].subtopic],
            "mood": "flat",
            "cooperation": "ignore",
            "days": 3,
            "date": "Monday 4 May",
            "event": "The lift broke.",
            "episode": "",
        }
        for _ in range(2)
    ]
    refused = [{"side": "assistant", "exchange_number": 2, "fault": "tic", "found": "It makes sense", "text": "It makes sense that you are tired.", "seed": 1}]
    usage = {"assistant": {"calls": 3, "input_tokens": 1200, "output_tokens": 90}}
    said = [Exchange(exchange_number=number, user=f"Message {number}.", assistant=f"**Answer** {number}.") for number in (1, 2)]
    provenance = {"domain": PACK.name, "steering": steering, "rejections": refused, "usage": usage, "user_simulator": "some/user", "assistant": "some/model"}
    return Transcript(id=name, persona=persona.model_dump(), exchanges=said, provenance=provenance)


@pytest.fixture
def path(store):
    keep(store, [single(drawn(), {"MT1": "NO"}, {"MT1": [2]}), single(conversation("other"))])
    return "/conversations/transcripts/therapeutic-coaching/rehearsed.json"


def test_the_persona_card_and_the_draws_of_each_message_are_shown(client, path):
    words = read(client.get(path).text).words
    persona = PERSONA
    for said in (
        persona.name,
        persona.flaws[0].name.replace("_", " "),
        persona.dimensions["age_context"].replace("_", " "),
        persona.life["place"],
        "some/model",
        "1,200 tokens in",
    ):
        assert said in words, said
    for said in ("Monday 4 May, 3 days later", "flat, ignore", "The lift broke.", "none of its words were found"):
        assert said in words, said


def test_a_refused_message_is_shown_before_its_rewrite(client, path):
    page = client.get(path).text
    assert page.index("Message 2.") < page.index("It makes sense that you are tired.") < page.index("<strong>Answer</strong> 2.")


def test_a_verdict_and_its_cited_exchange_link_to_each_other(client, path):
    page = read(client.get(path).text)
    assert "#exchange-2" in page.links
    assert "#verdict-MT1" in page.links
    assert {"exchange-2", "verdict-MT1"} <= {attributes.get("id") for _, attributes in page.elements}
    first = page.all("article", id="verdict-MT1")[0]
    assert "decisive" in first["class"]
    assert page.elements.index(("article", first)) < next(
        place for place, (tag, found) in enumerate(page.elements) if tag == "article" and found.get("id") == "verdict-CP2"
    )


def test_a_repaired_conversation_shows_both_versions_and_links_to_the_original(client, store, path):
    original = drawn()
    repaired = original.model_copy(
        update={
            "id": "repaired",
            "exchanges": [original.exchanges[0], original.exchanges[1].model_copy(update={"assistant": "A better answer."})],
            "provenance": {**original.provenance, "repair": {"of": "rehearsed", "changed": [{"exchange": 2, "before": "**Answer** 2.", "criteria": ["MT1"]}]}},
        }
    )
    store.write_json(f"repaired/{PACK.name}/repaired.json", repaired)
    page = read(client.get("/conversations/repaired/therapeutic-coaching/repaired.json").text)
    assert "A better answer." in page.words
    assert "original repaired for MT1" in page.words
    assert path in page.links
    assert "/conversations/repaired/therapeutic-coaching/repaired.json" in read(client.get(path).text).links


def test_the_next_link_keeps_the_filters_and_works_after_its_batch_is_removed(client, store):
    name = keep(store, [single(conversation("first"), {"CQ9": "NO"}), single(conversation("second")), single(conversation("third"), {"CQ9": "NO"})])
    page = read(client.get("/conversations/transcripts/therapeutic-coaching/first.json", params={"batch": name, "outcome": "fail", "order": "id"}).text)
    (after,) = {attributes["href"] for attributes in page.all("a", rel="next")}
    assert after.startswith("/conversations/transcripts/therapeutic-coaching/third.json?")
    assert "1 of 2" in page.words
    assert {attributes["href"] for attributes in read(client.get(after).text).all("a", rel="prev")}
    store.remove(f"batches/{name}.json")
    assert client.get(after).status_code == 200


def test_an_imported_persona_is_shown_with_its_known_fields(client, store):
    foreign = Transcript(
        id="foreign",
        persona={"name": "Ada", "age": 71, "flaws": "many", "dimensions": ["x"]},
        exchanges=[Exchange(exchange_number=1, user="Hi", assistant="Hello")],
    )
    keep(store, [single(foreign)])
    words = read(client.get("/conversations/transcripts/therapeutic-coaching/foreign.json").text).words
    assert "Ada" in words
    assert "age 71" in words


def test_hostile_text_is_shown_and_never_executed(client, store):
    text = HOSTILE.replace("\ud800", "")
    exchanges = [Exchange(exchange_number=1, user=text, assistant="x")]
    safe = Transcript(id="hostile", persona={"name": text}, exchanges=exchanges, provenance={"caveat": text})
    name = keep(store, [single(safe, caveat=text)])
    for address in (
        f"/batches/{name}",
        "/conversations/transcripts/therapeutic-coaching/hostile.json",
        "/conversations/transcripts/therapeutic-coaching/hostile.json?as_written=1",
        f"/batches/{name}?text=run",
    ):
        page = client.get(address)
        found = read(page.text)
        assert page.status_code == 200
        assert not found.all("img")
        assert all(attributes.get("src", "").startswith("/static/") for attributes in found.all("script"))
        assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
        assert not any(link.lower().startswith("javascript") for link in found.links)
        assert "\u202e" not in page.text
        assert "alert('run')" in found.words
