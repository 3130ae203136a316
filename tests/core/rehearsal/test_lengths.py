"""Lengths of conversations in training data and evaluations: mean and spread."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from markdown_it import MarkdownIt

from core.packs.pack import load_pack
from core.rehearsal.fidelity import measure_fidelity
from core.rehearsal.lengths import Lengths, planned_evaluation_lengths, summarise_lengths
from core.rehearsal.personas import sample_batch
from core.reports.rehearsals import fidelity_markdown
from core.settings.pipeline import load_settings
from tests.conftest import CHECKOUT

PACK = load_pack("therapeutic-coaching", CHECKOUT)


@given(some.lists(some.integers(1, 100), min_size=1, max_size=60))
def test_quantiles_of_lengths_are_ordered_and_within_the_range(lengths):
    found = summarise_lengths(lengths)
    assert found
    assert found.conversations == len(lengths)
    assert min(lengths) <= found.p10 <= found.median <= found.p90 <= max(lengths)
    assert found.mean == pytest.approx(sum(lengths) / len(lengths))


def test_the_report_compares_the_lengths_of_batches_in_a_table():
    lengths = {name: Lengths(conversations=2, mean=4.5, p10=3, median=4.5, p90=6) for name in ("this batch", "evaluation, as planned")}
    page = MarkdownIt("commonmark").enable("table").render(fidelity_markdown(measure_fidelity(PACK, []), lengths=lengths))
    for name in lengths:
        assert f"<td>{name}</td>" in page
    assert "3, 4.5, 6" in page


def test_without_conversations_there_are_no_length_figures():
    assert summarise_lengths([]) is None


def test_by_default_evaluation_conversations_are_as_long_as_the_training_data():
    settings = load_settings("config/pipeline.yaml", CHECKOUT)
    assert settings.generation.exchanges is None
    assert settings.evaluation.lengths is None
    evaluated = summarise_lengths(planned_evaluation_lengths(PACK, settings))
    trained = summarise_lengths(one.exchanges for one in sample_batch(PACK, 0, settings.generation.conversations))
    assert evaluated
    assert trained
    assert evaluated.mean == pytest.approx(trained.mean, rel=0.2)


def test_lengths_in_the_settings_replace_those_of_the_pack():
    settings = load_settings("config/demo.yaml", CHECKOUT)
    assert set(planned_evaluation_lengths(PACK, settings)) == {settings.evaluation.exchanges}
