"""Personal data are replaced consistently within a conversation, and the report gives counts only."""

import re

from hypothesis import given
from hypothesis import strategies as st

from core.imports.scrubbing import Find, ScrubReport, scrub
from core.records import Exchange, Transcript

PATTERNS = {"NAME": r"Maria Gonzalez|Maria|Jenna|sarah", "PHONE": r"\+?\d[\d ]{6,}\d", "ACCOUNT": r"\d{8}"}


def find(text):
    return [Find(kind, *match.span()) for kind, pattern in PATTERNS.items() for match in re.finditer(pattern, text)]


def talk(*texts, **more):
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return Transcript(id="t", exchanges=[Exchange(exchange_number=n, user=u, assistant=a) for n, (u, a) in enumerate(pairs, 1)], **more)


def test_a_person_has_one_placeholder_even_by_a_part_of_the_name_or_if_undetected():
    report = ScrubReport()
    found = scrub(
        talk("I am Maria Gonzalez, call 0170 1234567.", "Hello Maria! Is Jenna there?", "GONZALEZ? Mrs Gonzalez, please. 01701234567", "Yes."), find, report
    )
    assert found.exchanges[0].user == "I am [NAME 1], call [PHONE 1]."
    assert found.exchanges[0].assistant == "Hello [NAME 1]! Is [NAME 2] there?"
    assert found.exchanges[1].user == "GONZALEZ? Mrs [NAME 1], please. [PHONE 1]"
    assert report.replaced == {"NAME": 4, "PHONE": 2}
    assert report.values == {"NAME": 2, "PHONE": 1}


def test_a_lower_case_name_does_not_remove_ordinary_words():
    assert scrub(talk("sarah said so", "Did Sarah? sarah, then."), find, ScrubReport()).exchanges[0].assistant == "Did Sarah? [NAME 1], then."


def test_unscanned_fields_are_removed():
    given_ = talk(
        "Hi.",
        "Hello.",
        opening="Welcome, Jenna!",
        persona={"name": "Jenna"},
        system="You talk to Jenna.",
        provenance={"source": "Jenna.json", "seed": 1, "claimed": {"by": "Jenna"}},
    )
    found = scrub(given_.model_copy(update={"id": "Jenna@example.com"}), find, ScrubReport())
    assert "Jenna" not in found.model_dump_json()
    assert (found.opening, found.provenance) == ("Welcome, [NAME 1]!", {"seed": 1})


@given(st.lists(st.sampled_from(["Maria", "Jenna", "12345678", "x", " ", "Maria Gonzalez", "+1 234 567 89"]), max_size=12))
def test_detected_personal_data_is_replaced_and_the_rest_stays(parts):
    text = "a" + ".".join(parts)
    found = scrub(talk(text, "b"), find, ScrubReport()).exchanges[0].user
    assert find(found) == []
    assert found.startswith("a")
