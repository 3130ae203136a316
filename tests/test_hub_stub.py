"""The stub of the Hub, used through the Hub's own clients (tests/hub_stub/visits.py): they must find what they would find on the Hub."""

import hashlib
import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.hub_stub.client import Hub, start_hub
from tests.hub_stub.visits import CARD, ROWS
from tests.jobs.conftest import run as python

TOKENS = {
    "hf_write": {"user": "me", "role": "write", "orgs": ["lab"]},
    "hf_read": {"user": "me", "role": "read"},
    "hf_fine": {"user": "me", "role": "fineGrained", "writes": ["me/fine"]},
    "hf_other": {"user": "somebody", "role": "write"},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with start_hub(tmp_path_factory.mktemp("hub"), tokens=TOKENS) as hub:
        yield hub


@pytest.fixture
def hub(running: Hub) -> Hub:
    running.faults()
    running.clear_log()
    return running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def published(running: Hub, home: Path) -> dict[str, Any]:
    return run(running, home, "publish")


def run(hub: Hub, home: Path, visit: str, *arguments: Any, xet: bool = False) -> Any:
    """Return what a visit of tests/hub_stub/visits.py finds; it runs in a separate process, forked from one that has imported the clients."""
    done = python("-m", "tests.hub_stub.visits", visit, json.dumps(arguments), changes=hub.environment(home, xet=xet))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_creating_a_repository_twice_gives_the_same_repository(hub, published):
    assert published["urls"] == [f"{hub.url}/datasets/me/coach"] * 2
    assert published["again"] == ["HfHubHTTPError", 409]
    assert published["private"] is True


def test_uploading_the_same_files_again_creates_no_commit(published):
    assert published["oids"] == [published["oids"][0]] * 2
    assert published["pushed"] == [published["pushed"][0]] * 2
    assert published["commits"] == ["Rows", "Rows", "initial commit"]


def test_a_commit_on_an_outdated_parent_is_refused(published):
    assert published["stale"] == [["HfHubHTTPError", 412]] * 2


def test_a_tag_cannot_be_moved(published):
    assert published["tags"] == {"run/1": published["oids"][0]}
    assert published["tagged"] == ["HfHubHTTPError", 409]


def test_downloaded_files_equal_the_uploaded_ones(published):
    assert published["files"] == published["expected"]
    assert set(published["snapshot"]) == {".gitattributes", "README.md", "data/train.parquet"}
    assert published["siblings"] == {
        ".gitattributes": [published["snapshot"][".gitattributes"], None],
        "README.md": [len(CARD), None],
        "data/train.parquet": [published["snapshot"]["data/train.parquet"], published["expected"][0]],
    }
    assert published["card"] == {"license": "mit"}


def test_datasets_loads_the_rows_that_were_published(published):
    assert published["loaded"] == [ROWS, ROWS]


def check_edits(found: dict[str, Any]) -> None:
    files = ["a/b/ü #?.txt", "a/c.txt", "d/e.gguf", "f.txt"]
    assert found["main"] == sorted([".gitattributes", "a", "a/b", "d", *files])
    assert sorted(found["side"]) == [".gitattributes", "d/e.gguf"]
    assert (found["folder"], found["asked"]) == (["a/b", "a/c.txt"], ["a", "a/c.txt"])
    assert (found["last"], found["text"], found["large"]) == (["initial commit", "All"], "a/b/ü #?.txt", "d/e.gguf")
    assert found["commits"] == ["Fewer", "All", "initial commit"]
    assert found["missing"] == ["RemoteEntryNotFoundError", 404]
    assert [name for name, _ in found["errors"]] == ["RemoteEntryNotFoundError", "RevisionNotFoundError", "RemoteEntryNotFoundError", "RevisionNotFoundError"]
    assert found["private"] is True
    assert found["deleted"] == [False, "RepositoryNotFoundError", 404]


def test_files_branches_and_listings_of_a_model(hub, home):
    check_edits(run(hub, home, "edit"))


@pytest.mark.slow
def test_long_lists_are_paged_and_large_files_come_from_another_address_without_the_token(tmp_path):
    with start_hub(tmp_path / "hub", tokens=TOKENS, page_size=2, cdn=True) as hub:
        check_edits(run(hub, tmp_path / "home", "edit"))
        log = hub.log()
        assert any("cursor=2" in entry["query"] for entry in log)
        assert [(entry["status"], entry["user"]) for entry in log if entry["path"].startswith("/_cdn/")] == [(200, None)]


@pytest.mark.slow
def test_each_token_sees_and_writes_only_what_it_may(hub, home):
    found = run(hub, home, "trespass")
    fine, forbidden, unknown, hidden = ["none", None], ["HfHubHTTPError", 403], ["HfHubHTTPError", 401], "RepositoryNotFoundError"
    assert found["who"] == [["me", "write"], ["me", "read"], ["me", "fineGrained"], ["somebody", "write"]]
    assert found["orgs"] == ["lab"]
    assert found["secret"] == [fine, [hidden, 404], [hidden, 401], unknown]
    assert found["file"] == [hidden, 404]
    assert found["open"] == [fine] * 3
    assert found["upload"] == [forbidden, forbidden, [hidden, 404], unknown, unknown]
    assert found["fine"] == [fine, forbidden]
    assert found["create"] == [forbidden, forbidden, unknown, unknown, forbidden]


@pytest.mark.parametrize("name", ["a--b", "a..b", ".a", "a-", "a b", "a/b", "ü", "a.git", "", "a" * 97])
def test_a_name_that_the_hub_does_not_allow_is_refused(hub, name):
    answer = httpx2.post(f"{hub.url}/api/repos/create", json={"name": name, "type": "dataset"}, headers={"authorization": "Bearer hf_write"})
    assert answer.status_code == 400
    assert "Invalid repo name" in answer.json()["error"] == answer.headers["x-error-message"]
    assert "a" * 96 not in name or httpx2.post(f"{hub.url}/api/repos/create", json={"name": "a" * 96}, headers={"authorization": "Bearer hf_write"}).is_success


def test_a_large_file_is_kept_only_if_it_has_the_announced_size_and_hash(hub, published):
    token, data, url = {"authorization": "Bearer hf_write"}, b"content", f"{hub.url}/datasets/me/coach.git/info/lfs"
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def ask() -> Any:
        return httpx2.post(f"{url}/objects/batch", json={"operation": "upload", "transfers": ["basic"], "objects": [wanted]}, headers=token).json()["objects"][
            0
        ]

    to = ask()["actions"]["upload"]["href"]
    assert [httpx2.put(to, content=wrong).status_code for wrong in (b"con", b"CONTENT")] == [400, 400]
    assert httpx2.put(to.replace("size=7", "size=3"), content=b"con").status_code == 403
    assert httpx2.post(f"{url}/verify", json=wanted, headers=token).status_code == 404
    lines = [{"key": "header", "value": {"summary": "x"}}, {"key": "lfsFile", "value": {"path": "x.bin", "algo": "sha256", **wanted}}]
    body = "\n".join(map(json.dumps, lines))
    assert httpx2.post(f"{hub.url}/api/datasets/me/coach/commit/main", content=body, headers=token).status_code == 400
    assert httpx2.put(to, content=data).status_code == 200
    assert httpx2.post(f"{url}/verify", json=wanted, headers=token).status_code == 200
    assert "actions" not in ask()


@pytest.mark.slow
@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_large_files_arrive_intact_by_xet_and_by_lfs(hub, tmp_path, xet):
    (tmp_path / "files").mkdir()
    found = run(hub, tmp_path / "home", "send", str(tmp_path / "files"), xet=xet)
    assert found["same"] is found["folder"] is True
    assert set(found["equal"].values()) == {True}
    ways = {way for entry in hub.log() for way in ("/v1/shards", "/_storage/") if entry["path"].startswith(way)}
    assert ways == {"/v1/shards" if xet else "/_storage/"}


def test_a_part_of_a_file_can_be_asked_for(hub, published):
    url, token = f"{hub.url}/datasets/me/coach/resolve/main/README.md", {"authorization": "Bearer hf_write"}
    part = httpx2.get(url, headers=token | {"range": "bytes=4-10"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, CARD[4:11], f"bytes 4-10/{len(CARD)}")
    assert httpx2.get(url, headers=token | {"range": f"bytes={len(CARD)}-"}).status_code == 416
    head = httpx2.head(url, headers=token | {"accept-encoding": "identity"})
    assert (head.headers["content-length"], head.content) == (str(len(CARD)), b"")


NETWORK = {"RemoteProtocolError", "ReadError"}
"""The client's errors for a closed connection; which one it raises depends on timing."""


@pytest.fixture(scope="module")
def suffered(running: Hub, home: Path) -> dict[str, Any]:
    running.clear_log()
    return run(running, home, "suffer", running.url) | {"log": running.log()}


@pytest.mark.slow
def test_a_call_whose_answer_is_lost_has_still_taken_effect(suffered):
    assert suffered["created"][0] in NETWORK
    assert suffered["created"][1:] == [True, ["none", None]]
    assert suffered["committed"][0] in NETWORK
    assert suffered["committed"][1:] == [True, True]
    assert suffered["tagged"][0] in NETWORK
    assert suffered["tagged"][1] == ["none", None]
    assert suffered["gateway"] == [["HfHubHTTPError", 504], True, True]
    assert [entry["status"] for entry in suffered["log"] if entry["fault"]][:3] == [None] * 3


def test_a_fault_occurs_as_often_as_it_was_set(suffered):
    assert suffered["error"] == ["HfHubHTTPError", 503]
    assert suffered["served"] == [["none", None]]
    asked = [entry["status"] for entry in suffered["log"] if entry["path"].endswith("/preupload/main")]
    assert (asked.count(503), asked[asked.index(503) + 1]) == (1, 200)
    assert suffered["dropped"] in NETWORK


def test_a_rate_limit_is_reported_as_the_client_reads_it(suffered):
    said, headers = suffered["limited"]
    assert "rate limit" in said
    assert (headers["retry-after"], headers["ratelimit"]) == ("7", '"api";r=0;t=7')


def test_a_download_that_breaks_off_is_resumed(suffered):
    assert suffered["resumed"] is True
    reads = [entry for entry in suffered["log"] if entry["method"] == "GET" and "/resolve/" in entry["path"]]
    assert [(entry["status"], entry["fault"]) for entry in reads] == [(200, True), (206, False)]


def test_a_fault_can_delay_an_answer(hub):
    hub.faults({"pattern": "whoami", "delay": 60, "times": 1})
    token = {"authorization": "Bearer hf_write"}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{hub.url}/api/whoami-v2", headers=token, timeout=httpx2.Timeout(10, read=0.1))
    assert httpx2.get(f"{hub.url}/api/whoami-v2", headers=token).json()["name"] == "me"


def test_a_fault_with_an_unknown_field_is_refused(hub):
    with pytest.raises(ValueError, match="Unknown fields"):
        hub.faults({"patern": "x"})


@pytest.mark.slow
def test_a_hub_that_is_killed_and_restarted_has_kept_everything(tmp_path):
    with start_hub(tmp_path / "hub") as hub:
        oid = run(hub, tmp_path / "home", "begin")
    with start_hub(tmp_path / "hub", port=hub.port) as again:
        found = run(again, tmp_path / "other", "go_on", oid)
        assert found["files"] == ["large", "small"]
        assert found["commits"] == found["expected"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            again.get("/api/datasets/me/kept", token=None)


def test_a_reset_leaves_an_empty_hub(tmp_path):
    with start_hub(tmp_path) as hub:
        assert httpx2.post(f"{hub.url}/api/repos/create", json={"name": "x"}, headers={"authorization": "Bearer hf_write"}).is_success
        assert json.loads(hub.get("/api/models/me/x"))["id"] == "me/x"
        hub.reset()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            hub.get("/api/models/me/x")
