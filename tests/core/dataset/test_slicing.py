"""Slices are reproducible, end with an answer and stay within the token limit."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from core.dataset.slicing import OVERHEAD, SliceReport, Tokenizer, slice_points, slices, split_off
from core.packs.pack import load_pack
from core.records import Exchange, Transcript
from core.settings.pipeline import Slicing

DESIGN = Slicing(first=3, gap=(2, 5), max_tokens=120_000)
IDS = st.text(min_size=1, max_size=30)


def count(text):
    return len(text.split())


WORDS = Tokenizer("words", count)


def transcript(name, sizes):
    return Transcript(id=name, exchanges=[Exchange(exchange_number=n, user="u " * u + "?", assistant=f"a{n} " * a) for n, (u, a) in enumerate(sizes, 1)])


@given(IDS, st.integers(0, 120))
def test_slice_points_follow_the_documented_rules(name, length):
    points = slice_points(name, length, DESIGN)
    if length < 3:
        assert points == []
        return
    assert points[0] == 3
    assert points[-1] == length
    gaps = [b - a for a, b in itertools.pairwise(points)]
    assert all(2 <= gap <= 5 for gap in gaps[:-1])
    assert all(1 <= gap <= 5 for gap in gaps[-1:])  # the final exchange may come early
    assert points == slice_points(name, length, DESIGN)


def test_a_known_file_gives_the_same_slices_as_the_forerunner():
    # the rule of the design, written out a second time for a real id
    import hashlib
    import random

    name = "transcript_0000_20251228_000026"
    draw = random.Random(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
    expected, point = [3], 3
    while (point := point + draw.randint(2, 5)) <= 25:
        expected.append(point)
    assert slice_points(name, 25, DESIGN) == sorted({*expected, 25})


SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=30)


@given(IDS, SIZES, st.integers(60, 800))
def test_examples_stay_below_the_token_limit_by_dropping_the_earliest_exchanges(name, sizes, limit):
    settings = Slicing(first=3, gap=(2, 5), max_tokens=limit)
    report = SliceReport()
    made = list(slices([transcript(name, sizes)], lambda _: "be kind", settings, WORDS, report))
    for example in made:
        recount = sum(count(message["content"]) + OVERHEAD for message in example.messages)
        assert example.tokens == recount <= limit
        assert [message["role"] for message in example.messages] == ["system", *["user", "assistant"] * ((len(example.messages) - 1) // 2)]
        kept = (len(example.messages) - 1) // 2
        assert kept >= 3
        assert example.messages[-1]["content"].startswith(f"a{example.slice_point} ")
        assert example.first_exchange == example.slice_point - kept + 1
        if example.first_exchange > 1:  # one exchange more would not have fitted
            user, assistant = sizes[example.first_exchange - 2]
            assert example.tokens + user + 1 + assistant + 2 * OVERHEAD > limit
    assert len(made) + len(report.skipped) == len(slice_points(name, len(sizes), settings))
    assert report.too_short == ([name] if len(sizes) < 3 else [])


@given(st.lists(IDS, min_size=2, max_size=60, unique=True), st.floats(0.05, 0.5))
def test_the_split_is_by_transcript_and_neither_side_is_empty(names, share):
    chosen = split_off(names, share)
    assert 0 < len(chosen) < len(names)
    assert split_off(list(reversed(names)), share) == chosen


def test_a_large_dataset_is_split_in_the_requested_proportion():
    names = [f"t{number}" for number in range(2000)]
    assert abs(len(split_off(names, 0.15)) / 2000 - 0.15) < 0.03


def test_the_tokens_of_the_chat_template_are_counted():
    framed = Tokenizer("framed", count, system=10, user=3, assistant=7)
    (example,) = slices([transcript("t", [(1, 1)] * 3)], lambda _: "be kind", DESIGN, framed, SliceReport())
    # a message of the user has "u ?" and one of the assistant "a1"
    assert example.tokens == 2 + 10 + 3 * (2 + 3 + 1 + 7)


def test_a_greeting_is_context_and_is_never_learnt():
    greeted = transcript("greeted", [(5, 5)] * 12).model_copy(update={"opening": "Welcome back, friend."})
    whole, short = (
        list(slices([greeted], lambda _: "Be kind.", DESIGN.model_copy(update={"max_tokens": most}), WORDS, SliceReport())) for most in (9_000, 120)
    )
    for example in whole:
        assert [message["role"] for message in example.messages][:3] == ["system", "user", "assistant"]
        assert "Welcome back, friend." in example.messages[0]["content"]
        assert all("Welcome" not in message["content"] for message in example.messages[1:])
    assert any(example.first_exchange > 1 for example in short)
    assert all(("Welcome" in example.messages[0]["content"]) == (example.first_exchange == 1) for example in short)
    for example in [*whole, *short]:
        assert example.tokens == sum(WORDS.count(message["content"]) + 4 for message in example.messages)


def test_each_slice_names_the_crisis_services_of_its_personas_country_or_the_general_ones():
    pack = load_pack("therapeutic-coaching")
    assert pack.services
    countries = pack.services.countries
    personas = {"unknown": {"country": None}, "older": {"name": "A"}, "none": None, "elsewhere": {"country": "Ruritania"}, "odd": {"country": ["x"]}}
    personas |= {name: {"country": name} for name in countries}
    batch = [transcript(name, [(5, 5)] * 30).model_copy(update={"persona": persona}) for name, persona in personas.items()]
    cut = Slicing(first=3, gap=(2, 5), max_tokens=count(pack.system("ireland")) + 200)
    found = list(slices(batch, pack.system_of, cut, WORDS, SliceReport()))
    assert {example.first_exchange > 1 for example in found} == {True, False}
    for example in found:
        system = example.messages[0]["content"]
        assert countries.get(example.transcript_id, pack.services.unknown) in system
        assert system == (pack.system(example.transcript_id) if example.transcript_id in countries else pack.system())
