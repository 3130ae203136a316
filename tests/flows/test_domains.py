"""A domain is a set of files: a second pack, and a minimal one written here, are taken as far as a dataset."""

import asyncio
import json

import yaml

from core.packs.pack import load_pack
from core.records import Transcript
from core.storage.store import open_store
from flows.assessment import assessment
from flows.dataset import dataset
from flows.generation import generation
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings
from tests.flows.test_commands import assert_refused, finish

SECOND = str(CHECKOUT / "tests/packs")


def test_a_second_domain_gets_its_own_conversations_assessments_and_dataset(command, data_root, tmp_path):
    settings = write_settings(tmp_path, generation={"conversations": 12, "exchanges": None})
    for word in ("generate", "assess", "dataset"):
        code, output = finish(command(word, "--domain=bicycle-workshop", f"--settings={settings}", UNDERSTUDY_PACKS=SECOND), timeout=400)
        assert code == 0, output
    (card,) = data_root.glob("datasets/*/README.md")
    assert "| judge | scripted/judge was never measured against the golden set (understudy calibrate)" in card.read_text(encoding="utf-8")
    (report,) = data_root.glob("reports/transcripts-*.md")
    assert "12 conversations" in report.read_text(encoding="utf-8")
    assert list(data_root.glob("hub/datasets/understudy/bicycle-workshop/commits/*"))  # not into another domain's dataset
    transcripts = [Transcript.model_validate_json(path.read_text(encoding="utf-8")) for path in data_root.glob("transcripts/bicycle-workshop/*.json")]
    assert len(transcripts) == 12
    assert {len(item.exchanges) for item in transcripts} == {2, 3, 4}


def test_an_unknown_domain_names_the_setting_that_adds_packs(command):
    assert_refused(*finish(command("generate", "--domain=bicycle-workshop")), "Unknown domain 'bicycle-workshop'", "UNDERSTUDY_PACKS adds a place")


TOPICS = {"sourdough": "starter", "cakes": "sponge", "opening_hours": "closing time"}
RULES = {"BK1": ("topics_covered", 0.5), "BK2": ("tentative", 0.5)}


