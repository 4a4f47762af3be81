"""Notices about a run that need the reader's attention, and its main facts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench import text
from bench.records import RUNNING, WAITING, Run, RunStatus, Weights
from bench.report.inventory import Inventory
from bench.report.sections.shortcut_notice import shortcut
from bench.report.sections.verdict import progress
from bench.runs import predictions
from bench.runs.by_class import unfound
from bench.runs.standings import scored

NAMED = 4
"""Maximum number of families or classes that a sentence names."""


@dataclass(frozen=True)
class Notice:
    """A notice.

    Attributes:
        kind: "going", "note", "warning" or "error".
        title: A few words, for the line above the leaderboard.
        link: Id of the section that tells more; "" for none.
        share: Share of the budget that is used, for the bar of a run that goes on.
    """

    kind: str
    title: str
    text: str = ""
    link: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Notices:
    """The section: all notices, the state of the run first."""

    notices: Sequence[Notice]

    @property
    def summary(self) -> str:
        """The titles; "" without a notice."""
        return " · ".join(notice.title for notice in self.notices if notice.kind != "going")


def section(run: Run) -> Notices:
    """The notices of a run."""
    return Notices(notices(run))


def notices(run: Run) -> list[Notice]:
    """The notices, the state of the run first."""
    account = Inventory(run.split, run.config)
    banners = [*_state(run)]
    if noticed := shortcut(run):
        banners.append(Notice(noticed.level, noticed.title, str(noticed), "ship"))
    hidden = "Accuracy hides a class" if run.metric.name == "accuracy" else "A class is missed"
    titled = {
        ("Pretrained weights missing", "leaderboard"): _random_weights(run),
        (hidden, "models"): hidden_classes(run),
        ("Unbalanced classes", "leaderboard"): account.misleading,
        ("Some families have no result", "leaderboard"): _without_result(run),
        ("Pictures left out", "data"): account.losses,
        ("Labels in doubt", "data"): account.doubts,
        ("Pictures that may belong together", "data"): account.suggestions,
    }
    banners += [
        Notice("warning", title, " ".join(warnings), link) for (title, link), warnings in titled.items() if warnings
    ]
    return banners + [Notice("note", "Note", note) for note in run.notes]


def _state(run: Run) -> list[Notice]:
    if run.status == "running":
        training = list(dict.fromkeys(text.label(trial) for trial in run.trials if trial.state == RUNNING))
        now = f", {text.listing(training)} in training" if training else ""
        so_far = f"{progress(run)}{now}, {text.seconds(max(run.elapsed_s, 1))} so far."
        return [Notice("going", "Still going", so_far, share=used(run))]
    resume = f"Continue it: {shlex.join(['python', '-m', 'bench', 'resume', str(run.path)])}"
    if run.status == RunStatus.PARTIAL:
        stopped = f"It was stopped after {progress(run)}; the results up to then are shown. {resume}"
        return [Notice("warning", "Partial run", stopped, "reproduce")]
    if run.status == RunStatus.KILLED:
        lost = f"Its process is gone after {progress(run)}, and nothing that ended is lost. {resume}"
        return [Notice("warning", "Stopped (killed)", lost, "reproduce")]
    if run.status == RunStatus.FAILED:
        return [Notice("error", "Failed run", f"It ended with an error after {progress(run)}.", "failures")]
    return []


def used(run: Run) -> float | None:
    """Share of the budget that is used, from 0 to 1; None without a budget."""
    budget, engines = run.config.budget, max(len(run.config.engines), 1)
    done = sum(trial.counted and trial.state not in (RUNNING, WAITING) for trial in run.trials)
    shares = [done / (budget.trials * engines)] if budget.trials else []
    shares += [run.elapsed_s / (budget.seconds * engines)] if budget.seconds else []
    return min(max(shares), 1.0) if shares else None


def _random_weights(run: Run) -> list[str]:
    missing = sorted({trial.family for trial in run.trials if trial.weights == Weights.MISSING})
    if not missing:
        return []
    return [
        f"{text.listing(missing, 8)} started from random weights, because the pretrained weights were not available.",
        "These figures are about training from scratch, not about fine-tuning.",
    ]


def _without_result(run: Run) -> list[str]:
    tried = {trial.family for trial in run.trials}
    idle = [family.name for family in run.families if family.name not in tried and not family.skipped]
    reasons = {
        "No complete trial": run.failed_families(),
        "No trial within the budget": idle if run.status != "running" else [],
        "Skipped": [family.name for family in run.families if family.skipped],
    }
    return [f"{reason}: {text.listing(names, 8)}." for reason, names in reasons.items() if names]


def hidden_classes(run: Run) -> list[str]:
    """Sentences about classes that no family finds, and about families that are no better than one constant answer.

    Balanced accuracies, the means over classes of the recall, stand beside them.
    """
    ranked, by_family, sentences = scored(run), predictions.of_run(run), []
    models = [by_family[trial.family] for trial in ranked if trial.family in by_family]
    if missed := unfound(run):
        names, pictures = [text.one_line(name) for name in missed], text.plural(sum(missed.values()), "test picture")
        sentences.append(f"No family finds {text.listing(names, NAMED)}: all have a recall of 0 of {pictures}.")
    labels = models[0].labels if models else np.zeros(0, np.int64)
    constant = int(np.bincount(labels, minlength=1).max())
    most = max((int(model.right.sum()) for model in models), default=0)
    if run.metric.name == "accuracy" and len(labels) > constant >= most:
        name, share = text.one_line(run.split.classes[int(np.bincount(labels).argmax())]), constant / len(labels)
        sentences.append(f"No family is better than always answering {name} ({text.percent(share)}).")
    if not sentences:
        return []
    balanced = [f"{trial.family} {text.percent(trial.test.balanced_accuracy)}" for trial in ranked if trial.test]
    return [*sentences, f"Balanced accuracy: {text.listing(balanced, NAMED)}."]


def facts(run: Run) -> list[tuple[str, str]]:
    """The main facts of a run, as names and values."""
    split, environment, config = run.split, run.environment, run.config
    classes = text.listing(split.classes) if 0 < len(split.classes) <= 4 else f"{len(split.classes)} classes"
    engines = config.engines
    per_engine = " for each engine" if len(engines) > 1 else ""
    hardware = [str(environment["cpu"])] if environment.get("cpu") else []
    hardware += [text.plural(int(environment["cores"]), "core")] if environment.get("cores") else []
    hardware += [str(gpu) for gpu in environment.get("gpus") or ()]
    commit = run.commit or text.NOTHING
    parts = Inventory(split, config).parts
    return [
        ("Data", f"{split.source}: {classes}"),
        ("Pictures", " · ".join(f"{text.thousands(n)} {part}" for part, n in parts.items())),
        ("Budget", text.budget(config) + per_engine),
        ("Engines" if len(engines) > 1 else "Engine", ", ".join(dict.fromkeys(engines)) or text.NOTHING),
        ("Seed", str(config.seed)),
        ("Took" if run.status != "running" else "So far", text.seconds(max(run.elapsed_s, 1))),
        ("Hardware", ", ".join(hardware) or text.NOTHING),
        ("Commit", f"{commit[:-1]} (modified)" if commit.endswith("+") else commit),
    ]
