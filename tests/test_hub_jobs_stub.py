"""The stub's jobs, requested with the Hub's own client: they run as processes, end as on the service, and leave no process behind."""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub.constants
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, JobInfo, Volume
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, JobNotFoundError

from tests.hub_stub.client import Hub, rate_limit, start_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # raised by the Hub's client when it uploads a file

TOKENS = {
    "hf_write": {"user": "me", "role": "write", "orgs": ["lab"]},
    "hf_read": {"user": "me", "role": "read"},
    "hf_fine": {"user": "me", "role": "fineGrained", "writes": ["me/fine"]},
    "hf_jobs": {"user": "me", "role": "fineGrained", "writes": ["me"], "jobs": ["me"]},
    "hf_other": {"user": "somebody", "role": "write"},
}
BREATHE = "import time\nwhile True: time.sleep(0.05)\n"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
HOLD = f"{DEAF}import fcntl, sys\nfile = open(sys.argv[1], 'a')\nfcntl.flock(file, 2)\n"
"""Holds a lock while it runs, and ignores SIGTERM."""
NURSE = f"{DEAF}import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOLD + BREATHE!r}, sys.argv[1]])\n"
"""Has a child that holds the lock, and ignores SIGTERM, too."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with start_hub(tmp_path_factory.mktemp("hub"), tokens=TOKENS, page_size=2, grace_s=0.3) as hub:
        yield hub


@pytest.fixture
def hub(running: Hub) -> Hub:
    running.reset()
    return running


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)


def client(hub: Hub, token: str | bool = "hf_write") -> HfApi:
    return HfApi(endpoint=hub.url, token=token)


def submit(hub: Hub, *command: str, token: str | bool = "hf_write", namespace: str = "me", **more: Any) -> JobInfo:
    return client(hub, token).run_job(image="python:3.12", command=[*command], namespace=namespace, **more)


def python(hub: Hub, text: str, *words: str, **more: Any) -> JobInfo:
    return submit(hub, sys.executable, "-c", text, *words, **more)


def look(hub: Hub, job: JobInfo) -> JobInfo:
    return client(hub).inspect_job(job_id=job.id, namespace="me")


def finish(hub: Hub, job: JobInfo, *stages: Any) -> JobInfo:
    return client(hub).wait_for_job(job.id, namespace="me", poll_interval=0.05, timeout=60, stages=[*stages])


def lines(hub: Hub, job: JobInfo, follow: bool = True, tail: int | None = None) -> list[str]:
    return list(client(hub).fetch_job_logs(job_id=job.id, namespace="me", follow=follow, tail=tail))


def wait_until(what: Callable[[], Any]) -> None:
    for _ in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("the condition did not become true in time")


def is_held(lock: Path) -> bool:
    """Return whether a process holds the lock; a killed one does not, even if nobody has waited for it yet."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def hold(hub: Hub, lock: Path, **more: Any) -> JobInfo:
    """Start a job whose child holds a lock while it runs."""
    job = python(hub, NURSE, str(lock), **more)
    wait_until(lambda: lock.exists() and is_held(lock))
    return job


def put_files(hub: Hub, repo: str, files: dict[str, str], kind: str = "dataset", private: bool = False, token: str = "hf_write") -> str:
    """Commit files and return the commit."""
    api = client(hub, token)
    api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
    given = [CommitOperationAdd(path, text.encode()) for path, text in files.items()]
    return api.create_commit(repo, given, commit_message="Files", repo_type=kind).oid


def test_the_hardware_is_listed_with_prices_per_minute_and_memory(hub):
    there = {item.name: item for item in client(hub).list_jobs_hardware()}
    hourly = {"cpu-basic": 0.01, "cpu-upgrade": 0.03, "cpu-xl": 1, "cpu-performance": 1.9, "t4-small": 0.4, "l4x1": 0.8}
    hourly |= {"a10g-large": 1.5, "l40sx1": 1.8, "a100-large": 2.5, "h200": 5}
    assert {name: round(item.unit_cost_usd * 60, 2) for name, item in there.items()} == hourly
    assert {item.unit_label for item in there.values()} == {"minute"}
    memory = {name: item.accelerator.vram for name, item in there.items() if item.accelerator}
    assert memory == {"t4-small": "16 GB", "l4x1": "24 GB", "a10g-large": "24 GB", "l40sx1": "48 GB", "a100-large": "80 GB", "h200": "141 GB"}
    assert {item.accelerator.quantity for item in there.values() if item.accelerator} == {"1"}


