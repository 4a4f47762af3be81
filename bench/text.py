"""Numbers with their units as text, and text from outside made safe to display."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bench.config import RunConfig
from bench.metrics import metric
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, WAITING, Limit, Prefix, SearchPlan, Trial, limits

if TYPE_CHECKING:  # it brings NumPy along
    from bench.metrics._metric import Metric

NOTHING = "–"
"""Text for a figure that was not measured."""

MASK = "***"
"""Replacement for a password."""

_GAP = "\u00a0"  # a number and its unit stay on one line
_THIN = "\u202f"  # before a percent sign
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Control characters, and characters that reorder or hide text (Unicode TR36, section 2.10).
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ud800-\udfff]"
)
_HOME = re.compile(r"/(?:home|Users)/[^/\s\"':]+|/root(?![^/\s\"':])|\b[A-Za-z]:\\Users\\[^\\\s\"':]+")
_PASSWORD = re.compile(
    r"""(://[^\s:/]*:)[^\s"'<>]{0,999}(?=@)|([?&;](?:ssl)?(?:password|passwd|pwd)=)[^\s"'<>&;]*""", re.I
)
_SECRETS = re.compile("([?&;][^=&;]*=)[^&;]*")
_SECRET = re.compile("pass|pwd|secret|token", re.I)


def clean(text: str) -> str:
    """Make text from outside safe to display.

    Colour codes are removed. Control, reordering and invisible characters become visible escapes such as `\\u202e`; the
    path of a home folder becomes `~`; the password in a URL becomes `***`. Line ends and tabs stay.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    return _HIDDEN.sub(lambda match: ascii(match[0])[1:-1], _HOME.sub("~", without_password(text)))


def one_line(text: str, limit: int | None = None, end: str = "…") -> str:
    """Make a name from outside safe to display on one line: `clean`, escape line ends and tabs, cut after `limit`."""
    line = clean(text).replace("\n", "\\n").replace("\t", "\\t")
    return line if limit is None else shorten(line, limit, end)


def without_password(text: str) -> str:
    """Replace the password in each URL by `***`: `user:password@host` and `?password=`.

    The password ends at the last `@` before a space or a quote, since it may contain an unencoded `@` or `/`.
    """
    return _PASSWORD.sub(lambda match: f"{match[1] or match[2]}{MASK}", text)


def masked_url(url: str) -> str:
    """Replace the password in the URL of a database by `***`, whatever its characters, even if the URL is invalid.

    The password begins after the first colon without `//` and ends at the last `@`; in a query it is the value of a
    name such as `password` or `sslpassword`.
    """
    url = _SECRETS.sub(lambda match: match[1] + MASK if _SECRET.search(unquote(match[1])) else match[0], url)
    return re.sub(r":(?!//).*@", f":{MASK}@", url, count=1, flags=re.DOTALL)


def without_commands(line: str) -> str:
    """Change a line of a log so that no CI runs it as a command: GitHub reads `::` and `##[`, Azure `##vso[`.

    Source: ActionCommand.cs of github.com/actions/runner; logging commands of Azure Pipelines.
    """
    if line.lstrip().startswith("::"):
        line = line.replace("::", ":\\x3a", 1)
    return line.replace("##", "#\\x23")


def harmless(text: str) -> str:
    """Make text from outside safe for a terminal, and for a CI that reads the output: `clean`, `plain`, no commands."""
    return "\n".join(map(without_commands, plain(clean(text)).split("\n")))


def plain(text: str) -> str:
    """Replace typographic spaces for a terminal or a file by spaces."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def shorten(text: str, limit: int, end: str = "…") -> str:
    """Join the lines of a text and cut it after `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - len(end)].rstrip() + end


def percent(share: float | None) -> str:
    """0.8889 as `88.9 %`."""
    return NOTHING if share is None else f"{100 * share:.1f}{_THIN}%"


def metric_name(metric: Metric) -> str:
    """The name of a metric within a sentence: `balanced accuracy`, `recall of crack`."""
    return one_line(metric.title, 60)


def metric_heading(metric: Metric) -> str:
    """The name of a metric at a beginning: `Balanced accuracy`, `ROC AUC`."""
    return metric_name(metric)[:1].upper() + metric_name(metric)[1:]


def most(metric: Metric) -> str:
    """The superlative of a metric: `most accurate`, `best`."""
    return "most accurate" if metric.name == "accuracy" else "best"


def figure(value: float | None, metric: Metric) -> str:
    """The value of a metric: `88.9 %`, or `0.412` where percent are not usual."""
    return percent(value) if metric.percent or value is None else f"{value:.3f}"


def figures(low: float, high: float, metric: Metric) -> str:
    """The ends of an interval of a metric: `91.8–96.1 %`, `0.402–0.431`."""
    return interval(low, high) if metric.percent else f"{low:.3f}–{high:.3f}"


def gap(difference: float, metric: Metric) -> str:
    """A difference of a metric with its sign, in percentage points or its unit: `+2.3`, `−0.021`."""
    return points(difference) if metric.percent else _signed(difference, 3)


def sized(difference: float, metric: Metric) -> str:
    """The size of a difference of a metric with its unit: `2.3 points`, `0.021`."""
    return gap(abs(difference), metric).removeprefix("+") + (" points" if metric.percent else "")


def ahead(difference: float, metric: Metric) -> str:
    """An advantage: `2.3 points more accurate`, `2.3 points of macro F1 better`, `0.021 better in log loss`."""
    if metric.name == "accuracy":
        return f"{sized(difference, metric)} more accurate"
    if metric.percent:
        return f"{sized(difference, metric)} of {metric_name(metric)} better"
    return f"{sized(difference, metric)} better in {metric_name(metric)}"


def validation(trial: Trial) -> str:
    """A trial's validation result: `88.9 %`; with folds, mean and standard deviation: `88.9 % ± 2.3`."""
    by = metric(trial.metric)
    spread = "" if trial.spread is None else f"{_GAP}±{_GAP}{gap(trial.spread, by).removeprefix('+')}"
    return f"{figure(trial.value, by)}{spread}"


