"""Calls of the Hub by training and export: temporary failures are retried, others are reported at once in one sentence."""

import runpy
from argparse import Namespace
from typing import Any

import pytest

from tests.conftest import CHECKOUT

httpx2 = pytest.importorskip("httpx2")
errors = pytest.importorskip("huggingface_hub.errors")

ARGUMENTS = Namespace(retry_seconds=4.0)


@pytest.fixture(scope="module", params=["train_sft", "convert_gguf"])
def script(request) -> dict[str, Any]:
    return runpy.run_path(str(CHECKOUT / f"deployments/jobs/built/{request.param}.py"))


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """The pauses that were made, in seconds."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def answered(status: int, **headers: str) -> Exception:
    request = httpx2.Request("GET", "https://hub.example/api?token=abc")
    return errors.HfHubHTTPError("No.", response=httpx2.Response(status, headers=headers, request=request))


def in_turn(*outcomes: Any):
    """Return a call that raises or returns the next of these outcomes each time."""
    left = list(outcomes)

    def call() -> Any:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return call


def wrapped(error: Exception) -> Exception:
    """Return an error with this cause, as the client raises it."""
    try:
        raise OSError("Cannot load.") from error
    except OSError as raised:
        return raised


@pytest.mark.parametrize("status", [408, 409, 412, 429, 500, 502, 503, 504])
def test_temporary_failures_are_retried_after_doubling_pauses(script, pauses, status):
    assert script["patiently"](ARGUMENTS, "asking", in_turn(*[answered(status)] * 3, wrapped(httpx2.ReadTimeout("slow")), "done")) == "done"
    assert [low <= pause <= 2 * low for pause, low in zip(pauses, (2, 4, 8, 16), strict=True)] == [True] * 4


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("0.5", 0.5), ("86400", 300)])
def test_the_pause_is_what_the_hub_asks_for_but_at_most_five_minutes(script, pauses, asked, waited):
    call = in_turn(wrapped(answered(429, **{"retry-after": asked})), "done")
    assert script["patiently"](ARGUMENTS, "asking", call) == "done"
    assert pauses == [waited]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answered(401), "HF_TOKEN: it is wrong"),
        (answered(403), "an HF_TOKEN that may"),
        (wrapped(answered(404)), "check the name"),
        (errors.HFValidationError("a/b/c is no name"), "check the name"),
        (errors.OfflineModeIsEnabled("offline"), "offline"),
        (FileNotFoundError(2, "gone"), "gone"),
    ],
)
def test_permanent_failures_are_one_sentence_and_not_retried(script, pauses, error, words):
    with pytest.raises(script["JobError"], match=words) as raised:
        script["patiently"](ARGUMENTS, "asking", in_turn(error))
    assert "Failed at asking, attempt 1 of 6" in str(raised.value)
    assert pauses == []


def test_a_call_gives_up_after_six_attempts(script, pauses):
    with pytest.raises(script["JobError"], match=r"attempt 6 of 6 \(the Hub answered 503: "):
        script["patiently"](ARGUMENTS, "asking", in_turn(*[answered(503)] * 9))
    assert len(pauses) == 5


def test_an_error_whose_causes_form_a_circle_is_reported(script, pauses):
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    with pytest.raises(script["JobError"], match="attempt 6 of 6"):
        script["patiently"](ARGUMENTS, "asking", in_turn(*[first] * 6))


@pytest.mark.parametrize("error", [ValueError("no model"), FileNotFoundError(2, "gone")])
def test_errors_of_local_files_are_left_to_the_caller(script, pauses, error):
    with pytest.raises(type(error)):
        script["patiently"](ARGUMENTS, "loading", in_turn(error), files=True)
    assert pauses == []


def test_the_jobs_own_refusals_are_passed_on_unchanged(script, pauses):
    with pytest.raises(script["JobError"], match=r"^It is public\.$"):
        script["patiently"](ARGUMENTS, "asking", in_turn(script["JobError"]("It is public.")))
    assert pauses == []