def test_a_job_is_queued_runs_and_completes_and_its_log_is_kept(hub):
    job = python(hub, "import sys\nprint('out')\nprint('error', file=sys.stderr)\nprint('no end', end='')", labels={"key": "a-1"}, flavor="a100-large")
    assert (job.status.stage, job.started_at) == ("SCHEDULING", None)
    assert lines(hub, job) == ["out", "error", "no end"]
    done = finish(hub, job)
    assert (done.status.stage, done.status.message, done.flavor, done.secrets) == ("COMPLETED", None, "a100-large", [])
    assert done.created_at
    assert done.started_at
    assert done.finished_at
    assert done.created_at <= done.started_at <= done.finished_at
    assert (done.owner.name, done.owner.type, done.url) == ("me", "user", f"{hub.url}/jobs/me/{job.id}")
    assert (done.labels or {}).get("key") == "a-1"
    assert lines(hub, job) == lines(hub, job, follow=False) == ["out", "error", "no end"]
    assert [item["id"] for item in hub.jobs()] == [job.id]


def test_log_lines_arrive_while_the_job_runs(hub):
    job = python(hub, "print('first', flush=True)\n" + BREATHE)
    assert next(iter(client(hub).fetch_job_logs(job_id=job.id, namespace="me", follow=True))) == "first"
    assert look(hub, job).status.stage == "RUNNING"


def test_a_log_stream_begins_with_the_jobs_start_and_is_kept_alive_during_silence(tmp_path):
    with start_hub(tmp_path / "hub", keep_alive_s=0.1) as hub:
        url = f"{hub.url}/api/jobs/me/{python(hub, BREATHE).id}/logs"
        with httpx2.stream("GET", url, headers={"authorization": "Bearer hf_write"}, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            found = answer.iter_lines()
            first = next(json.loads(line.removeprefix("data: ")) for line in found if line.startswith("data: "))
            assert first["data"].startswith("===== Job started at ")
            assert ": keep-alive" in found


def test_a_log_of_any_bytes_is_reported_line_by_line(hub):
    text = r"write = __import__('sys').stdout.buffer.write; write(b'\xff\n\n10%\r20%\r\n'); write(b'x' * 300000 + b'\n'); write(b'same\n' * 3000)"
    said = lines(hub, python(hub, text))
    assert said[:3] == ["�", "", "10%\r20%"]
    assert said[3] == "x" * 300000
    assert said[4:] == ["same"] * 3000


def test_a_tail_returns_the_last_lines(hub):
    job = python(hub, "for n in range(5): print(n)")
    finish(hub, job)
    assert [lines(hub, job, tail=count) for count in (0, 2, 5, 9)] == [[], ["3", "4"], ["0", "1", "2", "3", "4"], ["0", "1", "2", "3", "4"]]
    assert lines(hub, job, follow=False, tail=2) == ["3", "4"]


@pytest.mark.parametrize("command", [[sys.executable, "-c", "raise SystemExit(3)"], ["sh", "-c", "kill -9 $$"], ["no-such-program"]])
def test_a_failed_job_reports_its_exit_code(hub, command):
    done = finish(hub, submit(hub, *command))
    code = {"sh": 137, "no-such-program": 127}.get(command[0], 3)
    assert (done.status.stage, done.status.message) == ("ERROR", f"Job failed with exit code: {code}")


def test_the_environment_of_a_job_has_its_machine_and_its_own_variables_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "of the person")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("UV_CACHE_DIR", "/kept")
    with start_hub(tmp_path / "hub", tokens=TOKENS) as hub:
        text = "import json, os; print(json.dumps(dict(os.environ)))"
        jobs = [python(hub, text, flavor=flavor, env={"MINE": 1, "OMP_NUM_THREADS": "3"}, secrets={"KEY": "k"}) for flavor in ("cpu-basic", "h200")]
        first, second = (json.loads(lines(hub, job)[0]) for job in jobs)
    assert [first["JOB_ID"], second["JOB_ID"]] == [job.id for job in jobs]
    assert (first["ACCELERATOR"], second["ACCELERATOR"]) == ("none", "H200")
    assert (first["CPU_CORES"], first["MEMORY"], first["HF_ENDPOINT"]) == ("2", "16Gi", hub.url)
    assert (first["MINE"], first["KEY"], first["OMP_NUM_THREADS"], first["UV_CACHE_DIR"]) == ("1", "k", "3", "/kept")
    assert (first["HF_HUB_OFFLINE"], first["HF_HUB_DISABLE_XET"]) == ("0", "1")
    assert first["HF_HOME"] != second["HF_HOME"] != os.environ["HF_HOME"]
    assert not {"HF_TOKEN", "PREFECT_API_URL"} & {*first, *second}
    assert not Path(first["HF_HOME"]).exists()


