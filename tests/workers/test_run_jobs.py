"""The loop that runs jobs: as many at a time as there is room for, until nothing is left or a stop is requested."""

from __future__ import annotations

from bench.records import Failure, FailureKind
from bench.training.messages import Job
from bench.workers import Listener, Outcome, Stop, run_jobs


class Slots:
    """A pool in which the job that was submitted first ends whenever `finished` is called."""

    def __init__(self, slots):
        self.slots, self.running, self.most, self.cancelled, self.reason = slots, [], 0, [], None

    def has_room(self):
        return len(self.running) < self.slots

    def submit(self, job, listener):
        assert self.has_room()
        self.running.append(job)
        self.most = max(self.most, len(self.running))

    def finished(self, timeout_s):
        if self.reason:
            ended, self.running = self.running, []
            return [Outcome(job, failure=Failure(*self.reason)) for job in ended]
        return [Outcome(self.running.pop(0), result="done")]

    def cancel(self, kind, message):
        self.reason = (kind, message)
        self.cancelled.append(self.reason)


class Asked(Stop):
    """A stop that is requested once so many jobs have been submitted."""

    def __init__(self, pool, after):
        self._pool, self._left = pool, after

    def reason(self):
        return (FailureKind.INTERRUPTED, "enough") if len(self._pool.running) >= self._left else self._pool.reason


def jobs(count):
    return [Job(id=str(number), timeout_s=1.0) for number in range(count)]


def asking(waiting):
    return lambda: (waiting.pop(0), Listener()) if waiting else None


def ids(outcomes):
    return [outcome.job.id for outcome in outcomes]


def test_every_job_runs_and_no_more_at_a_time_than_there_is_room_for():
    pool = Slots(2)
    assert ids(run_jobs(pool, asking(jobs(5)), Stop())) == ["0", "1", "2", "3", "4"]
    assert pool.most == 2
    assert pool.cancelled == []


def test_without_jobs_it_ends_at_once():
    assert list(run_jobs(Slots(1), lambda: None, Stop())) == []


def test_work_that_an_outcome_brings_is_asked_for_although_there_was_none_before():
    waiting, done = jobs(1), []
    for outcome in run_jobs(Slots(3), asking(waiting), Stop()):
        done.append(outcome.job.id)
        if len(done) < 4:
            waiting.append(Job(id=f"after {outcome.job.id}", timeout_s=1.0))
    assert done == ["0", "after 0", "after after 0", "after after after 0"]


def test_a_stop_cancels_once_what_runs_and_starts_nothing_more():
    pool, waiting = Slots(2), jobs(5)
    outcomes = list(run_jobs(pool, asking(waiting), Asked(pool, after=2)))
    assert [(outcome.failure.kind, outcome.failure.message) for outcome in outcomes] == [("Interrupted", "enough")] * 2
    assert pool.cancelled == [(FailureKind.INTERRUPTED, "enough")]
    assert len(waiting) == 3


def test_a_pool_without_room_and_without_a_running_job_pauses_and_is_asked_again():
    class Pausing(Slots):
        pauses = 3

        def has_room(self):
            return not self.pauses and super().has_room()

        def finished(self, timeout_s):
            if self.running:
                return super().finished(timeout_s)
            self.pauses -= 1
            return []

    outcomes = list(run_jobs(Pausing(1), asking(jobs(2)), Stop()))
    assert [outcome.job.id for outcome in outcomes] == ["0", "1"]
