"""Every call of the Hub under every kind of faulty answer: it succeeds once or fails with one clear error."""

from contextlib import suppress

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import JobNotFoundError, RepositoryNotFoundError
from pydantic import SecretStr

from blocks.hf_hub import HfHub
from blocks.hf_job import HfJob
from core.errors import HubError, UnderstudyError
from core.records import Publication
from tests.blocks.test_hf_job import SCRIPT, job_resources, job_spec
from tests.hub_stub.client import rate_limit, start_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own client, when it uploads a file

PAGE = "<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"
FAULTS = {
    "a page with 500": {"status": 500, "body": PAGE},
    "a page with 200": {"status": 200, "body": PAGE},
    "half of some JSON": {"status": 200, "body": '{"id": "me/co'},
    "an empty object": {"status": 200, "body": {}},
    "null": {"status": 200, "body": "null"},
    "an answer that breaks off": {"cut": 5},
    "429": rate_limit(1),
    **{str(status): {"status": status} for status in (403, 404, 409, 412, 413)},
    "silence": {"delay": 0.2},
}
KINDS = [
    ["a page with 200", "half of some JSON", "an empty object", "null", "an answer that breaks off"],
    ["null", "an answer that breaks off", "a page with 200", "half of some JSON", "an empty object"],
    ["a page with 500", "429", "409", "412"],
    ["403", "404", "413"],
    ["silence"],
]
"""The faults by kind: unreadable (twice), temporary, permanent, and no answer."""
FILES = {"rows.bin": b"PAR1rows", "README.md": b"---\nlicense: unknown\n---\n# Card\n"}
NEWER = FILES | {"rows.bin": b"PAR1other rows"}
SILENCE = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(server, monkeypatch):
    server.faults()
    server.reset()
    server.clear_log()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the pauses are not under test
    return server


def place(hub, silence=60.0):
    return HfHub(endpoint=hub.url, token=SecretStr("hf_write"), attempts=2, timeout_seconds=silence)


def jobs(hub, silence=60.0):
    return HfJob(hub=place(hub, silence), namespace="me", settle_seconds=0)


def push(hub, files=FILES, tag="run-1", silence=60.0):
    return place(hub, silence).push("me/coach", "dataset", files, "Ours", tag, private=True)


def check_published(hub, commit, files, tag):
    """Check that the published files exist once, under their tag."""
    api = HfApi(endpoint=hub.url, token="hf_write")
    assert api.repo_info("me/coach", repo_type="dataset", revision=tag).sha == commit.oid
    for name, data in files.items():
        assert hub.get(f"/datasets/me/coach/resolve/{commit.oid}/{name}") == data
    there = [item.title for item in api.list_repo_commits("me/coach", repo_type="dataset")]
    assert there.count("Ours") == (1 if files is FILES else 2)


def with_each_fault(calls) -> pytest.MarkDecorator:
    """Pair each call with one fault of each kind; neighbouring calls get different faults."""
    pairs = [(call, kind[number % len(kind)]) for number, call in enumerate(calls) for kind in KINDS]
    return pytest.mark.parametrize(("call", "fault"), [(calls[call], FAULTS[fault]) for call, fault in pairs], ids=[" under ".join(pair) for pair in pairs])


def silence_of(fault):
    return SILENCE if "delay" in fault else 60.0


PUSHING = {
    "looking": ("GET", r"/api/datasets/me/coach$"),
    "making": ("POST", r"/repos/create$"),
    "checking the card": ("POST", r"/validate-yaml$"),
    "asking how to send": ("POST", r"/preupload/"),
    "announcing": ("POST", r"objects/batch"),
    "sending": ("PUT", r"/_storage/"),
    "committing": ("POST", r"/commit/"),
    "reading tags": ("GET", r"/refs$"),
    "tagging": ("POST", r"/tag/"),
    "reading back": ("POST", r"/paths-info/"),
}


@pytest.mark.slow
@with_each_fault(PUSHING)
def test_a_push_is_complete_or_reported_and_a_second_push_makes_no_duplicate(hub, call, fault):
    method, pattern = call
    hub.faults({"method": method, "pattern": pattern, **fault})
    with suppress(UnderstudyError):  # one sentence
        commit = push(hub, silence=silence_of(fault))
        hub.faults()
        check_published(hub, commit, FILES, "run-1")
    hub.faults()
    check_published(hub, push(hub), FILES, "run-1")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_push_whose_tag_cannot_be_moved_is_not_reported_as_done(hub, fault):
    push(hub)
    hub.faults({"method": "DELETE", "pattern": "/tag/", **fault})
    with suppress(HubError):
        commit = push(hub, NEWER, silence=silence_of(fault))
        hub.faults()
        check_published(hub, commit, NEWER, "run-1")
    hub.faults()
    check_published(hub, push(hub, NEWER), NEWER, "run-1")


ASKING = {
    "who it is": (r"whoami", lambda hub, silence, folder: place(hub, silence).account()),
    "whether it may write": (
        r"whoami|/me/coach|auth-check",
        lambda hub, silence, folder: place(hub, silence).problems([Publication(repo="me/coach", kind="dataset", private=True, license="mit")])[0],
    ),
    "a commit": (r"/revision/", lambda hub, silence, folder: place(hub, silence).commit_of("me/coach", "dataset", "run-1")),
    "a file": (r"/resolve/", lambda hub, silence, folder: place(hub, silence).fetch("me/coach", "dataset", "run-1", "rows.bin", folder)),
    "sizes": (r"/paths-info/", lambda hub, silence, folder: place(hub, silence).sums("me/coach", "dataset", "main", ["rows.bin"])),
    "machines": (r"/hardware$", lambda hub, silence, folder: jobs(hub, silence).offered()),
    "jobs": (r"/api/jobs/me$", lambda hub, silence, folder: jobs(hub, silence).find_jobs("a", "b")),
}