def test_the_pinned_revision_of_a_script_is_run(hub):
    pinned = put_files(hub, "me/scripts", {"train.py": "import sys; print('one', open(sys.argv[1]).read())", "data/x.txt": "x"}, private=True)
    put_files(hub, "me/scripts", {"train.py": "print('two')"})
    for revision, expected in ((pinned, "one x"), ("main", "two"), (None, "two")):
        volumes = [Volume(type="dataset", source="me/scripts", mount_path="/scripts", revision=revision)]
        command = ["uv", "run", "--with", "torch", "--python", "3.12", "/scripts/train.py", "/scripts/data/x.txt"]
        job = submit(hub, *command, volumes=volumes)
        assert lines(hub, job) == [expected]
        done = look(hub, job)
        assert (done.status.stage, done.command) == ("COMPLETED", command)
        assert [volume.revision for volume in done.volumes or ()] == [revision]


def test_only_paths_below_a_mount_path_refer_to_the_volume(hub):
    put_files(hub, "me/model", {"weights/a.bin": "a", "b.bin": "b"}, "model")
    volumes = [
        Volume(type="model", source="me/model", mount_path="/model"),
        Volume(type="model", source="me/model", mount_path="/model/inner", path="weights"),
    ]
    text = "import os, sys; print(*sys.argv[1:3]); print(*(sorted(os.listdir(place)) for place in (sys.argv[3], os.environ['PLACE'])))"
    job = python(hub, text, "/models/x", "a=/model", "/model/", env={"PLACE": "/model/inner"}, volumes=volumes)
    assert lines(hub, job) == ["/models/x a=/model", "['.gitattributes', 'b.bin', 'weights'] ['a.bin']"]


def test_a_job_can_push_to_the_hub_with_its_token(hub):
    text = """
import huggingface_hub
api = huggingface_hub.HfApi()
api.create_repo("me/made")
print(api.upload_file(path_or_fileobj=b"weights", path_in_repo="a.gguf", repo_id="me/made").oid)
"""
    job = python(hub, text, secrets={"HF_TOKEN": "hf_write"})
    assert finish(hub, job).status.stage == "COMPLETED", lines(hub, job)
    assert hub.get(f"/me/made/resolve/{lines(hub, job)[-1]}/a.gguf") == b"weights"


def test_only_the_names_of_secrets_are_shown(hub):
    job = python(hub, BREATHE, env={"OPEN": "seen"}, secrets={"HF_TOKEN": "hf_hidden", "OTHER": "hidden too"})
    again = client(hub).rerun_job(job_id=job.id, namespace="me")
    with pytest.raises(BadRequestError) as refused:
        submit(hub, "x", secrets={"a-b": "hidden"})
    token = {"authorization": "Bearer hf_write"}
    shown = [httpx2.get(f"{hub.url}/api/jobs/me{path}", headers=token).json() for path in ("", f"/{job.id}", f"/{again.id}")]
    assert [item["secrets"] for item in (*shown[0], *shown[1:])] == [["HF_TOKEN", "OTHER"]] * 4
    assert shown[1]["environment"] == {"OPEN": "seen"}
    assert "hidden" not in repr([job, again, shown, hub.log(), hub.jobs()]) + str(refused.value)


