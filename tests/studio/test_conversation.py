"""A conversation as a person reads it."""

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


def test_the_card_says_who_speaks_and_each_message_what_was_drawn_for_it(client, path):
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


def test_what_was_refused_stands_where_it_was_written_again(client, path):
    page = client.get(path).text
    assert page.index("Message 2.") < page.index("It makes sense that you are tired.") < page.index("<strong>Answer</strong> 2.")


def test_a_verdict_and_the_exchange_that_it_cites_lead_to_each_other(client, path):
    page = read(client.get(path).text)
    assert "#exchange-2" in page.links
    assert "#verdict-MT1" in page.links
    assert {"exchange-2", "verdict-MT1"} <= {attributes.get("id") for _, attributes in page.elements}
    first = page.all("article", id="verdict-MT1")[0]
    assert "decisive" in first["class"]
    assert page.elements.index(("article", first)) < next(
        place for place, (tag, found) in enumerate(page.elements) if tag == "article" and found.get("id") == "verdict-CP2"
    )


def test_a_mended_conversation_shows_both_versions_and_leads_to_the_original(client, store, path):
    original = drawn()
    mended = original.model_copy(
        update={
            "id": "mended",
            "exchanges": [original.exchanges[0], original.exchanges[1].model_copy(update={"assistant": "A better answer."})],
            "provenance": {**original.provenance, "repair": {"of": "rehearsed", "changed": [{"exchange": 2, "before": "**Answer** 2.", "criteria": ["MT1"]}]}},
        }
    )
    store.write_json(f"repaired/{PACK.name}/mended.json", mended)
    page = read(client.get("/conversations/repaired/therapeutic-coaching/mended.json").text)
    assert "A better answer." in page.words
    assert "original repaired for MT1" in page.words
    assert path in page.links
    assert "/conversations/repaired/therapeutic-coaching/mended.json" in read(client.get(path).text).links


def test_the_way_to_the_next_one_keeps_the_filters_and_the_link_outlives_its_batch(client, store):
    name = keep(store, [single(conversation("first"), {"CQ9": "NO"}), single(conversation("second")), single(conversation("third"), {"CQ9": "NO"})])
    page = read(client.get("/conversations/transcripts/therapeutic-coaching/first.json", params={"batch": name, "outcome": "fail", "order": "id"}).text)
    (after,) = {attributes["href"] for attributes in page.all("a", rel="next")}
    assert after.startswith("/conversations/transcripts/therapeutic-coaching/third.json?")
    assert "1 of 2" in page.words
    assert {attributes["href"] for attributes in read(client.get(after).text).all("a", rel="prev")}
    store.remove(f"batches/{name}.json")
    assert client.get(after).status_code == 200


def test_a_persona_from_elsewhere_is_shown_as_far_as_it_is_known(client, store):
    foreign = Transcript(
        id="foreign",
        persona={"name": "Ada", "age": 71, "flaws": "many", "dimensions": ["x"]},
        exchanges=[Exchange(exchange_number=1, user="Hi", assistant="Hello")],
    )
    keep(store, [single(foreign)])
    words = read(client.get("/conversations/transcripts/therapeutic-coaching/foreign.json").text).words
    assert "Ada" in words
    assert "age 71" in words


def test_hostile_words_are_shown_and_obeyed_in_nothing(client, store):
    said = [Exchange(exchange_number=1, user=HOSTILE, assistant=HOSTILE + " long" * 20_000)]
    persona = {"name": HOSTILE, "dimensions": {"difficulty": HOSTILE}, HOSTILE: HOSTILE}
    hostile = Transcript.model_construct(
        id="hostile",
        persona=persona,
        exchanges=said,
        provenance={"caveat": HOSTILE, "rejections": [{"side": "user", "exchange_number": 1, "text": HOSTILE, "fault": HOSTILE}]},
    )
    plain = (
        Transcript.model_validate_json(hostile.model_dump_json().encode(errors="replace"))
        if False
        else hostile.model_copy(update={"exchanges": [Exchange(exchange_number=1, user=HOSTILE.replace("\ud800", ""), assistant="x")]})
    )
    safe = plain.model_copy(update={"persona": {"name": HOSTILE.replace("\ud800", "")}, "provenance": {"caveat": HOSTILE.replace("\ud800", "")}})
    name = keep(store, [single(safe, caveat=HOSTILE.replace("\ud800", ""))])
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
