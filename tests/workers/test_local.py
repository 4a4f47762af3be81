"""Processes for real: crashes, hangs, time limits, and nothing left behind. One fork server serves all these tests."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from bench import workers
from bench.config import RunConfig
from bench.data import machine
from bench.data import open as open_data
from bench.errors import ConfigError, WorkerError
from bench.records import FailureKind, to_data
from bench.training.messages import ProbeJob, TrialJob, TrialResult
from bench.workers import Listener, Stop, run_jobs
from bench.workers import local as local_pool
from bench.workers.local import LocalPool

pytestmark = pytest.mark.slow

DEFAULT = """
import keras, os, signal, sys, time
from keras import layers

def build(hp, task):
    {body}
    x = inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, task.classify(x))
"""


@pytest.fixture(scope="module")
def pool():
    with contextlib.closing(LocalPool(1)) as pool:
        yield pool


@pytest.fixture
def trial(tmp_path):
    """A trial job of a family whose `build` does something first."""
    dataset = open_data(RunConfig(images=24, split=(0.5, 0.25, 0.25)))
    dataset.write(tmp_path / "split.json")

    def make(body="pass", timeout_s=60.0):
        path = tmp_path / "family.py"
        path.write_text(DEFAULT.format(body=body))
        return TrialJob(
            id="1",
            timeout_s=timeout_s,
            path=str(path),
            class_names=("cats", "dogs"),
            input_sizes=(32,),
            weights="random",
            files={},
            manifest=str(tmp_path / "split.json"),
            cache=str(tmp_path / "cache"),
            features="float32",
            epochs=1,
            patience=1,
            seed=0,
        )

    return make


def probe_of(path):
    return ProbeJob(
        id="2", timeout_s=60.0, path=path, class_names=("a", "b"), input_sizes=(32,), weights="random", seed=0
    )


def outcome_of(pool, job, listener=None):
    pool.submit(job, listener or Listener())
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if ended := pool.finished(1.0):
            return ended[0]
    raise AssertionError("the job has not ended")


class Recording(Listener):
    """Records what a trial reports."""

    def __init__(self, on_built=lambda: None):
        self.params, self.epochs, self.results, self._on_built = [], [], [], on_built

    def started(self, worker):
        self.worker = worker

    def built(self, params, weights, work):
        self.params.append(params)
        self._on_built()
        return False

    def epoch(self, epoch, fold, folds):
        self.epochs.append((epoch, fold, folds))
        return None

    def result(self, result):
        self.results.append(result)


@pytest.mark.skipif(local_pool.START_METHOD != "forkserver", reason="processes are spawned here")
def test_a_process_finds_everything_imported_and_out_of_the_collectors_way(pool, trial):
    missing = f"{set(local_pool.PRELOAD)} - set(sys.modules)"
    body = f"import gc; raise RuntimeError([gc.get_freeze_count() > 100_000, {missing}])"
    assert outcome_of(pool, trial(body)).failure.message == "[True, set()]"


def test_a_trial_gives_its_figures(pool, trial):
    listener, job = Recording(), trial("hp.Int('depth', 1, 3)")
    outcome = outcome_of(pool, job, listener)
    assert (outcome.job, outcome.failure, listener.worker) == (job, None, 0)
    assert outcome.result.validation.n == 6
    assert outcome.result.cost.parameters == 4
    assert outcome.result.cost.cores == machine.core_count()
    assert listener.params == [{"depth": 1}]
    assert listener.epochs == [(outcome.result.history[0], 1, 0)]
    assert listener.results == [outcome.result]


def test_a_process_is_spawned_where_it_cannot_be_forked(trial, monkeypatch):
    monkeypatch.setattr(local_pool, "START_METHOD", "spawn")
    monkeypatch.setattr(local_pool, "Connection", int)  # pipes are of another class on Windows
    listener = Recording()
    with contextlib.closing(LocalPool(1)) as pool:
        outcome = outcome_of(pool, trial("hp.Int('depth', 1, 3)"), listener)
    assert outcome.failure is None
    assert listener.params == [{"depth": 1}]
    assert listener.results == [outcome.result]


def test_a_model_is_saved_where_the_listener_says(pool, trial, tmp_path):
    class Keeping(Listener):
        def result(self, result):
            return str(tmp_path / "model.keras")

    assert outcome_of(pool, trial(), Keeping()).result is not None
    assert (tmp_path / "model.keras").exists()


def test_a_trial_that_was_trained_before_stops_when_it_is_built(pool, trial):
    class Known(Recording):
        def built(self, params, weights, work):
            return True

    listener = Known()
    assert outcome_of(pool, trial(), listener).result == TrialResult({}, stopped=True)
    assert listener.epochs == listener.results == []


def test_a_probe_gives_the_declared_space(pool, trial):
    job = trial("hp.Int('depth', 1, 3); hp.Choice('rate', [0.5, 1.0])")
    depth, rate = outcome_of(pool, probe_of(job.path)).result.space
    assert (repr(depth.low), repr(depth.high), depth.default) == ("1", "3", 1)
    assert repr(rate.values) == "(0.5, 1.0)"


def test_a_broken_file_is_a_failure_with_its_place(pool, trial):
    job = trial("hp.Int('depth', 3, 1)")
    failure = outcome_of(pool, probe_of(job.path)).failure
    assert (failure.kind, failure.error, failure.path, failure.line) == ("exception", "SpaceError", job.path, 6)
    assert failure.message.startswith("ValueError: hp.Int('depth'): min_value <= max_value must hold")


def test_an_exception_in_build_is_a_failure_with_the_end_of_its_traceback(pool, trial):
    failure = outcome_of(pool, trial("raise RuntimeError('no\\nluck')")).failure
    assert (failure.kind, failure.error, failure.message) == ("exception", "RuntimeError", "no luck")
    assert failure.place == f"{Path(failure.path).parent.name}/family.py:6"
    assert failure.traceback.splitlines()[1] == f'  File "{failure.path}", line 6, in build'  # no frame of the suite
    assert failure.traceback.endswith("RuntimeError: no\nluck\n")


def test_a_killed_process_is_a_failure_named_after_its_signal(pool, trial):
    def kill():
        pool._running[0].process.kill()

    failure = outcome_of(pool, trial(), Recording(kill)).failure
    assert (failure.kind, failure.name) == ("signal", "SIGKILL")
    assert "signal 9" in failure.message


def test_a_process_that_the_kernel_kills_for_memory_is_out_of_memory(pool, trial, monkeypatch):
    def kill():
        kills = machine.oom_kills()
        monkeypatch.setattr(machine, "oom_kills", lambda: kills + 1)
        pool._running[0].process.kill()

    failure = outcome_of(pool, trial(), Recording(kill)).failure
    assert (failure.kind, failure.name) == ("OOM", "OOM")


def test_a_build_that_allocates_more_than_there_is_ends_with_a_memory_error(pool, trial):
    body = "import numpy; kept = [numpy.empty(10**9) for _ in range(10**4)]"
    failure = outcome_of(pool, trial(body)).failure
    assert failure.kind == "OOM"
    assert "family.py" in failure.traceback


def test_a_crash_of_the_interpreter_leaves_its_stack(pool, trial):
    failure = outcome_of(pool, trial("import faulthandler; faulthandler._sigsegv()")).failure
    assert (failure.kind, failure.name) == ("signal", "SIGSEGV")
    assert "Segmentation fault" in failure.traceback
    assert "family.py" in failure.traceback


def test_leaving_the_process_is_a_failure(pool, trial):
    failure = outcome_of(pool, trial("os._exit(3)")).failure
    assert failure.kind == "ProcessEnded"
    assert failure.message.endswith("exit status 3")
    assert outcome_of(pool, trial("sys.exit('enough')")).failure.name == "SystemExit"


def test_a_signal_without_a_name_is_a_failure(pool, trial):
    number = signal.SIGRTMIN + 3
    failure = outcome_of(pool, trial(f"os.kill(os.getpid(), {number})")).failure
    assert (failure.kind, failure.name) == ("signal", f"SIG{number}")


def test_values_that_are_no_plain_data_fail_the_trial_and_not_the_driver(pool, trial):
    failure = outcome_of(pool, trial("hp.values['shape'] = [1, 2]")).failure
    assert failure.name == "ValueError"
    assert "shape" in failure.message or "array" in failure.message
    assert outcome_of(pool, trial()).result is not None


def test_a_trial_that_hangs_is_stopped_at_its_time_limit(pool, trial):
    failure = outcome_of(pool, trial("time.sleep(600)", timeout_s=2.0)).failure
    assert failure.kind == "TIMEOUT"
    assert "2 s" in failure.message


def test_a_trial_that_does_not_heed_sigterm_is_killed(pool, trial, monkeypatch):
    monkeypatch.setattr(local_pool, "GRACE_S", 0.5)
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    assert outcome_of(pool, trial(body, timeout_s=2.0)).failure.kind == "TIMEOUT"


@pytest.mark.parametrize("end", ["time.sleep(999)", "pass", "os._exit(1)"])
def test_what_a_trial_has_started_ends_with_it(pool, trial, tmp_path, end):
    path = tmp_path / "pid"
    body = f"import subprocess; open({str(path)!r}, 'w').write(str(subprocess.Popen(['sleep', '999']).pid)); {end}"
    outcome = outcome_of(pool, trial(body, timeout_s=10.0))
    assert (outcome.failure is None) == (end == "pass")
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(path.read_text())).wait(timeout=10)


def test_temporary_files_are_below_one_folder_and_those_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {})
    node = platform.node()[:20]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"bench-{node}-{gone.pid}-x", f"bench-{node}-{os.getpid()}-x", f"bench-elsewhere-{gone.pid}-x"):
        (tmp_path / name / "logs-x").mkdir(parents=True)
    (tmp_path / "bench-mark").touch()
    folder = local_pool._temporary_folder.__wrapped__()
    assert folder.name.startswith(f"bench-{node}-{os.getpid()}-")
    others = {path.name for path in tmp_path.iterdir()} - {folder.name}
    assert others == {f"bench-{node}-{os.getpid()}-x", f"bench-elsewhere-{gone.pid}-x", "bench-mark"}
    if len(str(folder)) <= local_pool.MAX_FOLDER:
        assert multiprocessing.util.get_temp_dir() == str(folder)


def test_nothing_is_left_in_the_temporary_folder_after_the_end(trial):
    job = trial("import tempfile; tempfile.mkstemp(); open(os.environ['TMPDIR'] + '/more', 'w')")
    code = (
        "import json, sys, bench.workers.local as local; from bench.workers import Listener;"
        "from bench.records import from_data; from bench.training.messages import TrialJob;"
        "pool = local.LocalPool(1); pool.submit(from_data(TrialJob, json.loads(sys.argv[1])), Listener());"
        "outcomes = []\nwhile not outcomes: outcomes = pool.finished(1)\nprint(outcomes[0].failure)\npool.close()"
    )
    words = [sys.executable, "-c", code, json.dumps(to_data(job))]
    with tempfile.TemporaryDirectory() as folder:  # short: the paths of sockets may have 107 characters
        done = subprocess.run(words, env={**os.environ, "TMPDIR": folder}, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("None\n", "")
        assert list(Path(folder).iterdir()) == []


def test_far_more_workers_than_cores_are_refused_with_the_number_of_cores(monkeypatch):
    monkeypatch.setattr(workers, "core_count", lambda: 2)
    with pytest.raises(ConfigError, match="workers 33: must be at most 32 with the 2 cores"):
        workers.start(RunConfig(workers=33))


def test_ctrl_c_in_the_terminal_does_not_reach_a_trial(pool, trial):
    assert outcome_of(pool, trial("os.kill(os.getpid(), signal.SIGINT)")).result is not None


def test_running_trials_are_cancelled(pool, trial):
    def cancel():
        pool.cancel(FailureKind.INTERRUPTED, "enough")

    assert outcome_of(pool, trial(), Recording(cancel)).failure.kind == "Interrupted"


def test_a_question_that_cannot_be_answered_is_raised_where_it_was_asked(pool, trial):
    class Refusing(Listener):
        def suggest(self, hyperparameter):
            raise ValueError(f"{hyperparameter.name} is not to be had")

    failure = outcome_of(pool, trial("hp.Int('depth', 1, 3)"), Refusing()).failure
    assert (failure.name, failure.message) == ("ValueError", "depth is not to be had")
    assert "family.py" in failure.traceback


def test_what_a_trial_prints_does_not_reach_the_terminal(pool, trial, capfd):
    outcome_of(pool, trial("print('noise'); print('noise', file=sys.stderr)"))
    assert "noise" not in "".join(capfd.readouterr())


def test_a_model_too_large_for_memory_is_refused_with_the_numbers(pool, trial):
    body = "task.classify = lambda x: layers.Dense(2, activation='softmax')(layers.UpSampling2D((90000, 90000))(layers.Reshape((1, 1, 3))(x))[:, 0, 0])"  # noqa: E501
    failure = outcome_of(pool, trial(body)).failure
    assert failure.kind == "TooLarge"
    assert "MB are free" in failure.message


def test_a_loss_that_is_no_number_is_a_failure(pool, trial):
    body = "task.classify = lambda x: layers.Dense(2, activation='softmax', kernel_initializer=keras.initializers.Constant(float('nan')))(x)"  # noqa: E501
    assert outcome_of(pool, trial(body)).failure.kind == "NonFinite"


def test_nothing_outlives_the_pool():
    def processes():
        return {each.pid for each in psutil.Process().children(recursive=True)}

    before = processes()
    with contextlib.closing(LocalPool(1)) as pool:
        pool.submit(probe_of("/dev/null"), Listener())
        started = processes() - before
        logs = pool._logs
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=10)
    assert [each.name() for each in alive if "resource_tracker" not in " ".join(each.cmdline())] == []
    assert not Path(logs).exists()


def test_a_trial_ends_with_its_driver(tmp_path):
    """The driver is killed; its fork server and its trial must not go on."""
    script = tmp_path / "driver.py"
    (tmp_path / "family.py").write_text("import time\ntime.sleep(600)\n")
    script.write_text(
        "import time\n"
        "from bench.training.messages import ProbeJob\n"
        "from bench.workers import Listener\n"
        "from bench.workers.local import LocalPool\n"
        "pool = LocalPool(1)\n"
        f"job = ProbeJob(id='1', timeout_s=600.0, path={str(tmp_path / 'family.py')!r}, class_names=('a', 'b'),\n"
        "               input_sizes=(32,), weights='random', seed=0)\n"
        "pool.submit(job, Listener())\n"
        "print(pool._running[0].process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    import subprocess
    import sys

    root = str(Path(local_pool.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert driver.stdout is not None
    with driver.stdout:
        trial = psutil.Process(int(driver.stdout.readline()))
    server = trial.parent()
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert psutil.wait_procs([trial, server], timeout=30)[1] == []


def test_processes_that_die_one_after_another_are_started_later_and_later_then_the_run_ends(trial, monkeypatch):
    monkeypatch.setattr(local_pool, "PAUSES_S", (0.0, 0.0, 0.1, 0.2))
    begun_s, ended = [], []

    def ask():
        begun_s.append(time.monotonic())
        return trial("os.kill(os.getpid(), signal.SIGSEGV)" if len(begun_s) != 3 else "pass"), Listener()

    def search(pool):
        for outcome in run_jobs(pool, ask, Stop()):
            ended.append((time.monotonic(), outcome.failure and outcome.failure.kind))

    last = r"^the process was killed by SIGSEGV .*; the last 4 in a row ended so, and the run ends"
    with contextlib.closing(LocalPool(1)) as pool, pytest.raises(WorkerError, match=last):
        search(pool)  # the end of this pool is that of the fork server: the last test here
    assert [kind for _, kind in ended] == [FailureKind.SIGNAL] * 2 + [None] + [FailureKind.SIGNAL] * 4
    pauses = [begin - end for begin, (end, _) in zip(begun_s[1:], ended, strict=False)]
    assert pauses[1] >= 0.1
    assert pauses[4] >= 0.1
    assert pauses[5] >= 0.2
