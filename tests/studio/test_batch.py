"""The page of a batch: filters, figures, exports and comparisons."""

import csv
import io
import json

import pytest

from core.judging.intervals import difference_interval
from core.records import Exchange, Transcript
from core.views.batch_figures import figures_of, traits_in
from core.views.batches import open_batch
from core.views.choosing import Wanted, chosen
from tests.core.judged import PACK, conversation, panel, single
from tests.studio.kept import keep
from tests.studio.reading import read

ODD = Transcript(
    id="odd",
    persona={"name": "Odd", "dimensions": {"difficulty": "hard"}},
    exchanges=[Exchange(exchange_number=1, user="two  spaces", assistant="It’s fine,\nisn't it?")],
)
BATCH = [
    single(conversation("warm")),
    single(conversation("cold", 8), {"CQ9": "NO", "MT1": "NO"}, {"CQ9": [7], "MT1": [3]}),
    single(conversation("harm"), {"CQ8": "NO", "MT1": "NA", "MT7": "NA"}),
    single(conversation("weak"), {"MT1": "NO", "MT2": "NO", "MT3": "NO", "MT5": "NO", "CQ1": "NO"}),
    single(conversation("lost"), {"CQ1": "ERROR", "CQ9": "NO"}),
    single(ODD),
]
FILTERS = [
    ({"outcome": "fail"}, {"cold", "harm", "weak"}),
    ({"outcome": "incomplete"}, {"lost"}),
    ({"gate": "failed"}, {"cold", "harm", "lost"}),
    ({"gate": "none"}, {"warm", "weak", "odd"}),
    ({"criterion": "MT1", "answer": "NO"}, {"cold", "weak"}),
    ({"answer": "ERROR"}, {"lost"}),
    ({"text": "WARM 3"}, {"warm"}),
    ({"text": "it's fine, isn't"}, {"odd"}),
    ({"persona": "difficulty:hard"}, {"odd"}),
    ({"outcome": "fail", "gate": "none"}, {"weak"}),
    ({"outcome": "<script>"}, set()),
    ({"order": "nonsense", "view": "-1", "page": "x"}, {"warm", "cold", "harm", "weak", "lost", "odd"}),
]


@pytest.fixture
def batch(store):
    return keep(store, BATCH)


def rows(client, batch, **query):
    page = client.get(f"/batches/{batch}/rows.csv", params=query)
    return {row["id"] for row in csv.DictReader(io.StringIO(page.text))}


@pytest.mark.parametrize(("query", "names"), FILTERS)
def test_filters_work_alone_and_together(client, batch, query, names):
    shown = read(client.get(f"/batches/{batch}", params=query).text)
    assert {link.split("/")[4].split(".json")[0] for link in shown.links if link.startswith("/conversations/")} == names
    assert f"{len(names)} of 6 conversations" in shown.words
    assert rows(client, batch, **query) == names


def test_transcripts_are_sorted_by_score_and_incomplete_ones_do_not_count_as_zero(client, batch):
    shown = read(client.get(f"/batches/{batch}").text)
    order = [link.split("/")[4].split(".json")[0] for link in shown.links if link.startswith("/conversations/")]
    assert order[0] == "weak"
    assert "1, neither passed nor failed" in shown.words
    assert "40 % 2 of 5" in shown.words


def test_a_criterion_that_never_applied_counts_as_not_tested(store):
    never = [single(conversation(name), {"MT7": "NA"}) for name in ("one", "two")]
    found = open_batch(store, keep(store, never))
    lines = {line.id: line for line in figures_of(found, found.rows).criteria}
    assert str(lines["MT7"].yes) == "not tested"
    assert str(lines["MT1"].yes).startswith("100 % (2 of 2)")
    assert all(share.of == 0 for share in traits_in(found)["difficulty"].values())


def test_the_page_shows_a_criterion_that_never_applied_as_not_tested(client, store):
    name = keep(store, [single(conversation("one"), {"MT7": "NA"})])
    page = client.get(f"/batches/{name}").text
    row = page[page.index(">MT7</a>") :].partition("</tr>")[0]
    assert "not tested" in row
    assert "100" not in row


