"""What the page costs: loading and drawing that of a large run, opening it, and drawing it while a run goes on.

Run with `pytest tests/benchmarks/test_report.py --benchmark-only`. A run of 5,000 trials over ten families should be
drawn in 10 s, weigh less than 8 MB and be interactive within 2 s (`interactive_ms`). `percent` is the share of a run
that drawing its page after every trial takes where a trial takes `TRIAL_S`; the driver draws less often where that is
above its limit (`runner.RENDERING_SHARE`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.runs import store

from ..report.browser import launched, opened
from ..report.generated import Size, generate
from ..report.saved import save

pytestmark = pytest.mark.slow

TRIAL_S = 10
"""What a trial of the default run takes at least, on two cores: a process with TensorFlow, training, measuring."""

MAX_BYTES = 8_000_000

LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries()) longTasks.push({ end: each.startTime + each.duration, ms: each.duration });
}).observe({ type: "longtask", buffered: true });
"""

TIMES = """
async () => {
  const idle = () => new Promise((done) => requestIdleCallback(done, { timeout: 10000 }));
  for (let times = 0; times < 3; times += 1) await idle();
  const [navigation] = performance.getEntriesByType("navigation");
  const tasks = longTasks.filter((each) => each.end > navigation.domInteractive);
  return {
    dom_interactive_ms: navigation.domInteractive,
    interactive_ms: Math.max(navigation.domContentLoadedEventEnd, ...tasks.map((each) => each.end)),
    blocked_ms: longTasks.reduce((sum, each) => sum + each.ms - 50, 0),
  };
}
"""
"""Interactive: the scripts have run, and the last task that would have held up an answer to a click is over, one of
over 50 ms (Web Vitals, Time to Interactive)."""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("large"))


@pytest.fixture(scope="module")
def large_page(large):
    report.render(large, large.path / "report.html")
    return large.path / "report.html"


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


def test_a_page_of_five_thousand_trials_stays_small(large_page):
    assert large_page.stat().st_size < MAX_BYTES


def test_drawing_five_thousand_trials(benchmark, large, tmp_path):
    benchmark.pedantic(report.render, args=(large, tmp_path / "report.html"), rounds=3)
    benchmark.extra_info["mb"] = (tmp_path / "report.html").stat().st_size / 1e6


def test_loading_and_drawing_five_thousand_trials(benchmark, large, tmp_path):
    """As `bench report` does it."""
    saved = tmp_path / "run"
    save(large, saved)
    for name in ("predictions", "thumbnails", "thumbnails.json"):
        (saved / name).symlink_to(large.path / name)

    def draw():
        run = store.load(saved)
        report.render(run, saved / "report.html")
        return run

    assert len(benchmark.pedantic(draw, rounds=1).trials) == 5000


def test_opening_five_thousand_trials(benchmark, browser, large_page):
    measured = []

    def open_once():
        with opened(browser, large_page, script=LONG_TASKS) as page:
            measured.append(page.evaluate(TIMES))

    benchmark.pedantic(open_once, rounds=3, warmup_rounds=1)
    for name in measured[-1]:
        benchmark.extra_info[name] = sorted(each[name] for each in measured)[len(measured) // 2]


@pytest.mark.parametrize("trials", [20, 200])
def test_drawing_while_a_run_goes_on(benchmark, tmp_path, trials):
    run = generate(tmp_path, Size(trials=trials, families=6, engines=1, pictures=200, classes=3))
    benchmark.pedantic(report.render, args=(run, Path(tmp_path / "report.html")), rounds=5, warmup_rounds=1)
    if benchmark.stats:  # none with --benchmark-disable
        benchmark.extra_info["percent"] = 100 * benchmark.stats.stats.median / TRIAL_S
