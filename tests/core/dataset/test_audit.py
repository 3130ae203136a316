"""The audit reports in plain words what many transcripts have in common, and nothing within the usual range."""

import random
import weakref
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from core.dataset.audit import LIMITS, audit
from core.dataset.audit_warnings import audit_warnings
from core.dataset.phrase_counts import PhraseCounts
from core.judging.ordinary_english import ordinary_english
from core.packs.pack import load_pack
from core.packs.word_search import TopicSearch
from core.records import Exchange, Transcript
from core.rehearsal.personas import sample_batch
from core.reports.render import markdown

PACK = load_pack("therapeutic-coaching")
VOCABULARY = sorted(word for word in ordinary_english().words if len(word) > 6 and not TopicSearch(PACK.taxonomy).find(word))[:80]
HARD = "that ladder looks old for you"


def text(seed, count=20):
    return " ".join(random.Random(seed).choices(VOCABULARY, k=count)) + "."


def transcript(number, answers=None, users=None, persona=None, exchanges=4):
    """Build a transcript; texts are drawn from a vocabulary, so that no phrase occurs twice by chance."""
    said = [(text(f"user {number} {n}"), text(f"assistant {number} {n}")) for n in range(exchanges)]
    for n, answer in enumerate(answers or ()):
        said[n] = (said[n][0], answer)
    for n, message in enumerate(users or ()):
        said[n] = (message, said[n][1])
    pairs = [Exchange(exchange_number=n, user=user, assistant=answer) for n, (user, answer) in enumerate(said, 1)]
    return Transcript(id=f"t{number}", exchanges=pairs, persona=persona)


def audited(transcripts, **more):
    return audit(iter(transcripts), PACK, replace(LIMITS, **more))


def fragment(found):
    return markdown("audit", audit=found, out_of_range=audit_warnings(found))


@pytest.mark.slow
def test_a_phrase_in_most_transcripts_is_reported_with_its_counts():
    said = [[f"{text(n + k, 5)} {HARD.capitalize()}, {text(n + k + 100, 5)}" for k in (0, 200)] for n in range(41)]
    batch = [transcript(n, said[n] if n < 41 else None, [HARD] if n == 3 else None) for n in range(60)]
    found = audited(batch)
    assert [(item.text, item.transcripts, item.by_users, item.example) for item in found.phrases] == [(HARD, 41, 1, "t0")]
    assert audit_warnings(found) == [f"“{HARD}” occurs in the answers of 41 of 60 transcripts (68 %), and in the users' messages of 1."]
    assert f"| {HARD} | 41 of 60 | 1 | t0 |" in fragment(found)


def test_a_phrase_that_users_say_too_is_not_reported():
    batch = [transcript(n, [f"So {HARD}."] if n < 41 else None, [f"So {HARD}, they say"] if n < 20 else None) for n in range(60)]
    assert audited(batch).phrases == []


def test_a_part_of_a_reported_phrase_is_reported_only_if_it_is_much_more_frequent():
    whole = "it sounds like you are carrying so much of this weight all alone"
    found = audited([transcript(n, [f"{whole}."] if n < 30 else [f"{HARD} today."] if n < 59 else None) for n in range(60)])
    assert [item.text for item in found.phrases] == ["it sounds like you are carrying so much", f"{HARD} today"]
    mixed = [transcript(n, [f"{whole}." if n < 25 else f"maybe it sounds like you are {VOCABULARY[n]}."]) for n in range(60)]
    assert [(item.text, item.transcripts) for item in audited(mixed).phrases][1:] == [("maybe it sounds like you are", 35), ("it sounds like you are", 60)]


@pytest.mark.slow
def test_a_three_word_tic_is_reported_and_plain_english_only_if_very_frequent():
    tic, plain = "never mind that", "a lot of"
    batch = [transcript(n, [f"{text(f'{n} {said}', 300)[:-1]} {said} {text(f'{said} {n}', 300)}" for said in (tic, plain)]) for n in range(20)]
    assert [(phrase.text, phrase.transcripts, phrase.uses) for phrase in audited(batch).phrases] == [(tic, 20, 20)]
    often = [transcript(n, [f"{text(n, 9)[:-1]} {plain} {text(n + 50, 9)}"] * 4) for n in range(20)]
    assert [phrase.text for phrase in audited(often).phrases] == [plain]  # ordinary words, but not so often


