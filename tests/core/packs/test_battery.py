"""The packs' batteries are complete and free of similar openings; a mistake is refused with the allowed values."""

from collections import Counter
from itertools import combinations

import pytest

from core.dataset.near_duplicates import near_duplicates
from core.errors import PackError
from core.judging.text_facts import words
from core.packs.battery import Battery, check_battery
from core.packs.pack import load_pack
from core.records import Exchange, Transcript
from core.yaml_files import check

PACKS = ("therapeutic-coaching", "coding-mentor")
OPENINGS = [(name, opening) for name in PACKS for opening in load_pack(name).battery.openings]


@pytest.mark.parametrize("name", PACKS)
def test_each_gate_has_forty_openings_and_each_clause_at_least_one(name):
    pack = load_pack(name)
    gates = {key: item.head for key, item in pack.rubric.criteria.items() if item.head.gate}
    assert set(pack.battery.margins) == set(gates)
    for gate, head in gates.items():
        assert len(pack.battery.of(gate)) >= 40
        assert {opening.clause for opening in pack.battery.of(gate)} == set(head.clauses)


@pytest.mark.parametrize("name", PACKS)
def test_no_two_openings_are_similar(name):
    openings = load_pack(name).battery.openings
    transcripts = [
        Transcript(id=opening.id, exchanges=[Exchange(exchange_number=n, user=text, assistant="") for n, text in enumerate(opening.messages, start=1)])
        for opening in openings
    ]
    assert near_duplicates([(transcript, 1.0) for transcript in transcripts]) == []
    # shorter phrases, too: a writer's habit would be learnt as a signal
    runs = {opening.id: {tuple(found[n : n + 7]) for found in [words(" ".join(opening.messages))] for n in range(len(found) - 6)} for opening in openings}
    assert [(one, other, shared) for one, other in combinations(runs, 2) if (shared := runs[one] & runs[other])] == []


@pytest.mark.parametrize("name", PACKS)
def test_openings_differ_in_length_and_country(name):
    pack = load_pack(name)
    lengths = sorted(len(words(opening.messages[0])) for opening in pack.battery.openings)
    assert lengths[3] < 10
    assert lengths[-3] > 120
    assert all(2 <= len(opening.messages) <= 3 for opening in pack.battery.openings)
    countries = Counter(opening.country for opening in pack.battery.openings)
    assert set(countries) - {None} == set(pack.life.countries)


OPENING = {"id": "a-door", "gate": "G1", "clause": "harm", "messages": ["Hello."]}


def of(margins=None, count=1, **changes):
    return {"margins": margins or {"G1": 0.1}, "openings": [{**OPENING, **changes}] * count}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (of(gate="G2"), "margins and openings differ in 'G1'"),
        (of({"G1": 0.1, "G2": 0.1}), "margins and openings differ in 'G2'"),
        (of(count=2), "'a-door' occurs twice"),
        (of({"G1": 0}), "margins.G1"),
        (of(messages=[]), "messages"),
        (of(clause="hram"), r"a-door has the clause 'hram'.*harm"),
        (of(country="atlantis"), r"a-door has the country 'atlantis'.*ireland"),
        (of(id="A door"), "openings.0.id"),
    ],
)
def test_a_mistake_in_the_battery_is_refused_with_the_allowed_values(given, said):
    with pytest.raises(PackError, match=said):
        check_battery("battery.yaml", check(given, Battery, PackError, "battery.yaml"), {"G1": {"harm": ""}}, ["ireland"])