def write_bakery(root):
    """Write a domain of three subtopics, one flaw and two criteria."""
    config, prompts = root / "config/domains/bakery", root / "prompts/bakery"
    subtopics = {name: {"description": f"Asks about the {word}.", "words": [word]} for name, word in TOPICS.items()}
    course = {"begin": {"calm": 1.0}, "end": {"calm": 0.5, "hurried": 0.5}}
    taxonomy = {
        "topics": {"bread": {"weight": 1.0, "label": "Bread", "subtopics": subtopics}},
        "moods": {"calm": "There is time.", "hurried": "The tram comes in two minutes."},
        "dimensions": {
            "trajectory": {"steady": {"weight": 1.0, "description": "Comes every week.", "moods": course}},
            "writing_style": {"plain": {"weight": 1.0, "description": "Short.", "words": [1, 200]}},
        },
        "length_classes": {"any": {"weight": 1.0, "exchanges": [3, 5]}},
        "topics_per_persona": [1, 2],
        "names": ["Ada", "Ben", "Cleo"],
    }
    flaws = {
        "none_share": 0.5,
        "secondary": [0, 0],
        "primary_shows": 0.5,
        "secondary_shows": [0.1, 0.2],
        "cooperation": {"engage": 0.7, "push_back": 0.3},
        "categories": {"manner": {"haggling": {"weight": 1.0, "description": "Wants it cheaper.", "examples": ["Too dear."], "notes": "Once."}}},
    }
    topics = {
        name: {
            "about": f"the {word}",
            "says": [f"My {word} is not as it was on day {n}." for n in range(6)],
            "replies": [f"Perhaps the {word} needs more rest, as it did on day {n}." for n in range(4)],
            "experiments": [f"You could try the {word} again in {n} hours." for n in (2, 3)],
        }
        for name, word in TOPICS.items()
    }
    many = {
        name: [f"{name} one", f"{name} two"]
        for name in "openers formulaic_openers validations follow_ups references closings questions platitudes assertions harms".split()  # noqa: SIM905
    }
    lists = "feeling validation hedge assertion suggestion reference follow_up stuck harm".split()  # noqa: SIM905
    scripted = {
        "topics": topics,
        "user": {
            "first_openers": ["Good morning.", "Hello."],
            "later_openers": ["Me again.", "Back again."],
            "feelings": {mood: [f"I am {mood}.", f"It is a {mood} day."] for mood in taxonomy["moods"]},
            "reactions": {"engage": ["That helped.", "It rose."], "push_back": ["It did not help.", "No."]},
            "stuck": ["What now?", "I give up."],
            "stuck_share": 0.1,
            "resumed": ["About {about} again.", "Still {about}."],
            "goodbyes": ["Bye.", "See you."],
            "flaws": {"haggling": ["Too dear.", "Can I have it cheaper?"]},
        },
        "assistant": {"quality": [0.8, 1.0], **many, "platitudes": [f"platitude {n}" for n in range(4)], "harm_below": 0.1, "harm_share": 0.1},
        "words": {name: ["perhaps"] if name == "hedge" else [f"{name} one"] for name in lists},
        "length_ratio": [0.1, 5.0],
        "judge": {key: {"measure": measure, "at_least": bound} for key, (measure, bound) in RULES.items()},
    }
    rubric = {"pass_at": 0.5, "categories": {"service": 1.0}}
    for name, content in {"input-taxonomy": taxonomy, "flaw-taxonomy": flaws, "rubric": rubric, "scripted": scripted}.items():
        config.mkdir(parents=True, exist_ok=True)
        (config / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (prompts / "criteria").mkdir(parents=True)
    texts = {
        "user_simulator": ("persona, topics", "You are {{ persona.name }}, and ask a bakery about {% for t in topics %}{{ t.description }} {% endfor %}"),
        "user_opening": ("", "You write first."),
        "user_steering": ("topics, mood", "{{ mood }} Write of {% for t in topics %}{{ t.subtopic }} {% endfor %}"),
        "assistant": ("", "You answer for a bakery."),
        "system": ("", "You answer for a bakery, shortly."),
        "assessor": ("exchanges", "{% for exchange in exchanges %}{{ exchange.user }} {{ exchange.assistant }} {% endfor %}"),
        "assessor_question": ("criteria", "Judge each: {% for criterion in criteria %}{{ criterion.id }} {{ criterion.text }} {% endfor %}"),
    }
    for name, (inputs, text) in texts.items():
        (prompts / f"{name}.md").write_text(f"---\ninputs: [{inputs}]\n---\n{text}\n", encoding="utf-8")
    for key in RULES:
        head = {"id": key, "name": f"Rule {key}", "category": "service", "na": "allowed"}
        (prompts / f"criteria/{key}-rule.md").write_text(f"---\n{yaml.safe_dump(head)}---\nYES if it is so, NO if not.\n", encoding="utf-8")


def test_a_minimal_domain_written_from_scratch_yields_a_dataset(tmp_path, data_root, monkeypatch):
    write_bakery(tmp_path / "mine")
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(tmp_path / "mine"))
    assert load_pack("bakery").guards == load_pack("bakery", tmp_path / "mine").guards
    settings = write_settings(tmp_path, generation={"conversations": 8, "exchanges": None})

    async def run():
        batch = await generation("bakery", settings=settings)
        assessed = await assessment("bakery", batch=batch, settings=settings)
        return await dataset(assessed, "bakery", settings=settings)

    found = asyncio.run(run())
    assert found.repo == "understudy/bakery"
    assert found.examples + found.validation_examples >= 4
    read = [json.loads(path.read_text(encoding="utf-8")) for path in data_root.glob("transcripts/bakery/*.json")]
    assert {len(item["exchanges"]) for item in read} <= {3, 4, 5}
    assert all(item["system"] == "You answer for a bakery, shortly." for item in read)
    assert not [name for name in open_store().names("transcripts") if "therapeutic" in name]