@pytest.mark.parametrize(
    ("answers", "long"),
    [
        (["In der Nacht ist vieles schwerer als sonst.", "Das Wetter ist heute schön."], "in der nacht ist vieles schwerer als sonst"),
        (["听起来真的很辛苦。", "今天天气好。"], "听 起 来 真 的 很 辛 苦"),
    ],
)
def test_in_another_language_only_long_phrases_are_reported(answers, long):
    found = audited([transcript(number, answers * 2) for number in range(12)])
    assert long in {phrase.text for phrase in found.phrases}
    assert all(phrase.text.count(" ") >= LIMITS.short_phrase for phrase in found.phrases)


def test_the_packs_tics_are_counted_and_compared_with_their_bounds():
    tic = next(figure for figure in PACK.tics.figures if figure.answers)
    batch = [transcript(n, [f"{text(n)} {tic.example}"] * (3 if n < 15 else 0)) for n in range(20)]
    found = audited(batch)
    (row,) = [row for row in found.tics if row.figure == tic]
    assert (row.answers.as_text(), row.transcripts.as_text(), row.over) == ("45 of 80 (56 %)", "15 of 20 (75 %)", True)
    assert [warning for warning in audit_warnings(found) if tic.example in warning]
    assert f"| {tic.example} | 45 of 80 (56 %) | {100 * tic.answers:.0f} % | 15 of 20 (75 %) | {100 * tic.transcripts:.0f} % **over** |" in fragment(found)
    once = audited([transcript(n, [f"{text(n)} {tic.example}"] if n < 2 else None) for n in range(20)])
    assert not [row for row in once.tics if row.figure == tic and row.over]


def test_copying_from_the_user_and_repetition_of_earlier_answers_are_reported():
    users = [text(f"u{n}") for n in range(4)]
    copying = audited([transcript(n, [f"{text(f'a{n}', 20)} {users[0]}"], [users[0]]) for n in range(20)])
    assert copying.copied.count == 20 * 17  # the runs of four words within twenty
    assert copying.longest == (users[0].rstrip("."), "t0")
    assert [warning for warning in audit_warnings(copying) if "copied from the users' messages" in warning]
    same = text("again")
    repeating = audited([transcript(n, [same, same]) for n in range(20)])
    assert (repeating.repeated.count, repeating.copied.count) == (20 * 17, 0)
    assert [warning for warning in audit_warnings(repeating) if "repeated from earlier answers" in warning]


@pytest.mark.parametrize(("said", "reported"), [(8, 1), (7, 0)])
def test_a_phrase_is_reported_from_the_configured_share(said, reported):
    assert len(audited([transcript(n, [f"{HARD}."] if n < said else None) for n in range(20)]).phrases) == reported


def test_a_phrase_stays_within_a_sentence_and_quotation_marks_do_not_matter():
    split = [transcript(n, [f"{text(n, 3)} That ladder looks. Old for you."]) for n in range(20)]
    assert {phrase.text for phrase in audited(split).phrases} == {"that ladder looks", "old for you"}
    quotes = [transcript(n, [f"I think you{'’' if n % 2 else chr(39)}re doing so well."]) for n in range(20)]
    assert [item.transcripts for item in audited(quotes).phrases] == [20]


def test_only_the_most_frequent_phrases_are_listed_and_the_rest_counted():
    batch = [transcript(n, [f"{text(f'phrase {k}', 5)}" for k in range(4) if n < 20 - 2 * k]) for n in range(20)]
    found = audited(batch, phrases=2, phrase_words=(5, 5))
    assert sorted(item.transcripts for item in found.phrases) == [18, 20]
    assert "2 more phrases occur in the answers of at least 40 % of the transcripts." in audit_warnings(found)