@pytest.mark.slow
def test_a_job_that_exceeds_its_time_limit_is_stopped_with_all_its_processes(hub, tmp_path):
    job = python(hub, NURSE, str(tmp_path / "lock"), timeout=2)
    done = finish(hub, job)
    assert (done.status.stage, done.status.message) == ("ERROR", "Job timeout")
    wait_until(lambda: not is_held(tmp_path / "lock"))


def test_a_cancelled_job_is_stopped_with_all_its_processes_even_if_they_ignore_sigterm(hub, tmp_path):
    job = hold(hub, tmp_path / "lock")
    client(hub).cancel_job(job_id=job.id, namespace="me")
    assert look(hub, job).status.stage == "CANCELED"
    wait_until(lambda: not is_held(tmp_path / "lock"))
    assert look(hub, job).status.stage == "CANCELED"


def test_a_cancelled_job_can_still_write_to_its_log(hub):
    text = "import signal, sys\ndef end(*_): print('farewell'); sys.exit(0)\nsignal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\n" + BREATHE
    job = python(hub, text)
    assert next(iter(client(hub).fetch_job_logs(job_id=job.id, namespace="me", follow=True))) == "ready"
    client(hub).cancel_job(job_id=job.id, namespace="me")
    assert lines(hub, job) == ["ready", "farewell"]
    assert look(hub, job).status.stage == "CANCELED"


def test_processes_that_a_job_leaves_running_end_with_it(hub, tmp_path):
    text = NURSE.replace("subprocess.run(", "import time; subprocess.Popen(") + "while not __import__('os').path.exists(sys.argv[1]): time.sleep(0.05)\n"
    job = python(hub, text, str(tmp_path / "lock"))
    assert finish(hub, job).status.stage == "COMPLETED"
    wait_until(lambda: not is_held(tmp_path / "lock"))


def test_cancelling_a_job_that_has_ended_changes_nothing(hub):
    job = python(hub, "pass")
    done = finish(hub, job)
    client(hub).cancel_job(job_id=job.id, namespace="me")
    assert look(hub, job).status == done.status
    assert look(hub, job).finished_at == done.finished_at


def test_a_job_cancelled_in_the_queue_never_starts(tmp_path):
    with start_hub(tmp_path / "hub", scheduling_s=1000) as hub:
        job = python(hub, "open(__import__('sys').argv[1], 'w')", str(tmp_path / "trace"))
        client(hub).cancel_job(job_id=job.id, namespace="me")
        done = look(hub, job)
        assert (done.status.stage, done.started_at, lines(hub, job)) == ("CANCELED", None, [])
    assert not (tmp_path / "trace").exists()


def test_jobs_are_listed_newest_first_and_filtered_by_stage_and_labels(hub):
    api = client(hub)
    first, second, third = (python(hub, "pass", labels={"run": "r1", "step": step}) for step in ("a", "b", "a"))
    other, elsewhere = python(hub, BREATHE), python(hub, "pass", namespace="lab", labels={"run": "r1"})
    for job in (first, second, third):
        finish(hub, job)
    finish(hub, other, "RUNNING")

    def ids(namespace: str = "me", **wanted: Any) -> list[str]:
        return [job.id for job in api.list_jobs(namespace=namespace, **wanted)]

    assert ids() == [other.id, third.id, second.id, first.id]
    assert ids(labels={"run": "r1"}) == [third.id, second.id, first.id]
    assert ids(labels={"run": "r1", "step": "a"}) == [third.id, first.id]
    assert ids(status=["RUNNING", "SCHEDULING"]) == [other.id]
    assert ids(status="COMPLETED", labels={"step": "b"}) == [second.id]
    assert ids(labels={"run": "r"}) == ids(status="CANCELED") == []
    assert ids("lab") == [elsewhere.id]
    assert [item["id"] for item in hub.jobs()] == [elsewhere.id, other.id, third.id, second.id, first.id]
    assert any("cursor=2" in entry["query"] for entry in hub.log())
    with pytest.raises(BadRequestError, match="WAITING"):
        ids(status="waiting")