def over_folds(folds: int) -> str:
    """Description of a validation accuracy with folds."""
    return f"mean of {folds} folds ± standard deviation"


def mean_of_seeds(trials: Iterable[Trial]) -> str:
    """Description of the trials' test accuracies: `mean of 3 seeds`, `mean of 1 to 3 seeds`; "" with one seed."""
    seeds = [trial.over_seeds.seeds if trial.over_seeds else 1 for trial in trials if trial.test]
    fewest, most = min(seeds, default=1), max(seeds, default=1)
    if most == 1:
        return ""
    return f"mean of {plural(most, 'seed')}" if fewest == most else f"mean of {fewest} to {plural(most, 'seed')}"


def interval(low: float, high: float) -> str:
    """0.918, 0.961 as `91.8–96.1 %`."""
    return f"{100 * low:.1f}–{100 * high:.1f}{_THIN}%"


def points(difference: float) -> str:
    """A difference of two shares, in percentage points: 0.0231 as `+2.3`, -0.004 as `−0.4`, 0 as `0.0`."""
    return _signed(100 * difference, 1)


def _signed(number: float, decimals: int) -> str:
    rounded = round(number, decimals)
    return f"{rounded:+.{decimals}f}".replace("-", "−") if rounded else f"{0:.{decimals}f}"


def p_value(p: float) -> str:
    """A p-value: 0.0004 as `p < 0.001`, 0.0321 as `p = 0.032`, 0.25 as `p = 0.25`, 1 as `p = 1`."""
    if p < 0.001:
        return f"p{_GAP}<{_GAP}0.001"
    return f"p{_GAP}={_GAP}{p:.3f}" if p < 0.0995 else f"p{_GAP}={_GAP}{p:.2f}" if p < 0.995 else f"p{_GAP}={_GAP}1"


def seconds(value: float | None) -> str:
    """A duration: `3.2 ms`, `12.3 s`, `2 min 5 s`, `1 h 2 min`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value <= 0:
        return f"0{_GAP}s"
    if value < 0.9995:
        return milliseconds(1000 * value)
    if value < 59.95:
        return f"{value:.1f}{_GAP}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{_GAP}min" + (f"{_GAP}{rest}{_GAP}s" if rest else "")
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours}{_GAP}h" + (f"{_GAP}{minutes}{_GAP}min" if minutes else "")


def milliseconds(value: float | None) -> str:
    """A latency: `0.42 ms`, `12.3 ms`, `1.2 s`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value >= 999.5:
        return seconds(value / 1000)
    return f"{value:.{2 if value < 1 else 1 if value < 99.95 else 0}f}{_GAP}ms"


def count(value: float | None) -> str:
    """A quantity: `812`, `12.3 k`, `2.3 M`, `0.31 G`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 1000:
        return f"{value:.0f}"
    for factor, unit in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        scaled = value / factor
        if scaled < 99.95:
            return f"{scaled:.1f}{_GAP}{unit}"
        if scaled < 999.5:
            return f"{scaled:.0f}{_GAP}{unit}"
    return f"{value / 1e12:.1f}{_GAP}T"


def megabytes(value: float) -> str:
    """A size in 10**6 bytes: `0.4 MB`, `25.6 MB`, `205 MB`, `1.2 GB`."""
    if value >= 999.5:
        return f"{value / 1000:.1f}{_GAP}GB"
    return f"{value:.{1 if value < 99.95 else 0}f}{_GAP}MB"


def number(value: object) -> str:
    """A hyperparameter's value: floats with four significant digits, everything else as it is."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"


def thousands(n: int) -> str:
    """A whole number in full: `10,000`."""
    return f"{n:,}"


def quantity(limit: Limit, value: float) -> str:
    """A limited figure with its unit: `240 k parameters`, `5 M parameters`, `9.4 MB`, `20 ms`."""
    if limit is Limit.PARAMETERS:
        return f"{count(value).replace(f'.0{_GAP}', _GAP)}{_GAP}{limit.words}"
    return f"{value:.3g}{_GAP}{limit.words}" if value < 999.5 else f"{value:.0f}{_GAP}{limit.words}"


