"""Runs built by hand: a realistic one, one without a trial, and one whose every text is hostile."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import stats
from bench.config import Budget, RunConfig
from bench.records import (
    COMPLETE,
    FAIL,
    PRUNED,
    RUNNING,
    Cost,
    Ending,
    Epoch,
    Failure,
    FailureKind,
    FamilyInfo,
    LeftOut,
    LeftOutKind,
    Metrics,
    Origin,
    OverSeeds,
    PictureSizes,
    Prefix,
    Repeat,
    Run,
    SplitInfo,
    Study,
    Trial,
)
from bench.report import page

from .browser import launched
from .saved import save_predictions

TPE, BAYESIAN = "optuna:tpe", "keras-tuner:bayesian"
HOSTILE = "<img src=x onerror=alert(1)>\"'&</script><b>\u2028\u202e\ncat\ud800\x1b[31m=1+1"


def metrics(accuracy: float, n: int, low: float | None = None, high: float | None = None) -> Metrics:
    return Metrics(n, accuracy, accuracy, accuracy, 1 - accuracy, 1 - accuracy, low, high)


def history(best: float, epochs: int) -> tuple[Epoch, ...]:
    rise = [0.5 + (best - 0.5) * (1 - math.exp(-0.7 * (i + 1))) / (1 - math.exp(-0.7 * epochs)) for i in range(epochs)]
    return tuple(Epoch(i + 1, 1.0 - value, value, 1.02 - value, value, 1.3) for i, value in enumerate(rise))


def trial(
    family: str, engine: str, number: int, order: int, value: float, seconds: float, parameters: int, **more: Any
) -> Trial:
    epochs = more.pop("epochs", 8)
    start = 20.0 * order
    return replace(
        Trial(
            family,
            engine,
            number,
            order,
            COMPLETE,
            started_s=start,
            finished_s=start + seconds + 1.5,
            value=value,
            validation=metrics(value, 180),
            cost=Cost(
                fit_time_s=seconds,
                train_time_s=seconds,
                total_time_s=seconds + 1.4,
                latency_ms=0.4 + parameters / 3e5,
                parameters=parameters,
                trainable_parameters=parameters // 5,
            ),
            history=history(value, epochs) if epochs else (),
            input_size=64,
        ),
        **more,
    )


def failed(family: str, engine: str, number: int, order: int, failure: Failure, **more: Any) -> Trial:
    start = 20.0 * order
    return Trial(family, engine, number, order, FAIL, started_s=start, finished_s=start + 4, failure=failure, **more)


def run_of(*trials: Trial, **more: Any) -> Run:
    studies: dict[tuple[str, str], list[Trial]] = {}
    for each in trials:
        studies.setdefault((each.family, each.engine), []).append(each)
    families = tuple(FamilyInfo(family) for family in dict.fromkeys(each.family for each in trials))
    return build(tuple(Study(*names, tuple(own)) for names, own in studies.items()), families, **more)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, started once a module."""
    with launched() as started:
        yield started


def changed(run: Run, change: Callable[[Trial], Trial]) -> Run:
    """The run with every trial changed."""
    return replace(run, studies=tuple(replace(study, trials=tuple(map(change, study.trials))) for study in run.studies))


def only(run: Run, *families: str) -> Run:
    return replace(
        run,
        families=tuple(family for family in run.families if family.name in families),
        studies=tuple(study for study in run.studies if study.family in families),
    )


def section(run: Run, name: str) -> str:
    """A section of the page as markup."""
    template = page.environment().get_template(f"sections/{name}.html")
    return template.render(run=run, section={**page.TOP, **page.FOLDED}[name].build(run))