def test_labels_are_replaced(hub):
    job = python(hub, "pass", name="a.b", labels={"old": "1"})
    assert client(hub).update_job_labels(job_id=job.id, namespace="me", labels={"new": "2"}).labels == {"new": "2"}
    assert look(hub, job).labels == {"new": "2"}
    with pytest.raises(BadRequestError, match="a b"):
        client(hub).update_job_labels(job_id=job.id, namespace="me", labels={"new": "a b"})


def test_a_rerun_is_a_new_job_with_the_same_secrets(hub):
    job = python(hub, "import os; print(len(os.environ['KEY']))", secrets={"KEY": "12345"}, labels={"run": "r1"})
    again = client(hub).rerun_job(job_id=job.id, namespace="me")
    assert again.initiator
    assert (again.initiator.type, again.initiator.id, again.labels) == ("duplicated-job", job.id, job.labels)
    assert lines(hub, again) == ["5"]
    assert len(hub.jobs()) == 2


def test_metrics_are_available_only_while_a_job_runs(hub):
    job = python(hub, BREATHE, flavor="h200")
    (sample,) = client(hub).fetch_job_metrics(job_id=job.id, namespace="me")
    assert [gpu["memory_total_bytes"] for gpu in sample["gpus"].values()] == [141 * 10**9]
    client(hub).cancel_job(job_id=job.id, namespace="me")
    assert not list(client(hub).fetch_job_metrics(job_id=job.id, namespace="me", follow=True))
    assert hub.log()[-2]["status"] == 406


@pytest.mark.parametrize(
    ("token", "namespace", "status"),
    [("hf_read", "me", 403), ("hf_fine", "me", 403), ("hf_other", "me", 403), ("hf_write", "somebody", 403), ("hf_wrong", "me", 401), (False, "me", 401)],
)
def test_a_token_without_access_to_a_namespace_is_refused(hub, token, namespace, status):
    with pytest.raises(HfHubHTTPError) as refused:
        submit(hub, "true", token=token, namespace=namespace)
    assert refused.value.response.status_code == status
    assert not hub.jobs()


def test_a_token_that_may_only_read_cannot_cancel_a_job(hub):
    assert finish(hub, submit(hub, "true", token="hf_jobs")).status.stage == "COMPLETED"
    job = python(hub, BREATHE)
    finish(hub, job, "RUNNING")
    reader, stranger = client(hub, "hf_read"), client(hub, "hf_other")
    assert reader.inspect_job(job_id=job.id, namespace="me").status.stage == "RUNNING"
    for call in (reader.cancel_job, reader.rerun_job, stranger.inspect_job, stranger.cancel_job):
        with pytest.raises(HfHubHTTPError, match="403"):
            call(job_id=job.id, namespace="me")
    with pytest.raises(HfHubHTTPError, match="403"):
        list(stranger.list_jobs(namespace="me"))
    with pytest.raises(JobNotFoundError):
        stranger.inspect_job(job_id=job.id, namespace="somebody")
    assert look(hub, job).status.stage == "RUNNING"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"flavor": "a100-tiny"}, "a100-tiny"),
        ({"labels": {"a b": "c"}}, "a b"),
        ({"labels": {"a": "b/c"}}, "b/c"),
        ({"labels": {"a": "b.c"}}, "b.c"),
        ({"labels": {"a": "b" * 101}}, "at most 100"),
        ({"labels": {"a" * 101: "b"}}, "at most 100"),
        ({"timeout": -1}, "timeoutSeconds"),
        ({"attempts": 2}, "2"),
        ({"ssh": True}, "ssh"),
        ({"env": {"a=b": "c"}}, "environment"),
        ({"volumes": [Volume(type="bucket", source="me/b", mount_path="/b")]}, "no buckets"),
        ({"volumes": [Volume(type="space", source="me/b", mount_path="/b")]}, "space"),
        ({"volumes": [Volume(type="dataset", source="me/b", mount_path="b")]}, "mountPath"),
        ({"volumes": [Volume(type="dataset", source="me/b", mount_path="/")]}, "mountPath"),
    ],
)
def test_an_option_that_the_service_does_not_accept_is_refused_by_name(hub, wanted, said):
    with pytest.raises(BadRequestError, match=said):
        submit(hub, "true", **wanted)
    assert not hub.jobs()