@pytest.mark.slow
@with_each_fault(ASKING)
def test_a_faulty_reply_of_the_hub_gives_the_right_answer_or_an_error(hub, tmp_path, call, fault):
    push(hub)
    pattern, ask = call
    wanted = ask(hub, 60.0, tmp_path / "before")
    hub.faults({"pattern": pattern, **fault})
    try:
        found = ask(hub, silence_of(fault), tmp_path / "now")
    except UnderstudyError:
        return
    said_so = isinstance(found, list) and found and all(isinstance(item, UnderstudyError) for item in found)
    if not said_so and "delay" not in fault:
        # an empty list of files cannot be distinguished from one that lacks them: then they are sent again
        nothing = not found and (fault.get("status") == 404 or fault.get("body") == {})
        assert found == wanted or nothing or "resolve" in pattern


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(("method", "pattern"), [("POST", r"/api/jobs/me$"), ("GET", r"/api/jobs/me$")], ids=["submitting", "looking for it"])
async def test_a_submission_under_a_fault_starts_one_job_or_is_an_error(hub, tmp_path, method, pattern, fault):
    hub.faults({"method": method, "pattern": pattern, **fault})
    with suppress(UnderstudyError):
        await jobs(hub, silence_of(fault)).trigger(job_spec(seconds=30), job_resources(), SCRIPT, tmp_path / "place")
    hub.faults()
    await jobs(hub).trigger(job_spec(seconds=30), job_resources(), SCRIPT, tmp_path / "place")
    assert len([job for job in hub.jobs() if job["status"]["stage"] != "CANCELED"]) == 1


async def test_after_an_unreadable_answer_the_submitted_job_is_looked_up(hub, tmp_path):
    hub.faults({"method": "POST", "pattern": r"/api/jobs/me$", "status": 200, "body": PAGE, "after": True, "times": 1})
    await jobs(hub).trigger(job_spec(seconds=30), job_resources(), SCRIPT, tmp_path / "place")
    assert len(hub.jobs()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(("method", "pattern"), [("POST", r"/cancel$"), ("GET", r"/api/jobs/me/[^/]+$")], ids=["cancelling", "looking whether it is"])
async def test_a_job_that_may_not_be_cancelled_is_reported_with_its_address(hub, tmp_path, caplog, method, pattern, fault):
    job = (await jobs(hub).trigger(job_spec(seconds=30), job_resources(), SCRIPT, tmp_path / "place")).job
    hub.faults({"method": method, "pattern": pattern, **fault})
    stopped = jobs(hub, silence_of(fault)).cancel_or_say(job)
    hub.faults()
    (now,) = hub.jobs()
    if stopped and fault.get("status") != 404:  # a job unknown to the service costs nothing
        assert now["status"]["stage"] == "CANCELED"
    if not stopped:
        assert f"may still run and cost. Cancel it at {job.url}" in caplog.text
        assert jobs(hub).cancel_or_say(job)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_faulty_reply_about_a_job_is_an_error_of_ours(hub, tmp_path, fault):
    job = (await jobs(hub).trigger(job_spec(seconds=30), job_resources(), SCRIPT, tmp_path / "place")).job
    hub.faults({"method": "GET", "pattern": r"/api/jobs/me/[^/]+$", **fault})
    with pytest.raises((HubError, JobNotFoundError)):
        jobs(hub, silence_of(fault)).look(job.id)


def test_a_card_refused_by_the_hub_is_reported_with_its_reason_and_not_sent_again(hub):
    reported = {"errors": [{"message": '"license" must be one of [apache-2.0, mit]'}], "warnings": []}
    hub.faults({"pattern": "/validate-yaml$", "status": 400, "body": reported})
    with pytest.raises(HubError, match=r'refuses what was sent while committing: .*"license" must be one of .* Correct that'):
        push(hub)
    assert sum("/validate-yaml" in item["path"] for item in hub.log()) == 1
    api = HfApi(endpoint=hub.url, token="hf_write")
    assert "Ours" not in [item.title for item in api.list_repo_commits("me/coach", repo_type="dataset")]


@pytest.mark.parametrize(
    ("raised", "reported"),
    [
        (ConnectionError("CAS is not reachable"), r"HF_HUB_DISABLE_XET=1"),
        (RuntimeError("Data processing error: CAS"), r"HF_HUB_DISABLE_XET=1"),
        (OSError("Consistency check failed: file should be of size 9"), r"response was incomplete while"),
        (PermissionError(13, "Permission denied", "/x"), r"cannot be read or written"),
        (KeyError("sha"), r"answer cannot be read"),
    ],
)
def test_other_exceptions_of_the_client_become_errors_with_advice(hub, monkeypatch, raised, reported):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    calls = []
    monkeypatch.setattr(HfApi, "create_commit", lambda *_, **__: calls.append(1) or fail())
    with pytest.raises(HubError, match=reported):
        push(hub)
    assert len(calls) == (1 if isinstance(raised, PermissionError) else 2)  # a file that cannot be read is not tried again
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.url, token="hf_write").repo_info("me/elsewhere")
