"""A run in PostgreSQL whose connections are ended at random moments, and whose server is restarted."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from bench.records import RunStatus
from bench.runs import store
from bench.runs.optuna_storage import STORAGE

from .driver import KILLS, TRIALS, Driver, board

pytestmark = pytest.mark.slow

KILLS_A_RUN = 5
SERVER_USERS = ("postgres", "nobody")
"""Users that a server is run as, because root must not run one."""


class Server:
    """A PostgreSQL server in a folder, reached by a socket there."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        self._do("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off"
        self._do("pg_ctl", "start", "--wait", f"--log={self._folder / 'log'}", f"--options={options}")

    def stop(self, mode: str = "fast") -> None:
        self._do("pg_ctl", "stop", "--wait", f"--mode={mode}")

    def end_connections(self) -> int:
        """End all connections but this one; return their number."""
        import psycopg

        with psycopg.connect(f"host={self._folder} user=postgres") as connection:
            others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ended = connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            return len(ended.fetchall())

    def _do(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, f"--pgdata={self._folder / 'data'}", *arguments]
        as_user = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self._folder, **quiet, **(as_user if self._user else {}))


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[postgresql]'")
    found = [Path(path) for path in [shutil.which("pg_ctl")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), reverse=True)  # Debian has none on the path
    if not found:
        pytest.skip("PostgreSQL is not installed, e.g. apt-get install postgresql")
    user = None
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in SERVER_USERS if name in names), None)
        if user is None:
            pytest.skip(f"root must not run PostgreSQL, and there is none of the users {', '.join(SERVER_USERS)}")
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:  # short: a socket's path has at most 107 characters
        if user:
            shutil.chown(folder, user)
        running = Server(found[0].resolve().parent, Path(folder), user)
        yield running
        running.stop("immediate")


def start(folder, server, *arguments):
    return Driver(folder, *arguments, environment={STORAGE: server.url})


def assert_equal(folder, name, server, whole):
    run = store.load(folder / name, server.url)
    assert run.status == RunStatus.COMPLETE
    assert board(run) == board(whole[0])


@pytest.mark.parametrize("number", range(max(1, KILLS // 20 // KILLS_A_RUN)))
def test_ended_connections_cost_no_trial(folder, whole, server, number):
    generator, name = random.Random(number), f"connections-{number}"
    driver = start(folder, server, "run", name, str(TRIALS))
    for _ in range(KILLS_A_RUN):
        driver.read(generator.randint(1, 2))
        time.sleep(generator.uniform(0, 0.2))
        assert server.end_connections()
    assert driver.end() == 0
    assert_equal(folder, name, server, whole)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_restarted_costs_no_trial(folder, whole, server, mode):
    driver = start(folder, server, "run", mode, str(TRIALS))
    driver.read(4)
    server.stop(mode)
    driver.wait(2)
    server.start()
    assert driver.end() == 0
    assert_equal(folder, mode, server, whole)


def test_a_killed_run_in_postgresql_is_resumed(folder, whole, server):
    driver = start(folder, server, "run", "resumed", str(TRIALS))
    driver.read(4)
    driver.process.kill()
    driver.end()
    ended = {trial.name for trial in store.load(folder / "resumed", server.url).trials if trial.finished_s is not None}
    assert set(driver.printed) <= ended
    resumed = start(folder, server, "resume", "resumed")
    resumed.read(2)
    server.end_connections()
    assert resumed.end() == 0
    assert_equal(folder, "resumed", server, whole)
