"""Tics: patterns match their examples only, and bounds work as docs/domain-packs.md describes."""

import pytest
import yaml

from core.errors import PackError
from core.packs.pack import load_pack
from tests.conftest import CHECKOUT

CORPUS = yaml.safe_load((CHECKOUT / "tests/core/packs/tic_corpus.yaml").read_text(encoding="utf-8"))
CASES = [(domain, name) for domain, figures in CORPUS.items() for name in figures]


@pytest.mark.parametrize("domain", CORPUS)
def test_every_tic_has_matching_and_non_matching_examples(domain):
    assert [figure.name for figure in load_pack(domain).tics.figures] == list(CORPUS[domain])
    assert all(min(len(item["found"]), len(item["plain"])) >= 2 for item in CORPUS[domain].values())


def test_the_coaching_pack_bounds_at_least_25_tics():
    assert len(load_pack("therapeutic-coaching").tics.figures) >= 25


@pytest.mark.parametrize(("domain", "name"), CASES)
def test_the_pattern_of_a_tic_matches_its_examples_only(domain, name):
    tics = load_pack(domain).tics
    assert [text for text in CORPUS[domain][name]["found"] if name not in tics.search(text)] == []
    assert [text for text in CORPUS[domain][name]["plain"] if name in tics.search(text)] == []


@pytest.mark.parametrize("text", ['"I hear you," he said, and left.', "> I hear you", "`i hear you`", "```\nprint('I hear you')\n```"])
def test_tics_in_quotations_and_code_are_ignored(text):
    assert "i_hear" not in load_pack("therapeutic-coaching").tics.search(text)


@pytest.mark.parametrize("text", ["I HEAR you.", "I *hear* you.", "That’s not nothing."])
def test_case_emphasis_and_the_kind_of_apostrophe_are_ignored(text):
    assert load_pack("therapeutic-coaching").tics.search(text)


@pytest.mark.parametrize(
    ("bound", "uses", "answers", "over"), [(0, 0, 0, True), (0.05, 0, 0, False), (0.05, 1, 19, True), (0.05, 1, 20, False), (1, 5, 5, False)]
)
def test_a_tic_may_be_used_once_and_then_within_its_share_of_answers(bound, uses, answers, over):
    figure = load_pack("therapeutic-coaching").tics.figures[0].model_copy(update={"answers": bound})
    assert figure.over(uses, answers) is over


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{name: a, example: Nothing., pattern: something, answers: 0.1, transcripts: 0.1}", "does not find its example"),
        ("{name: a, example: A., pattern: '(a', answers: 0.1, transcripts: 0.1}", "not a regular expression"),
        ("{name: a, example: Aa., pattern: '\\Qa', answers: 0.1, transcripts: 0.1}", "not a regular expression"),
        ("{name: a, example: A., pattern: 'b*', answers: 0.1, transcripts: 0.1}", "matches an empty text"),
        ("{name: a, example: A., pattern: a, answers: 2, transcripts: 0.1}", "answers"),
    ],
)
def test_loading_a_pack_names_an_invalid_tic(pack_copy, line, said):
    (pack_copy / "config/domains/therapeutic-coaching/tics.yaml").write_text(f"figures:\n  - {line}\n", encoding="utf-8")
    with pytest.raises(PackError, match=rf"tics\.yaml.*{said}"):
        load_pack("therapeutic-coaching", pack_copy)


def test_tics_help_and_note_are_optional_in_a_pack(pack_copy):
    for file in ("tics.yaml", "help.yaml"):
        (pack_copy / "config/domains/therapeutic-coaching" / file).unlink()
    (pack_copy / "prompts/therapeutic-coaching/assistant_note.md").unlink()
    pack, shipped = load_pack("therapeutic-coaching", pack_copy), load_pack("therapeutic-coaching")
    assert (pack.tics.figures, pack.note, pack.help.kinds) == ((), None, {})
    assert "tics" not in pack.instructions("assistant")
    assert {pack.hash, pack.judge_hash}.isdisjoint({shipped.hash, shipped.judge_hash})


@pytest.mark.parametrize("domain", CORPUS)
def test_the_scripted_assistant_has_no_tics(domain):
    pack = load_pack(domain)
    assert pack.phrases is not None
    said = pack.phrases.assistant.model_dump()
    sentences = [text for texts in said.values() if isinstance(texts, list) for text in texts if isinstance(text, str)]
    sentences += [text for topic in pack.phrases.topics.values() for text in (*topic.replies, *topic.experiments)]
    assert {text: found for text in sentences if (found := pack.tics.search(text))} == {}
