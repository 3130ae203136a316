"""Labelling in the studio is blind and concurrent, and loses no label."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.judging.golden import load_golden
from core.judging.labels import labels_of
from core.records import Answer
from tests.conftest import CHECKOUT
from tests.core.judged import PACK
from tests.studio.judged_batch import DUE, sampled

OWN = {"Origin": "http://127.0.0.1"}
SCRIPT = OWN | {"Accept": "application/json"}


@pytest.fixture
def name(store):
    return sampled(store)


def say(client, name, person, number, criterion, answer="YES", reason=""):
    sent = {"criterion": criterion, "answer": answer, "reason": reason}
    return client.post(f"/labels/{name}/by/{person}/{number}", json=sent, headers=SCRIPT)


def label_all(client, name, person, number, no=()):
    for key in DUE:
        assert say(client, name, person, number, key, "NO" if key in no else "YES").status_code == 200


def test_a_labelled_sample_ends_in_a_report_and_a_golden_conversation(client, store, name):
    assert "nothing to label" not in client.get("/labels").text
    drawn = client.post("/labels", data={"source": f"{PACK.name} batches/assessments-abc.json", "size": "4"}, headers=OWN, follow_redirects=False)
    assert drawn.headers["location"] == f"/labels/{name}"  # the same source and number give the same sample
    begun = client.post(f"/labels/{name}/begin", data={"person": "Anna Lee"}, headers=OWN, follow_redirects=False)
    assert begun.headers["location"] == f"/labels/{name}/by/Anna%20Lee/1"
    for number in range(1, 5):
        label_all(client, name, "Anna Lee", number)
    assert client.post(f"/labels/{name}/begin", data={"person": "anna lee"}, headers=OWN, follow_redirects=False).headers["location"].endswith("/1")
    learnt = client.get(f"/labels/{name}/learnt?person=Anna Lee").text
    assert "NO where you said YES in 4 of 4" in learnt
    assert "too few to say" in learnt.lower()
    made = client.post(f"/labels/{name}/golden", data={"person": "Anna Lee", "number": "2"}, headers=OWN)
    assert "Kept as a golden conversation" in made.text
    (golden,) = load_golden(PACK, store.local(f"own-golden/{PACK.name}/x").parent)
    assert golden.file.labels["person"]["CP2"] == "YES"


def test_a_labelling_page_does_not_reveal_the_judges_answers(client, name):
    for address in (f"/labels/{name}", f"/labels/{name}/by/Anna/1"):
        shown = client.get(address).text
        assert "scripted/judge" not in shown
        assert "<script>alert" not in shown
    label_all(client, name, "Anna", 1)
    early = client.get(f"/labels/{name}/learnt").text
    assert "no longer labels blind" in early
    assert "too strict" not in early


def test_simultaneous_labels_of_two_people_are_all_kept(client, store, name):
    work = [(person, number, key) for key in DUE for person in ("Anna", "Ben") for number in (1, 2)]
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda one: say(client, name, *one, answer="NO" if one[0] == "Ben" else "YES").status_code, work))
    assert set(codes) == {200}
    for person, answer in (("Anna", Answer.YES), ("Ben", Answer.NO)):
        given = labels_of(store, name, person, PACK.rubric).answers
        assert len(given) == 2
        assert all(answers == dict.fromkeys(DUE, answer) for answers in given.values())


def test_labelling_works_without_scripts(client, store, name):
    sent = client.post(f"/labels/{name}/by/Anna/1", data={"criterion": "CP2", "answer": "NO", "reason": "Wooden."}, headers=OWN)
    assert 'value="NO" class="answer NO" aria-pressed="true"' in sent.text
    assert ">Wooden.</textarea>" in sent.text
    taken = client.post(f"/labels/{name}/by/Anna/1/undo", headers=OWN)
    assert 'value="NO" class="answer NO" aria-pressed="true"' not in taken.text


@pytest.mark.parametrize(
    ("address", "sent", "code"),
    [
        ("by/Anna/1", {"criterion": "CP2", "answer": "MAYBE"}, 422),
        ("by/Anna/1", {"criterion": "XX", "answer": "YES"}, 422),
        ("by/Anna/1", {"criterion": "CP2", "reason": "x" * 5000}, 422),
        ("by/Anna/9", {"criterion": "CP2", "answer": "YES"}, 404),
        ("by/%20/1", {"criterion": "CP2", "answer": "YES"}, 422),
        ("by/Anna/1", {"criterion": ["CP2"]}, 422),
        ("by/Anna/1", {"criterion": "CP2", "reason": "x" * 300_000}, 413),
        ("by/Anna/1", {"criterion": "CP2", "reason": "half of an emoji \ud83d"}, 422),
        ("by/Anna/1", {"criterion": "CP2", "reason": "\0"}, 422),
        (f"by/Anna/{'9' * 5000}", {"criterion": "CP2", "answer": "YES"}, 404),
        ("golden", {"person": "Anna", "number": "9" * 5000}, 422),
    ],
)
def test_an_invalid_label_is_refused_with_the_reason(client, store, name, address, sent, code):
    refused = client.post(f"/labels/{name}/{address}", content=json.dumps(sent), headers=SCRIPT | {"Content-Type": "application/json"})
    assert refused.status_code == code
    assert "Traceback" not in refused.text
    assert client.post("/labels/none/by/Anna/1", json={}, headers=SCRIPT).status_code == 422


def test_a_label_sheet_can_be_exported_and_imported(client, store, name):
    label_all(client, name, "Anna", 1)
    label_all(client, name, "Ben", 1, no=("CQ1",))
    sheet = client.get(f"/labels/{name}/sheet.csv").content.replace(b'"NO"', b'"YES"')
    taken = client.post(f"/labels/{name}/sheet.csv", content=sheet, headers=SCRIPT)
    assert taken.json()["said"] == f"{len(DUE)} labels of Anna; {len(DUE)} labels of Ben were stored."
    assert labels_of(store, name, "Ben", PACK.rubric).answers == labels_of(store, name, "Anna", PACK.rubric).answers
    assert client.post(f"/labels/{name}/sheet.csv", content=b"nonsense", headers=SCRIPT).status_code == 422


def test_a_killed_studio_loses_no_confirmed_label(store, name):
    environment = {**os.environ, "UNDERSTUDY_DATA": store.root}
    words = [sys.executable, "-u", "-m", "flows.terminal", "studio", "--port", "0", "--no-open"]
    process = subprocess.Popen(words, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)
    confirmed = set()
    try:
        assert process.stdout
        link = process.stdout.readline().split()[-1].rstrip("/")

        def send(one):
            number, key = one
            data = json.dumps({"criterion": key, "answer": "NO", "reason": f"{key} {number}"}).encode()
            headers = {"Origin": link, "Accept": "application/json", "Content-Type": "application/json"}
            try:
                urllib.request.urlopen(urllib.request.Request(f"{link}/labels/{name}/by/Anna/{number}", data, headers), timeout=20).close()
            except (OSError, urllib.error.URLError):
                return
            confirmed.add(one)
            if len(confirmed) == 20:
                process.send_signal(signal.SIGKILL)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, [(number, key) for key in DUE for number in range(1, 5)]))
    finally:
        process.kill()
        process.wait()
    assert 20 <= len(confirmed) < 4 * len(DUE)
    kept = labels_of(store, name, "Anna", PACK.rubric)
    ids = {number: json.loads(store.read(f"labels/{name}/conversations/{number}.json"))["id"] for number in range(1, 5)}
    for number, key in confirmed:
        assert kept.answers[ids[number]][key] is Answer.NO
        assert kept.reasons[ids[number]][key] == f"{key} {number}"