def test_a_repair_that_repaired_nothing_does_not_become_the_last_batch(client, store):
    name = keep(store, [single(conversation("one"), {"CQ9": "ERROR"})])
    empty = keep(store, [])
    home = client.get("/").text
    assert "1 assessment without an answer to every criterion" in home
    assert (name in home, empty in home, empty in client.get(f"/trend/{PACK.name}").text) == (True, False, False)
    assert "This batch has no conversations." in client.get(f"/batches/{empty}").text


def test_search_terms_are_marked_in_the_text(client, batch):
    assert "<mark>fine,\nisn&#39;t</mark>" in client.get(f"/batches/{batch}", params={"text": "FINE, isn’t"}).text


def test_each_panel_judges_own_verdicts_can_be_viewed(client, store):
    name = keep(
        store,
        [
            panel(conversation("agreed"), {}, one={}, two={}),
            panel(conversation("split"), {}, one={"CQ9": "NO"}, two={}),
            panel(conversation("minor"), {}, one={}, two=None),
        ],
    )
    assert rows(client, name, outcome="fail") == set()
    assert rows(client, name, outcome="fail", view="1") == {"split"}
    assert rows(client, name, outcome="pass", view="2") == {"agreed", "split"}
    assert rows(client, name, disagree="1") == {"split"}


def test_exports_contain_the_filtered_rows_and_no_formula(client, store):
    formula = conversation("=cmd|' /C calc'!A0")
    name = keep(store, [single(formula), single(conversation("plain"), {"MT1": "NO"})])
    table = client.get(f"/batches/{name}/rows.csv").text
    assert not any(cell.startswith(("=", "+", "@")) for row in csv.reader(io.StringIO(table)) for cell in row)
    lines = [json.loads(line) for line in client.get(f"/batches/{name}/rows.jsonl", params={"criterion": "MT1", "answer": "NO"}).text.splitlines()]
    assert [line["transcript"]["id"] for line in lines] == ["plain"]
    assert lines[0]["assessment"]["score"]["failed_checks"] == ["MT1"]


def test_the_whole_batch_can_be_downloaded_as_one_page(client, batch):
    page = client.get(f"/batches/{batch}/page.html")
    assert page.headers["content-disposition"].startswith("attachment")
    assert all(f'"{item.transcript.id}"' in page.text for item in BATCH)


def test_a_batch_is_read_once_and_reread_after_a_file_has_changed(store):
    name = keep(store, BATCH)
    first = open_batch(store, name)
    assert open_batch(store, name) is first
    row = next(row for row in first.rows if row.id == "warm")
    store.write_json(row.path, conversation("warm", user="Something else entirely."))
    assert "something else entirely" in next(one for one in open_batch(store, name).rows if one.id == "warm").plain
    store.remove(row.path)
    gone = open_batch(store, name)
    assert "warm" not in {one.id for one in gone.rows}
    assert row.path in gone.damaged


def test_a_batch_name_outside_the_data_root_is_refused(client):
    for name in ("..%2f..%2fetc%2fpasswd", "%2e%2e", "nothing"):
        assert client.get(f"/batches/{name}").status_code == 404
    for path in ("..%2f..%2fetc%2fpasswd", "transcripts/nothing.json", "/etc/passwd"):
        assert client.get(f"/conversations/{path}").status_code in (404, 422)


def test_two_batches_are_compared_with_the_interval_of_their_difference(client, store):
    before = keep(store, [single(conversation(f"b{number}"), {"MT1": "NO", "CQ9": "NO"}) for number in range(12)], "transcripts/before")
    after = keep(store, [single(conversation(f"a{number}")) for number in range(12)], "transcripts/after")
    words = read(client.get("/compare", params={"a": before, "b": after}).text).words
    low, high = difference_interval((0, 12), (12, 12))
    assert f"+100 {round(100 * low):+d} to {round(100 * high):+d}" in words
    assert "not independent" not in words
    assert "not independent" in read(client.get("/compare", params={"a": before, "b": before}).text).words


def test_the_interval_of_a_difference_matches_the_published_example():
    """Newcombe (1998), table II, example (a): 56/70 and 48/80."""
    low, high = difference_interval((48, 80), (56, 70))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_rows_can_be_filtered_without_the_page(store):
    found = open_batch(store, keep(store, BATCH))
    assert next(row.id for row in chosen(found, Wanted(order="-exchanges"))) == "cold"
    assert found.pack is PACK or found.pack == PACK
