"""The metric that docs/metrics.md adds works as written there, and its table names every metric."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from bench import metrics

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The folder of the metrics with the documented file added."""
    (tmp_path / "g_mean.py").write_text(re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)[0], encoding="utf-8")
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    metrics.names.cache_clear()
    yield
    metrics.names.cache_clear()
    metrics.metric.cache_clear()
    sys.modules.pop("bench.metrics.g_mean", None)


def test_the_documented_metric_and_its_test_work(added):
    assert "g_mean" in metrics.names()
    code: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)[1], code)
    code["test_g_mean"]()


def test_the_table_has_every_metric():
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.M) for name in re.findall("`([a-z_0-9]+)", row)
    }
    assert documented == set(metrics.names())
