"""Random kills of drivers and of their worker processes."""

from __future__ import annotations

import random
import signal
import time

import pytest

from bench.records import COMPLETE, FAIL, FailureKind, RunStatus
from bench.runs import store

from .driver import KILLS, TRIALS, Driver, assert_complete, assert_told_are_there

pytestmark = pytest.mark.slow

KILLS_A_RUN = 10
SIGTERMS_A_RUN = 3


@pytest.mark.parametrize("number", range(KILLS // 2))
def test_a_killed_driver_loses_no_trial_that_it_has_told_and_resume_completes_its_run(folder, whole, number):
    """Two kills of a run: one at a random moment, one right after the line of a random trial was printed."""
    run, took_s = whole
    name, generator = f"killed-{number}", random.Random(number)
    command = ["run", name, str(TRIALS)]
    for at_a_line in generator.sample([True, False], 2):
        driver = Driver(folder, *command)
        if at_a_line:
            driver.read(generator.randint(1, TRIALS // 2))
        else:
            driver.wait(generator.uniform(0.2, 1.0) * took_s)
        driver.process.kill()
        driver.end()
        assert_told_are_there(folder, name, driver.printed)
        if not (folder / name / "run.json").exists():  # there is nothing to resume yet
            name = f"again-{number}"
            command = ["run", name, str(TRIALS)]
        elif store.load(folder / name).status == RunStatus.COMPLETE:
            break
        else:
            command = ["resume", name]
    assert_complete(folder, name, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_driver_ends_in_order_and_resume_goes_on_as_if_nothing_was(folder, whole, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as SIGHUP is under nohup")
    name = f"interrupted-{number}"
    interrupt(folder, name, ["run", name, str(TRIALS)], number, lines=3)
    assert_complete(folder, name, whole[0])


@pytest.mark.parametrize("number", range(max(1, KILLS // 10 // SIGTERMS_A_RUN)))
def test_sigterms_at_random_moments_cost_nothing(folder, whole, number):
    generator, name = random.Random(number), f"terminated-{number}"
    command = ["run", name, str(TRIALS)]
    for _ in range(SIGTERMS_A_RUN):
        interrupt(folder, name, command, signal.SIGTERM, generator.randint(1, 2), generator.uniform(0, 0.2))
        command = ["resume", name]
    assert_complete(folder, name, whole[0])


def interrupt(folder, name, command, number, lines, later_s=0.0):
    """Send a driver a signal, some time after so many lines."""
    driver = Driver(folder, *command)
    driver.read(lines)
    driver.wait(later_s)
    driver.process.send_signal(number)
    assert driver.end() == 128 + number
    assert store.load(folder / name).status == RunStatus.PARTIAL
    assert "Partial run" in (folder / name / "report.html").read_text(encoding="utf-8")
    assert_told_are_there(folder, name, driver.printed)


@pytest.mark.parametrize("number", range(max(1, KILLS * 3 // 10 // KILLS_A_RUN)))
def test_killed_workers_are_failed_trials_and_the_search_goes_on(folder, number):
    """At random moments of a run with two workers; a kill may come after its trial has sent its result."""
    generator, trials, name = random.Random(number), 4 * KILLS_A_RUN, f"workers-{number}"
    driver = Driver(folder, "run", name, str(trials), "optuna:random", "2")
    killed = 0
    driver.read(2)  # a family whose first trials all fail gets no more
    while killed < KILLS_A_RUN:
        driver.read(generator.randint(1, 2))
        time.sleep(generator.uniform(0, 0.05))
        if victims := list(driver.trial_processes()):
            generator.choice(victims).kill()
            killed += 1
    assert driver.end() == 0
    run = store.load(folder / name)
    assert run.status == RunStatus.COMPLETE
    failed = [trial for trial in run.trials if trial.state == FAIL]
    assert {(trial.failure.kind, trial.failure.name) for trial in failed} == {(FailureKind.SIGNAL, "SIGKILL")}
    assert KILLS_A_RUN / 2 <= len(failed) <= killed
    complete = [trial for trial in run.trials if trial.state == COMPLETE]
    assert len(failed) + len(complete) == trials == len(driver.printed)
    for trial in complete:  # as `score` in tiny_jobs.py, whose import would replace TensorFlow here
        assert trial.value == pytest.approx(0.4 + 0.03 * trial.params["depth"] + trial.params["rate"])


def test_a_killed_fork_server_is_started_again_and_costs_at_most_the_running_trial(folder):
    generator, kills = random.Random(1), 4
    driver = Driver(folder, "run", "server", str(TRIALS), "optuna:random")
    for _ in range(kills):
        driver.read(generator.randint(1, 2))
        time.sleep(generator.uniform(0, 0.1))
        for server in driver.fork_servers():
            server.kill()
    assert driver.end() == 0
    run = store.load(folder / "server")
    assert run.status == RunStatus.COMPLETE
    assert len(run.trials) == TRIALS
    failed = [trial.failure.kind for trial in run.trials if trial.failure]
    assert len(failed) <= kills
    assert set(failed) <= {FailureKind.ENDED}