def refusals(trials: Iterable[Trial], config: RunConfig) -> str:
    """The number of distinct configurations that the limits refused, by limit; "" without any.

    `12 configurations refused: above 5 M parameters`, `3 configurations refused: 2 above 5 M parameters, 1 above 20 ms`
    """
    refused = {(trial.family, parameters(trial.params)): trial.limit for trial in trials if trial.limit}
    values = limits(config)
    counts = {limit: n for limit in Limit if (n := list(refused.values()).count(limit))}
    if not counts:
        return ""
    above = {
        limit: f"above {quantity(limit, values[limit])}" if limit in values else "above their share of the time"
        for limit in counts
    }
    parts = [f"{thousands(n)} {above[limit]}" for limit, n in counts.items()] if len(counts) > 1 else above.values()
    return f"{plural(len(refused), 'configuration')} refused: {', '.join(parts)}"


def plural(n: int, one: str, many: str = "") -> str:
    """`1 trial`, `2 trials`."""
    return f"{thousands(n)}{_GAP}{one if n == 1 else many or one + 's'}"


def listing(names: Sequence[str], limit: int = 4) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 5 more`."""
    shown = list(names)
    if len(shown) > limit:
        shown = [*shown[: limit - 1], f"{len(names) - limit + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def budget(config: RunConfig) -> str:
    """The budget of a run: `20 trials or 30 min`."""
    limits = _limits(config.budget.trials, config.budget.seconds)
    return limits or ("the known configurations" if config.only_known else NOTHING)


def _limits(trials: int | None, time_s: float | None) -> str:
    parts = [] if trials is None else [plural(trials, "trial")]
    return " or ".join(parts if time_s is None else [*parts, seconds(time_s)])


def search_plan(plan: SearchPlan) -> str:
    """Division of the budget on one line: `20 trials: 6 known configurations first, one per family, then …`."""
    budget = _limits(plan.trials, plan.seconds) + (" for each engine" if len(plan.engines) > 1 else "")
    known = plural(plan.known, "known configuration")
    if plan.only_known:
        return f"{budget}: {known}, no proposals"
    per_family = ", one per family" if plan.known == plan.families > 1 else ""
    counts = ["proposals" if plan.proposals is None else plural(plan.proposals, "proposal")]
    counts += counts[:1] * (len(plan.engines) - 1)
    proposals = listing([f"{count} by {engine}" for count, engine in zip(counts, plan.engines, strict=True)], 9)
    order = f"{known} first{per_family}, then {proposals}" if plan.known else proposals
    if plan.allocation == "adaptive":
        order = f"first its known configuration, then {proposals}" if plan.known else proposals
        order = f"each trial goes to the family with the largest expected gain a second: {order}"
    return f"{budget}: {order}{_baselines(plan.baselines)}"


def _baselines(families: Sequence[str]) -> str:
    names = listing([one_line(name, 40) for name in families], 9)
    if len(families) == 1:
        return f"; {names} takes one trial, since it cannot learn"
    return f"; {names} take one trial each, since they cannot learn" if families else ""


def parameters(params: Mapping[str, object]) -> str:
    """Hyperparameters on one line: `learning_rate 0.0003, dropout 0.4`."""
    return ", ".join(f"{name} {number(value)}" for name, value in params.items())


def frozen(prefix: Prefix) -> str:
    """Use of the frozen layers in a phase of training, in words."""
    phase = f"{one_line(prefix.phase)}: " if prefix.phase else ""
    if not prefix.used:
        return f"{phase}trained end to end" + (f": {one_line(prefix.reason, 160)}" if prefix.reason else "")
    ends = listing([one_line(name, 40) for name in prefix.cut])
    views = f"view, {plural(prefix.views, 'view')} of a training picture" if prefix.views > 1 else "picture"
    size = f"{megabytes(prefix.disk_mb)} on disk"
    known = {0.0: "none", 1.0: "all"}.get(prefix.cached, percent(prefix.cached))
    return (
        f"{phase}trained on the features of the frozen layers{f' up to {ends}' if ends else ''}: "
        f"{plural(prefix.features, 'number')} a {views}, {one_line(prefix.dtype)}, "
        f"{size}, {known} in the cache already"
    )


def with_weights(family: str, weights: str) -> str:
    """A family's name, labelled if it trained from random weights: `mobilenet_v2 · random weights`."""
    return f"{family} · {random_weights(weights)}" if random_weights(weights) else family


def random_weights(weights: str) -> str:
    """Label for a backbone that did not start from pretrained weights; "" for others."""
    return "random weights" if weights in ("random", "random (missing)") else ""


def label(trial: Trial) -> str:
    """A trial's family as named in tables and figures."""
    return with_weights(trial.family, trial.weights)


def states(trials: Iterable[Trial]) -> str:
    """The number of trials in each state: `4 complete, 1 failed`."""
    words = {COMPLETE: "complete", PRUNED: "pruned", FAIL: "failed", RUNNING: "running", WAITING: "waiting"}
    counts = Counter("refused" if trial.limit else words[trial.state] for trial in trials)
    return ", ".join(f"{counts[word]}{_GAP}{word}" for word in (*words.values(), "refused") if counts[word])