def plain(markup: str) -> str:
    """The words that a reader sees, charts left out, with plain spaces."""
    shown = re.sub(r"<(style|script|head|svg|noscript)\b.*?</\1>", " ", markup, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", shown)).split())


def build(studies: tuple[Study, ...], families: tuple[FamilyInfo, ...], **more: Any) -> Run:
    config = RunConfig(
        engines=tuple(dict.fromkeys(study.engine for study in studies)) or (TPE,), budget=Budget(trials=12)
    )
    run = Run(
        path=Path("reports/20261121T001800-drawn"),
        status="complete",
        created_utc="2026-11-21T00:18:00Z",
        config=config,
        environment={
            "python": "3.11.7",
            "platform": "Linux x86_64",
            "packages": {"tensorflow": "2.21.0", "keras": "3.15.1", "optuna": "5.0.0"},
            "cpu": "AMD EPYC 9B14",
            "cores": 2,
            "memory_gb": 8.2,
            "gpus": [],
            "git_commit": "4f1c2a9d03be+",
        },
        split=SplitInfo(
            "drawn",
            ("cat", "dog"),
            {"train": {"cat": 420, "dog": 420}, "validation": {"cat": 90, "dog": 90}, "test": {"cat": 90, "dog": 90}},
            "9f2c44c1b0d6a7e1",
        ),
        families=families,
        studies=studies,
        command="python -m bench run --budget 12 --engine optuna:tpe,keras-tuner:bayesian",
        elapsed_s=612.0,
    )
    return replace(run, **more)


@pytest.fixture
def run() -> Run:
    """Six families under two engines: complete, pruned, failed, duplicate and running trials, missing weights."""
    missing = {"weights": "random (missing)"}
    traceback = "Traceback …\n  fit()\nOOM"
    out_of_memory = Failure(
        FailureKind.EXCEPTION, "out of memory on a tensor of 2 GB", traceback, error="ResourceExhaustedError"
    )
    v2 = {"params": {"input_size": 64, "learning_rate": 0.00031, "frozen_layers": 40, "head": "pooling"}, **missing}
    dummy = {"epochs": 0, "input_size": None}
    first = {"conv_blocks": 4, "dropout": 0.5, "filters": 32, "learning_rate": 0.001, "batch_normalisation": True}
    first["head"] = "pooling"
    second = {**first, "conv_blocks": 5, "dropout": 0.31, "learning_rate": 0.0021, "head": "dense"}
    again = {"params": {"conv_blocks": 4, "dropout": 0.5}, "duplicate_of": "cnn/optuna:tpe#0"}
    free = {"counted": False, "started_s": 110.0, "finished_s": 110.0}
    repeats = (Repeat(1, metrics(0.9, 180)), Repeat(2, metrics(0.9167, 180)))
    pruned = trial("cnn", TPE, 2, 5, 0.61, 6.0, 41_000, params={"conv_blocks": 2}, epochs=3)
    late = Failure(FailureKind.TIMEOUT, "longer than 3600 s")
    tests = {
        "dummy": metrics(0.4944, 180, 0.4222, 0.5669),
        "cnn": metrics(0.9111, 180, 0.8605, 0.9445),
        "mobilenet_v2": metrics(0.9333, 180, 0.8872, 0.9614),
    }
    uniform, stratified = ({"params": {"strategy": strategy}, **dummy} for strategy in ("uniform", "stratified"))
    going = {"started_s": 400.0, "intermediate_values": {1: 0.6, 2: 0.8}}
    every = [
        trial("dummy", TPE, 0, 1, 0.5, 0.0012, 0, origin=Origin.KNOWN, test=tests["dummy"], **uniform),
        trial("dummy", TPE, 1, 2, 0.4833, 0.0009, 0, **stratified),
        trial("cnn", TPE, 0, 3, 0.861, 14.2, 93_500, params=first, origin=Origin.KNOWN),
        trial("cnn", TPE, 1, 4, 0.9222, 31.7, 287_000, params=second, test=tests["cnn"], repeats=repeats),
        replace(pruned, state=PRUNED, ending=Ending.PRUNER),
        trial("cnn", TPE, 3, 0, 0.861, 14.2, 93_500, **again, **free),
        trial("mobilenet_v2", TPE, 0, 6, 0.8889, 61.0, 2_260_000, origin=Origin.KNOWN, **v2),
        trial("mobilenet_v2", TPE, 1, 7, 0.9389, 95.3, 2_422_000, **v2, test=tests["mobilenet_v2"]),
        failed("vgg19", TPE, 0, 8, out_of_memory, **missing),
        trial("cnn", BAYESIAN, 0, 9, 0.861, 14.2, 93_500, origin=Origin.KNOWN, **again),
        trial("cnn", BAYESIAN, 1, 10, 0.8944, 22.4, 160_000, params={"conv_blocks": 5, "dropout": 0.1}),
        failed("cnn", BAYESIAN, 2, 11, late),
        trial("mobilenet_v2", BAYESIAN, 0, 12, 0.9167, 77.7, 2_260_000, **v2),
        Trial("mobilenet_v2", BAYESIAN, 1, 13, RUNNING, **v2, **going),
    ]
    studies = tuple(
        Study(family, engine, tuple(own), exhausted=family == "dummy")
        for (engine, family), own in groupby(every, key=lambda each: (each.engine, each.family))
    )
    families = (
        FamilyInfo("dummy", "What no learning reaches.", configurations=3),
        FamilyInfo("cnn", "Plain convolutional networks of searched depth (LeCun et al., 1998)."),
        FamilyInfo("mobilenet", "MobileNet (Howard et al., 2017).", "random (missing)"),
        FamilyInfo("mobilenet_v2", "MobileNetV2 (Sandler et al., 2018).", "random (missing)"),
        FamilyInfo("vgg16", "VGG-16 (Simonyan and Zisserman, 2014).", skipped="no ImageNet weights"),
        FamilyInfo("vgg19", "VGG-19 (Simonyan and Zisserman, 2014).", "random (missing)"),
    )
    return build(studies, families)


LONG = "photos/" + "n" * 255 + ".jpg"


@pytest.fixture
def messy_run(run: Run) -> Run:
    """Photographs of three classes, unbalanced, of which the audit found much; hostile names among them."""
    counts = {
        "train": {"cat": 3000, "dog": 2990, "owl": 610},
        "validation": {"cat": 1000, "dog": 998, "owl": 203},
        "test": {"cat": 1000, "dog": 1000, "owl": 203},
    }
    kind = LeftOutKind
    left_out = (
        LeftOut("train/cat/666.jpg", kind.EMPTY, label="cat"),
        LeftOut("train/dog/11702.jpg", kind.EMPTY, label="dog"),
        LeftOut(f"train/dog/{HOSTILE}.jpg", kind.DAMAGED, "image file is truncated (12 bytes not processed)", "dog"),
        LeftOut(f"train/cat/{LONG}", kind.DUPLICATE, f"train/cat/{HOSTILE}", "cat"),
        LeftOut("train/owl/bomb.png", kind.TOO_LARGE, "30000 x 30000 pixels, limit 100 megapixels", "owl"),
        LeftOut("train/owl/twice.png", kind.CONTRADICTING_LABELS, "cat and owl", "owl"),
        LeftOut("train/cat/7.jpg", kind.LEAKED_NEAR_DUPLICATE, "test/cat/9.jpg in the test part", "cat"),
        *(LeftOut(f"train/owl/{number}.jpg", kind.DAMAGED, "broken data stream", "owl") for number in range(60)),
    )
    split = SplitInfo(
        "photos",
        ("cat", "dog", "owl"),
        counts,
        "9f2c44c1b0d6a7e1" * 4,
        quarantined=left_out,
        ignored={"hidden or system file": 12, "not a picture": 3},
        noticed={"grey": 41, "turned as EXIF says": 7, "CMYK": 1},
        alike=(("train/cat/7.jpg", "test/cat/9.jpg"), ("train/dog/1.jpg", "train/dog/2.jpg", f"train/dog/{HOSTILE}")),
        sizes=PictureSizes((42, 32), (500, 374), (1050, 702)),
    )
    return replace(run, split=split)


@pytest.fixture
def folded_run(run: Run) -> Run:
    """The same run on five folds, whose accuracies deviate from their mean by 2.2 points."""

    def in_folds(trial: Trial) -> Trial:
        if trial.state != COMPLETE or trial.value is None:
            return trial
        shares = [trial.value + points / 100 for points in (-3, -1, 0, 1, 3)]
        return replace(trial, folds=tuple(metrics(share, 204) for share in shares), best_epochs=(6,))

    counts = {"train": {"cat": 510, "dog": 510}, "validation": {}, "test": {"cat": 90, "dog": 90}}
    return replace(changed(run, in_folds), split=replace(run.split, counts=counts, folds=5))


@pytest.fixture
def cached_run(run: Run) -> Run:
    """The same run with a feature cache: trials that it served, one of two phases, and some trained end to end."""
    phases = ("head",) * 5 + ("fine-tuning",) * 3
    pooled = Prefix(used=True, cut=("out_relu",), features=5120, dtype="float32", disk_mb=20.9)
    head = replace(pooled, phase="head", views=2, disk_mb=38.3, cached=1.0)
    residual = ("block_14_add", "block_15_project_BN")
    tuned = Prefix("fine-tuning", True, "", residual, 5120, 2, "float16", 1152.4, 0.25)
    prefixes = {
        ("cnn", 0): (replace(pooled, cut=("conv2d_3",)),),
        ("cnn", 1): (Prefix("fine-tuning", reason=HOSTILE),),
        ("cnn", 2): (Prefix(reason="no layer is frozen"),),
        ("mobilenet_v2", 0): (pooled,),
        ("mobilenet_v2", 1): (head, tuned),
    }
    saved = {("mobilenet_v2", 1): 60.3, ("cnn", 0): 2.5}

    def cached(trial: Trial) -> Trial:
        if trial.cost is None or (trial.engine != TPE and not trial.duplicate_of):
            return trial
        which = (trial.family, 0 if trial.duplicate_of else trial.number)
        named = phases if which == ("mobilenet_v2", 1) else ("",) * 8
        return replace(
            trial,
            prefixes=prefixes.get(which, ()),
            history=tuple(replace(epoch, phase=phase) for epoch, phase in zip(trial.history, named, strict=False)),
            cost=replace(trial.cost, saved_time_s=saved.get(which, 0.0)),
        )

    return changed(run, cached)


def with_seeds(trial: Trial, right: NDArray[np.bool_]) -> Trial:
    """Scored as it is by those, shape (seeds, pictures); with one seed its repeats stay."""
    scored = [metrics(float(own.mean()), len(own), *stats.wilson(int(own.sum()), len(own))) for own in right]
    if len(right) == 1:
        return replace(trial, test=scored[0])
    accuracy, low, high = stats.over_seeds(right)
    return replace(
        trial,
        test=scored[0],
        repeats=tuple(Repeat(number, each) for number, each in enumerate(scored[1:], start=1)),
        over_seeds=OverSeeds(len(right), accuracy, low, high, stdev(each.accuracy for each in scored)),
    )


Right = Mapping[str, NDArray[np.bool_]]
"""Which test pictures the chosen model of a family classifies rightly; of several seeds a row each, the run's first."""


@pytest.fixture
def predicted(tmp_path: Path) -> Callable[[Run, Right], Run]:
    """Puts a run into a folder with the predictions of families, and their test accuracy into its records."""

    def write(run: Run, right: Right) -> Run:
        for family, rows in right.items():
            for number, own in enumerate(np.atleast_2d(rows)):
                truth = np.where(own, 0.9, 0.1)
                pictures = [f"{picture:064x}" for picture in range(len(own))]
                save_predictions(
                    tmp_path, family, pictures, np.zeros(len(own)), np.stack([truth, 1 - truth], 1), number
                )

        def scored(trial: Trial) -> Trial:
            if trial.test is None or trial.family not in right:
                return trial
            return with_seeds(trial, np.atleast_2d(right[trial.family]))

        return replace(changed(run, scored), path=tmp_path)

    return write


@pytest.fixture
def compared_run(run: Run, predicted: Callable[[Run, Right], Run]) -> Run:
    """The same run with predictions: no test puts cnn below mobilenet_v2, and dummy is below both.

    Of 180 pictures the first has 0 to 11 wrong, cnn 8 to 23, dummy 89 to 179.
    """
    picture = np.arange(180)
    wrong = {"mobilenet_v2": picture < 12, "cnn": (picture >= 8) & (picture < 24), "dummy": picture >= 89}
    return predicted(run, {family: ~own for family, own in wrong.items()})


@pytest.fixture
def seeded_run(run: Run, predicted: Callable[[Run, Right], Run]) -> Run:
    """The same run with three seeds of each family, of which the run's own tells two apart that are tied.

    With it mobilenet_v2 has 3 of 180 pictures wrong, all of which cnn has wrong too, among 20: p = 2 / 2 ** 17. With
    its other seeds it has 31 and 24 wrong, cnn 17 and 14: in the mean cnn is the better one. Dummy has 89 to 93.
    """
    picture = np.arange(180)
    wrong = {"mobilenet_v2": [3, 31, 24], "cnn": [20, 17, 14], "dummy": [91, 89, 93]}
    return predicted(run, {family: np.array([picture >= n for n in numbers]) for family, numbers in wrong.items()})


@pytest.fixture
def empty_run() -> Run:
    """A run that has just begun."""
    return build((), (FamilyInfo("cnn"), FamilyInfo("dummy")), status="running", elapsed_s=0.8)


@pytest.fixture
def hostile_run() -> Run:
    """Every text that comes from outside tries to be markup, script or a formula."""
    family, engine = f"={HOSTILE}", f"@{HOSTILE}"
    failure = Failure(
        FailureKind.EXCEPTION,
        f"{HOSTILE} postgresql://me:secret@host/db",
        f"{HOSTILE} /home/alice/photos/x.py",
        HOSTILE,
    )
    params = {HOSTILE: HOSTILE, "learning_rate": 0.1}
    texts = {
        "weights": HOSTILE,
        "history": tuple(replace(epoch, phase=HOSTILE) for epoch in history(0.9, 2)),
        "prefixes": (Prefix(HOSTILE, True, "", (HOSTILE,), 3, 2, HOSTILE), Prefix(HOSTILE, reason=HOSTILE)),
    }
    test = metrics(0.9, 100, 0.826, 0.945)
    trials = (
        trial(family, engine, 0, 1, 0.9, 3.0, 1000, params=params, test=test, **texts),
        trial(family, engine, 1, 2, 0.9, 3.0, 1000, duplicate_of=HOSTILE),
        failed(family, engine, 2, 3, failure, params=params),
    )
    studies = (Study(family, engine, trials),)
    families = (FamilyInfo(family, HOSTILE, HOSTILE), FamilyInfo(f"{HOSTILE}2", HOSTILE, skipped=HOSTILE))
    split = SplitInfo(HOSTILE, (HOSTILE, "dog"), {"train": {HOSTILE: 3}}, HOSTILE)
    environment = {"cpu": HOSTILE, "packages": {HOSTILE: HOSTILE}, HOSTILE: HOSTILE, "git_commit": HOSTILE}
    run = build(studies, families, split=split, environment=environment, command=HOSTILE, notes=(HOSTILE,))
    storage = {"storage": "mysql://me:secret@host/db", "data": HOSTILE}
    return replace(run, path=Path(f"reports/{HOSTILE.replace('/', '')}"), config=replace(run.config, **storage))
