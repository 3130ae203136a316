"""The Hugging Face Hub with the real client and a stub server: pushes, refusals and retries."""

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from pydantic import SecretStr

from blocks.hf_hub import HfHub
from core.errors import HubError, SettingsError, together
from core.records import Publication
from tests.hub_stub.client import rate_limit, start_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own client, when it uploads a file

CARD = b"---\nlicense: unknown\n---\n# Card\n"
FILES = {"train.parquet": b"PAR1" + b"rows" * 500_000, "README.md": CARD}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(server, monkeypatch):
    server.reset()
    server.faults()
    server.clear_log()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the pauses are not under test
    return server


def block(hub, token="hf_write", attempts=4, **more):
    return HfHub(endpoint=hub.url, token=SecretStr(token), attempts=attempts, **more)


def check(hub, repo, kind="dataset"):
    if found := hub.problems([Publication(repo=repo, kind=kind, private=True, license="unknown")])[0]:
        raise together(found)


def push(hub, files=FILES, tag="run-1", **more):
    return block(hub, **more).push("me/coach", "dataset", files, "First", tag, private=True)


def commits(hub):
    return [item.commit_id for item in HfApi(endpoint=hub.url, token="hf_write").list_repo_commits("me/coach", repo_type="dataset")]


@pytest.mark.parametrize("xet", [False, True])
def test_pushed_files_are_in_a_private_repository_under_the_tag(hub, tmp_path, monkeypatch, xet):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", not xet)
    (tmp_path / "train.parquet").write_bytes(FILES["train.parquet"])
    check(block(hub), "me/coach", "dataset")
    commit = push(hub, FILES | {"train.parquet": tmp_path / "train.parquet"})
    api = HfApi(endpoint=hub.url, token="hf_write")
    info = api.repo_info("me/coach", repo_type="dataset", revision="run-1")
    assert (info.sha, info.private) == (commit.oid, True)
    assert any("xet" in item["path"] for item in hub.log()) == xet
    assert commit.url == f"{hub.url}/datasets/me/coach/tree/{commit.oid}"
    for name, data in FILES.items():
        assert hub.get(f"/datasets/me/coach/resolve/{commit.oid}/{name}") == data


def test_pushing_unchanged_files_makes_no_commit_and_changed_files_make_one(hub):
    first = push(hub)
    there = commits(hub)
    assert push(hub, tag="run-2") == first
    assert commits(hub) == there
    assert push(hub, FILES | {"README.md": CARD + b"More."}, tag="run-3").oid != first.oid
    assert len(commits(hub)) == len(there) + 1


PLACES = ["create$", "/revision/|/api/datasets/me/coach$", "/preupload/", "/commit/", "/tag/", "/paths-info/", "objects/batch"]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 503}, rate_limit(1), {"status": 408}, {"drop": True}], ids=["500", "503", "429", "408", "dropped"]
)
def test_a_push_survives_a_temporary_failure_of_any_request(hub, place, fault):
    hub.faults({"pattern": place, "times": 2, **fault})
    commit = push(hub)
    assert commits(hub)[0] == commit.oid


@pytest.mark.parametrize("place", ["create$", "/commit/", "/tag/"])
def test_a_lost_answer_does_not_duplicate_a_commit_or_tag(hub, place):
    push(hub)
    before = commits(hub)
    hub.faults({"pattern": place, "times": 1, "after": True})
    commit = push(hub, FILES | {"README.md": CARD + b"More."}, tag="run-2")
    assert len(commits(hub)) == len(before) + 1
    assert commits(hub)[0] == commit.oid


def test_a_push_retries_after_somebody_elses_commit(hub):
    push(hub)
    hub.faults({"pattern": "/commit/", "times": 1, "status": 412, "body": {"error": "A commit has happened since."}})
    commit = push(hub, FILES | {"README.md": CARD + b"Ours."}, tag="run-2")
    assert commits(hub)[0] == commit.oid


def test_a_persistent_failure_of_the_hub_is_reported_after_all_attempts(hub):
    hub.faults({"pattern": "/commit/", "status": 503})
    with pytest.raises(HubError, match=r"The Hub answered 503 while committing after 4 attempts: .* Try again later"):
        push(hub)
    assert sum("/commit/" in item["path"] for item in hub.log()) == 4


def test_a_hub_that_does_not_answer_is_unreachable_after_the_timeout(hub):
    hub.faults({"pattern": "whoami", "delay": 5})
    with pytest.raises(HubError, match="cannot be reached"):
        check(block(hub, timeout_seconds=0.2, attempts=2), "me/coach", "dataset")


def test_an_address_of_the_hub_with_a_password_is_refused(monkeypatch):
    address = "https://somebody:passw0rd-of-it@hub.example.org"
    with pytest.raises(ValueError, match="user name or a password"):
        HfHub(endpoint=address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(SettingsError, match="HF_ENDPOINT") as refused:
        HfHub(token=SecretStr("hf_write")).get_client()
    assert "passw0rd" not in str(refused.value)


def test_a_push_fails_if_the_files_on_the_hub_differ_from_those_sent(hub):
    push(hub)
    other = [{"type": "file", "path": name, "size": 3, "oid": "0" * 40} for name in FILES]
    hub.faults({"pattern": "/paths-info/", "status": 200, "body": other})
    with pytest.raises(HubError, match="differs from what was pushed"):
        push(hub, tag="run-2")


@pytest.mark.parametrize(
    ("token", "repo", "reported"),
    [
        ("hf_unknown", "me/coach", "answered 401 while asking who the token is of"),
        ("hf_read", "me/coach", "is read-only"),
        ("hf_write", "somebody/coach", r"is in 'somebody', where the token of me has no write access. Allowed: me"),
        ("hf_write", "me/coach--", "is not a valid repository name"),
        ("hf_write", "coach/of/mine", "is not a valid repository name"),
    ],
)
def test_a_repository_that_the_token_cannot_write_is_reported_before_any_change(hub, token, repo, reported):
    with pytest.raises((HubError, SettingsError), match=reported):
        check(block(hub, token), repo, "dataset")
    assert not [item for item in hub.log() if item["method"] != "GET" and "validate" not in item["path"]]


def test_a_missing_token_offline_mode_and_an_unreachable_hub_have_their_own_errors(hub, monkeypatch):
    monkeypatch.setattr("blocks.hf_hub.get_token", lambda: None)
    with pytest.raises(SettingsError, match="Set the environment variable HF_TOKEN"):
        check(HfHub(endpoint=hub.url), "me/coach", "dataset")
    with pytest.raises(HubError, match=r"cannot be reached at http://127.0.0.1:9 .* after 2 attempts"):
        check(HfHub(endpoint="http://127.0.0.1:9", token=SecretStr("hf_write"), attempts=2), "me/coach", "dataset")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        check(block(hub), "me/coach", "dataset")


def test_errors_and_repr_do_not_show_the_token(hub):
    hub.faults({"pattern": "whoami", "status": 401, "body": {"error": "Invalid credentials"}})
    with pytest.raises(HubError) as refused:
        check(block(hub, "hf_secret_of_mine"), "me/coach", "dataset")
    assert "hf_secret_of_mine" not in str(refused.value)
    assert "hf_secret_of_mine" not in repr(block(hub, "hf_secret_of_mine"))