@pytest.mark.parametrize(
    "wrong", ['{"command": ["true"]', "[]", '{"volumes": [5]}', '{"volumes": [{"source": [1]}]}', '{"command": [1]}', '{"command": []}', '{"labels": 5}']
)
def test_a_body_that_is_not_a_job_is_refused(hub, wrong):
    good = {"command": ["true"], "dockerImage": "python:3.12", "flavor": "cpu-basic"}
    body = json.dumps(good | json.loads(wrong)) if wrong.endswith("}") else wrong
    answer = httpx2.post(f"{hub.url}/api/jobs/me", content=body, headers={"authorization": "Bearer hf_write"})
    assert (answer.status_code, answer.headers["x-error-message"]) == (400, answer.json()["error"])
    assert not hub.jobs()


def test_the_longest_allowed_labels_are_accepted(hub):
    assert submit(hub, "true", labels={"a" * 100: "b" * 100, "name": "a.b"}).labels == {"a" * 100: "b" * 100, "name": "a.b"}


def test_a_volume_needs_a_token_that_may_read_it(hub):
    put_files(hub, "somebody/secret", {"x": "x"}, private=True, token="hf_other")
    put_files(hub, "somebody/open", {"x": "x"}, token="hf_other")
    wrong = [("secret", None, None), ("none", None, None), ("open", "f" * 40, None), ("open", "main", "no/folder")]
    for name, revision, path in wrong:
        with pytest.raises(HfHubHTTPError) as refused:
            submit(hub, "cat", "/m/x", volumes=[Volume(type="dataset", source=f"somebody/{name}", mount_path="/m", revision=revision, path=path)])
        assert refused.value.response.status_code == 404
    assert not hub.jobs()
    assert lines(hub, submit(hub, "cat", "/m/x", volumes=[Volume(type="dataset", source="somebody/open", mount_path="/m")])) == ["x"]


def test_a_volume_deleted_before_the_job_starts_fails_the_job(tmp_path):
    with start_hub(tmp_path / "hub", scheduling_s=1) as hub:
        put_files(hub, "me/gone", {"x": "x"})
        job = submit(hub, "cat", "/m/x", volumes=[Volume(type="dataset", source="me/gone", mount_path="/m")])
        client(hub).delete_repo("me/gone", repo_type="dataset")
        done = finish(hub, job)
        assert (done.status.stage, "volume" in (done.status.message or "")) == ("ERROR", True)


def test_without_credit_no_job_is_created(tmp_path):
    with start_hub(tmp_path / "hub", credit=False) as hub:
        with pytest.raises(HfHubHTTPError, match="credit") as refused:
            submit(hub, "true")
        assert refused.value.response.status_code == 402
        assert not hub.jobs()


def test_a_job_whose_answer_was_lost_is_found_by_its_label(hub):
    hub.faults({"method": "POST", "pattern": "^/api/jobs/me$", "after": True, "times": 1})
    with pytest.raises(httpx2.TransportError):
        python(hub, "print('made')", labels={"key": "k1"})
    (job,) = client(hub).list_jobs(labels={"key": "k1"}, namespace="me")
    assert lines(hub, job) == ["made"]
    assert len(hub.jobs()) == 1


@pytest.mark.parametrize("fault", [{"status": 500}, rate_limit(7)], ids=["500", "429"])
def test_a_failed_submission_creates_no_job(hub, fault):
    hub.faults({"method": "POST", "pattern": "^/api/jobs/me$", "times": 1, **fault})
    with pytest.raises(HfHubHTTPError) as refused:
        submit(hub, "true")
    assert refused.value.response.status_code == fault["status"]
    assert refused.value.response.headers.get("retry-after") == fault.get("headers", {}).get("Retry-After")
    assert not hub.jobs()