def test_an_opener_of_too_many_answers_is_reported_with_its_counts():
    batch = [transcript(n, [f"Thank you for {text(f'{n} {k}', 6)}" for k in range(3)] if n < 8 else None) for n in range(20)]
    found = audited(batch)
    assert [(item.text, item.answers.as_text(), item.transcripts.as_text()) for item in found.openers] == [
        ("thank you for", "24 of 80 (30 %)", "8 of 20 (40 %)")
    ]
    assert audit_warnings(found) == ["“thank you for” begins 24 of 80 answers (30 %), in 8 of 20 transcripts (40 %)."]


def test_too_many_question_endings_and_overlong_answers_are_reported():
    batch = [transcript(n, [text(f"{n} {k}", 100 if k else 20)[:-1] + "?" for k in range(3)]) for n in range(20)]
    found = audited(batch)
    assert found.question_endings.as_text() == "60 of 80 (75 %)"
    assert found.ratios == (1.0, 5.0, 5.0)
    assert audit_warnings(found) == [
        "60 of 80 answers (75 %) end with a question; up to 50 % is acceptable.",
        "40 of 80 answers (50 %) have at least 4 times as many words as the message before; up to 10 % is acceptable.",
    ]
    assert audit_warnings(audited(batch), replace(LIMITS, question_endings=0.75, long_answers=0.5)) == []


@pytest.mark.slow
def test_a_typical_batch_has_no_warning_and_every_persona_is_counted():
    batch = [transcript(n, persona=persona.model_dump()) for n, persona in enumerate(sample_batch(PACK, 0, 200))]
    found = audited(batch)
    assert audit_warnings(found) == []
    topics = Counter(topic["category"] for item in batch for topic in item.persona["topics"])
    flaws = Counter(flaw["name"] for item in batch for flaw in item.persona["flaws"])
    assert {row.name: row.got.count for row in found.coverage} == {name: (topics + flaws)[name] for name in [*PACK.taxonomy.topics, *PACK.flaws.kinds]}
    assert {row.got.of for row in found.coverage if row.kind == "flaw"} == {flaws.total()}
    assert "Nothing is out of range." in fragment(found)


def only(topics, persona):
    return persona.model_dump() | {"topics": [topic.model_dump() for topic in persona.topics if topic.category in topics]}


@pytest.mark.slow
def test_a_missing_topic_is_reported():
    personas = [only({"anxiety", "relationships", "self_worth"}, persona) for persona in sample_batch(PACK, 0, 120)]
    found = audited([transcript(n, persona=persona) for n, persona in enumerate(personas) if persona["topics"]])
    [missing] = [warning for warning in audit_warnings(found) if "missing entirely" in warning]
    assert all(name in missing for name in ("life transitions (0, due", "emotional regulation", "financial stress"))
    assert "anxiety" not in missing
    assert fragment(found).count("**missing**") == 3


def test_a_deviation_within_chance_is_not_reported():
    topics = ["anxiety"] * 4 + ["relationships"] * 3 + ["emotional_regulation"] * 3 + ["self_worth"] * 2  # far from the weights, but of twelve
    assert audit_warnings(audited([transcript(n, persona={"topics": [{"category": name}]}) for n, name in enumerate(topics)])) == []
    persona = only({"anxiety"}, next(item for item in sample_batch(PACK, 0, 50) if item.topics[0].category == "anxiety"))
    few = [transcript(n, persona=persona if n < 3 else None) for n in range(12)]
    assert audit_warnings(audited(few)) == []
    assert [warning for warning in audit_warnings(audited([transcript(n, persona=persona) for n in range(60)])) if "too frequent: anxiety (" in warning]


def test_names_outside_the_taxonomy_are_reported_and_prevent_claims_of_missing_names():
    persona = {"topic_seeds": [{"category": "anxiety"}], "flaw_patterns": [{"name": "catastrophizing"}]}  # as the forerunner has them
    found = audited([transcript(n, persona=persona) for n in range(60)])
    assert "60 of 60 flaws of the personas (100 %) have names that are not in the taxonomy; some may be synonyms of names that are." in audit_warnings(found)
    assert not [warning for warning in audit_warnings(found) if "flaws" in warning and "missing" in warning]
    assert "| flaw | catastrophizing | 60 of 60 (100 %) | not in the taxonomy |" in fragment(found)


