"""The choice among duplicate jobs, the cost of a job, and the notation of arguments."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.job_arguments import Argument
from core.training.job_spec import ENDED, JobStatus, first_alive, words

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
JOBS = st.lists(
    st.builds(
        JobStatus,
        id=st.text("abcdef", min_size=4, max_size=8),
        stage=st.sampled_from(["SCHEDULING", "RUNNING", *ENDED]),
        url=st.just(""),
        flavor=st.just("h200"),
        created=st.one_of(st.none(), st.integers(0, 5).map(lambda minutes: NOON + timedelta(minutes=minutes))),
    ),
    unique_by=lambda job: job.id,
)


@given(JOBS, st.randoms())
def test_the_same_duplicate_job_is_kept_in_any_order(jobs, rng):
    shuffled = list(jobs)
    rng.shuffle(shuffled)
    assert first_alive(shuffled) == first_alive(jobs)


@given(JOBS)
def test_a_job_that_has_ended_is_neither_kept_nor_cancelled(jobs):
    kept, superfluous = first_alive(jobs)
    alive = [job for job in jobs if job.stage not in ENDED]
    assert ({kept.id} if kept else set()) | {job.id for job in superfluous} == {job.id for job in alive}
    assert len(superfluous) == max(0, len(alive) - 1)


@pytest.mark.parametrize(("seconds", "usd"), [(0, 0.0), (1, 0.05), (60, 0.05), (61, 0.10), (3600, 3.0)])
def test_every_started_minute_is_charged(seconds, usd):
    job = JobStatus("a", "RUNNING", "", "x", started=NOON, finished=NOON + timedelta(seconds=seconds))
    assert job.usd(3.0) == pytest.approx(usd)


def test_a_waiting_job_costs_nothing_and_a_running_one_its_time_so_far():
    assert JobStatus("a", "SCHEDULING", "", "x", created=NOON).usd(3.0) == 0
    assert JobStatus("a", "RUNNING", "", "x", started=NOON).usd(3.0, NOON + timedelta(minutes=30)) == pytest.approx(1.5)


def test_job_arguments_are_written_as_on_a_command_line():
    given: dict[str, Argument] = {"qlora": True, "public": False, "epochs": 3, "quantisations": ["q4_k_m", "q8_0"]}
    assert " ".join(words(given)) == "--qlora --epochs 3 --quantisations q4_k_m q8_0"
