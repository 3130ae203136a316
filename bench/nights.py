"""Counts the requests with which a night finds the unjudged conversations in an object store: without an index, with one, and after a night's work.

    python -m bench.nights [conversations=20000]        (make bench-nights)

Takes 10 minutes; some seconds with conversations=200.

moto's S3 server answers on loopback, in this process. Its time is included in the seconds but not in the CPU seconds; there is no network time. It takes some
milliseconds for each object. With more than `TIMED` conversations, the first look, which reads all of them, therefore takes them from the server's memory and
counts the two requests per conversation that the client would make.
"""

import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest.mock import patch

from moto.moto_server import threaded_moto_server
from moto.s3.models import s3_backends

from core.imports.rehearsed import rehearsed
from core.judging.plan import not_assessed, plan_assessment
from core.llm.ledger import Ledger
from core.llm.run import Run
from core.records import ModelChoice, TranscriptRef
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.core.judged import PACK, assessment, conversation

NIGHT = 50
"""Number of conversations of a night."""
TIMED = 1000
"""Number of conversations up to which the first look makes real requests."""
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
REQUESTS: Counter[str] = Counter()
SERVING = 0.0
"""CPU seconds of the server."""


class Counted(threaded_moto_server.DomainDispatcherApplication):
    """Counts requests by type."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        global SERVING  # noqa: PLW0603
        REQUESTS["list" if "list-type" in environ.get("QUERY_STRING", "") else environ["REQUEST_METHOD"].lower()] += 1
        started = time.thread_time()
        answer = super().__call__(environ, start_response)
        SERVING += time.thread_time() - started
        return answer


def fill(run: Run, numbers: Sequence[int], judged: bool) -> None:
    """Put conversations, and their assessments if `judged`, directly into the bucket, without requests."""
    bucket = s3_backends["123456789012"]["aws"]
    for number in numbers:
        transcript = conversation(f"{number:05d}-0123456789ab", exchanges=10, user="I slept badly again. " * 10, assistant="What kept you awake? " * 20)
        path = f"transcripts/{PACK.name}/{transcript.id}.json"
        bucket.put_object("nights", f"data/{path}", transcript.model_dump_json().encode())
        if judged:
            plan = plan_assessment(run, TranscriptRef(id=transcript.id, path=path, exchanges=10), run.models["judge"][0])
            bucket.put_object("nights", f"data/{plan.place(transcript)[1]}", assessment(transcript, "scripted/judge", {}).model_dump_json().encode())


def from_memory(_store: Store, names: Sequence[str]) -> list[bytes]:
    """Read objects without requests, and count the requests that the client would make."""
    REQUESTS.update({"get": len(names), "head": len(names)})
    bucket = s3_backends["123456789012"]["aws"]
    objects = (bucket.get_object("nights", f"data/{name}") for name in sorted(names))
    return [item.value for item in objects if item]


def measure(what: str, run: Run, waiting: int) -> None:
    """Find the unjudged conversations, and print the time and the requests that this took. `waiting` is their expected number."""
    REQUESTS.clear()
    started, cpu, serving = time.monotonic(), time.process_time(), SERVING
    stored = rehearsed(run.store, PACK.name)
    unjudged = not_assessed(stored.refs, run, stored.states)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu - (SERVING - serving)
    if len(unjudged) != waiting:
        sys.exit(f"{len(unjudged)} conversations were found unjudged; {waiting} should have been")
    print(
        f"{what:<44} {seconds:8.1f} {cpu:8.1f} {REQUESTS.total():9,}   {', '.join(f'{count:,} {kind}' for kind, count in REQUESTS.most_common())}", flush=True
    )


def main() -> None:
    count = next((int(word.removeprefix("conversations=")) for word in sys.argv[1:] if word.startswith("conversations=")), 20_000)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    threaded_moto_server.DomainDispatcherApplication = Counted  # ty: ignore[invalid-assignment]
    server = threaded_moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    os.environ |= {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.get_host_and_port()[1]}"}
    s3_backends["123456789012"]["aws"].create_bucket("nights", "us-east-1")
    settings, store = load_settings("config/demo.yaml"), Store("s3://nights/data")
    with tempfile.TemporaryDirectory() as folder:
        run = Run("night", PACK, settings, store, {"judge": [ModelChoice(reference="scripted/judge")]}, Ledger(Store(folder), "night", settings.budget))
        fill(run, range(count), judged=True)
        fill(run, range(count, count + NIGHT), judged=False)
        print(f"{f'{count:,} conversations judged, {NIGHT} not':<44} {'seconds':>8} {'CPU s':>8} {'requests':>9}")
        if count > TIMED:
            with patch.object(Store, "read_many", from_memory):
                measure("without an index (objects from memory)", run, NIGHT)
        else:
            measure("without an index", run, NIGHT)
        measure("with it", run, NIGHT)
        fill(run, range(count, count + NIGHT), judged=True)
        measure(f"after {NIGHT} more were judged", run, 0)
        measure("again, with nothing new", run, 0)
    server.stop()


if __name__ == "__main__":
    main()