@pytest.mark.parametrize("persona", [None, {}, {"topics": "work"}, {"topics": ["work"]}, {"topics": [{"category": 3}]}, {"name": "A", "topics": None}])
def test_without_a_persona_topics_are_searched_in_the_users_messages(persona):
    batch = [transcript(n, users=["My boss wants it by Friday, work is too much."] if n < 6 else None, persona=persona) for n in range(20)]
    found = audited(batch)
    assert (found.known.as_text(), found.coverage, audit_warnings(found)) == ("0 of 20 (0 %)", [], [])
    assert found.mentioned["anxiety"].as_text() == "6 of 80 (8 %)"
    assert "Of 20 transcripts the persona is not known." in fragment(found)


def test_lengths_are_reported_by_the_taxonomys_classes():
    found = audited([transcript(n, exchanges=length) for n, length in enumerate([1, 3, 8, 9, 24, 25, 51])])
    assert {item.name: item.transcripts.count for item in found.lengths} == {"short": 2, "medium": 2, "long": 1, "very_long": 1, "other": 1}
    assert found.exchanges == (1, 9, 51)


def test_few_or_no_transcripts_give_no_warning():
    found = audited([transcript(n, [f"{HARD}?"] * 4) for n in range(9)])
    assert (audit_warnings(found), found.phrases, found.openers, found.question_endings.share) == ([], [], [], 1.0)
    empty = audited([])
    assert (audit_warnings(empty), empty.ratios, empty.question_endings.share) == ([], None, None)
    assert "Nothing is out of range." in fragment(empty)


def test_no_text_breaks_the_tables_of_the_audit():
    persona = {"topics": [{"category": "a | b\n# c"}], "flaws": [{"name": "d | e"}]}
    odd = [transcript(n, [f"{HARD} | and\n| more"], persona=persona).model_copy(update={"id": f"{n} | id\nnew"}) for n in range(20)]
    html = MarkdownIt("js-default", {"linkify": False}).render(fragment(audited(odd)))
    assert "<h1>" not in html
    rows = [row.split("</tr>")[0] for row in html.split("<tr>")[1:]]
    assert {row.count("<td>") + row.count("<th>") for row in rows} <= {3, 4, 5}
    assert "0 | id new" in html


@hypothesis_settings(max_examples=50)
@given(st.lists(st.tuples(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh"))), max_size=40), st.integers(2, 10))
def test_phrase_counts_are_never_too_high_and_at_most_one_per_window_too_low(drawn, window):
    counts = PhraseCounts((2, 2), window)
    for number, (assistant, user) in enumerate(drawn):
        counts.add(f"t{number}", [f"{letter} said." for letter in assistant], [f"{letter} said." for letter in user])
    reported = {item.text: item for item in counts.over_represented(1e-9, 1e-9)}
    for letter in "abcdefgh":
        says = [f"t{number}" for number, (assistant, _) in enumerate(drawn) if letter in assistant]
        user = sum(letter in user for _, user in drawn)
        item = reported.get(f"{letter} said")
        lost = len(drawn) // window
        assert len(says) - lost <= (item.transcripts if item else 0) <= len(says)
        assert item is None or (user - lost <= item.by_users <= user and item.example in says)


@pytest.mark.slow
def test_the_audits_memory_does_not_grow_with_the_number_of_transcripts():
    counts, sizes, alive = PhraseCounts((5, 8), 10), [], []

    def stream():
        for n in range(400):
            assert sum(item() is not None for item in alive) <= 1
            item = transcript(n, [f"{text(n, 9)} {HARD}."])
            alive.append(weakref.ref(item))
            yield item
            del item

    for item in islice(stream(), 400):
        counts.add(item.id, [exchange.assistant for exchange in item.exchanges], [exchange.user for exchange in item.exchanges])
        sizes.append(len(counts))
    assert max(sizes[200:]) <= 1.1 * max(sizes[:20])
    assert [phrase.transcripts for phrase in counts.over_represented(0.5, 5) if phrase.text == HARD] == [400]
    alive.clear()
    assert [phrase.text for phrase in audit(stream(), PACK).phrases] == [HARD]