@pytest.mark.slow
@pytest.mark.parametrize("tail", [None, 100])
def test_a_log_whose_stream_breaks_off_arrives_completely(hub, tmp_path, tail):
    text = "import os, sys, time\nprint('same\\n' * 20, end='', flush=True)\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)\nprint('end')"
    job = python(hub, text, str(tmp_path / "trace"))
    hub.faults({"pattern": "/logs$", "cut": 700, "times": 1}, {"pattern": "/logs$", "cut": 0, "times": 1})
    found = []
    for line in client(hub).fetch_job_logs(job_id=job.id, namespace="me", follow=True, tail=tail):
        found.append(line)
        if len(found) == 20:
            (tmp_path / "trace").touch()
    assert found == [*["same"] * 20, "end"]
    reads = [entry for entry in hub.log() if entry["path"].endswith("/logs")]
    assert [(entry["fault"], entry["bytes"]) for entry in reads[:2]] == [(True, 700), (True, 0)]


def test_an_answer_about_jobs_can_be_delayed(hub):
    job = python(hub, "pass")
    finish(hub, job)
    hub.faults({"method": "GET", "pattern": f"/{job.id}$", "delay": 60, "times": 1})
    url, token = f"{hub.url}/api/jobs/me/{job.id}", {"authorization": "Bearer hf_write"}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(url, headers=token, timeout=httpx2.Timeout(10, read=0.1))
    assert httpx2.get(url, headers=token).json()["status"]["stage"] == "COMPLETED"


def test_a_job_can_be_made_to_report_success_without_running(hub, tmp_path):
    hub.next_job("lies")
    text = "open(__import__('sys').argv[1], 'w')"
    job = python(hub, text, str(tmp_path / "trace"))
    assert (look(hub, job).status.stage, lines(hub, job)) == ("COMPLETED", [])
    assert not (tmp_path / "trace").exists()
    assert finish(hub, python(hub, text, str(tmp_path / "trace"))).status.stage == "COMPLETED"
    assert (tmp_path / "trace").exists()


def test_a_job_can_be_made_to_vanish_with_its_processes(hub, tmp_path):
    hub.next_job("vanishes")
    job = python(hub, HOLD + BREATHE, str(tmp_path / "lock"))
    with pytest.raises(JobNotFoundError):
        finish(hub, job)
    assert not list(client(hub).list_jobs(namespace="me"))
    assert not hub.jobs()
    wait_until(lambda: not is_held(tmp_path / "lock"))


def test_a_job_can_be_made_to_stay_queued_until_it_is_cancelled(hub):
    hub.next_job("stuck")
    stuck, other = python(hub, "pass"), python(hub, "pass")
    finish(hub, other)
    assert look(hub, stuck).status.stage == "SCHEDULING"
    client(hub).cancel_job(job_id=stuck.id, namespace="me")
    assert look(hub, stuck).status.stage == "CANCELED"
    with pytest.raises(ValueError, match="not 'sleeps'"):
        hub.next_job("sleeps")


def test_a_reset_leaves_no_job_and_no_process(hub, tmp_path):
    job = hold(hub, tmp_path / "lock")
    hub.next_job("lies")
    hub.reset()
    assert not is_held(tmp_path / "lock")
    assert not hub.jobs()
    with pytest.raises(JobNotFoundError):
        look(hub, job)
    assert lines(hub, python(hub, "print('run')")) == ["run"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["close", "terminate"])
def test_all_processes_of_jobs_end_with_the_server(tmp_path, way):
    with start_hub(tmp_path / "hub", grace_s=1000) as hub:
        cancelled = hold(hub, tmp_path / "cancelled")
        client(hub).cancel_job(job_id=cancelled.id, namespace="me")
        hold(hub, tmp_path / "lock")
        hub.close() if way == "close" else hub.process.terminate()
        hub.process.wait(timeout=240)
        assert not is_held(tmp_path / "lock")
        assert not is_held(tmp_path / "cancelled")
    assert not any((tmp_path / "hub" / "jobs").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_job_ends_when_its_server_is_killed(tmp_path):
    with start_hub(tmp_path / "hub") as hub:
        python(hub, HOLD.replace("SIG_IGN", "SIG_DFL") + BREATHE, str(tmp_path / "lock"))
        wait_until(lambda: (tmp_path / "lock").exists() and is_held(tmp_path / "lock"))
        hub.process.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_held(tmp_path / "lock"))
