"""Data sets of TensorFlow Datasets, exported once to class folders by a separate process that loads TensorFlow.

    python -m bench.data.sources.tfds NAME FOLDER

writes the stored files of a data set's pictures, and prints one JSON object per line:
`{"progress": [stage, done, total]}`, or `{"error": "..."}` before it ends with status 1.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bench
from bench.cache.downloads import dataset_folder, obtain
from bench.config import RunConfig
from bench.data.sources import StageCallback, part_named
from bench.data.sources.folder import CLUTTER_FOLDERS, Folder
from bench.errors import DataError

PREFIX = "tfds:"

SIGNATURES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}
"""First bytes of an encoded picture, and its suffix."""

STEP = 200
"""Number of pictures between two progress messages."""

_NAME = re.compile(r"[A-Za-z]\w*(/[\w.-]+)?(:\d+\.\d+\.\d+)?", re.ASCII)


@dataclass(frozen=True)
class Exported(Folder):
    """The class folders of an exported data set: NAME, NAME:VERSION or NAME/CONFIG:VERSION."""

    name: str

    @property
    def title(self) -> str:
        return PREFIX + self.name

    def describe(self) -> dict[str, Any]:
        return {"kind": "tfds", "name": self.name}


def open(config: RunConfig, progress: StageCallback | None) -> Exported:
    name = config.data.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise DataError(f"data {config.data!r}: must be tfds:NAME, tfds:NAME:VERSION or tfds:NAME/CONFIG:VERSION")
    return Exported(obtain(_folder_name(name), partial(_run_export, name, progress=progress)), name)


def rebuild(description: Mapping[str, Any]) -> Exported:
    return Exported(dataset_folder(_folder_name(description["name"])), description["name"])


def _folder_name(name: str) -> str:
    return "tfds-" + name.replace("/", "+").replace(":", "@")  # unique, since names contain neither


# -- the driver's side


def _run_export(name: str, target: Path, progress: StageCallback | None) -> None:
    """Export the data set in a separate process; DataError with its message if that fails."""
    paths = [str(Path(bench.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",  # reading files needs no GPU
        "PYTHONPATH": os.pathsep.join(paths),
    }
    message = ""
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(
            [sys.executable, "-m", __name__, name, str(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            encoding="utf-8",
        ) as child:
            try:
                for report in map(json.loads, child.stdout or ()):
                    message = report.get("error", message)
                    if progress and "progress" in report:
                        progress(*report["progress"])
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            log.seek(0)
            lines = [line for line in log.read().decode("utf-8", "replace").split("\n") if line.strip()]
            last = lines[-1].strip() if lines else "no message"
            message = message or f"its export ended with status {child.returncode}: {last}"
            raise DataError(f"data {PREFIX + name!r}: {message}")


# -- the process that exports


def export(name: str, target: Path, progress: StageCallback) -> None:
    """Write the pictures of a data set to `<part>/<class>/<number>.<suffix>`, without the part if it has one split.

    Raises:
        DataError: TensorFlow Datasets is not installed, or the data set does not consist of labelled pictures.
        Exception: Any error of TensorFlow Datasets, for an unknown data set or a failed download.
    """
    try:
        tfds: Any = importlib.import_module("tensorflow_datasets")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_datasets":
            raise
        raise DataError("needs the package tensorflow-datasets: pip install 'image-model-bench[tfds]'") from None
    builder = tfds.builder(name)
    image, label = _features(tfds, builder.info)
    progress(f"preparing {PREFIX}{name}", 0, 0)
    builder.download_and_prepare()
    parts = _parts(builder.info.splits)
    names = _folder_names(builder.info.features[label].names)
    decoders = tfds.decode.PartialDecoding({image: True, label: True}, decoders={image: tfds.decode.SkipDecoding()})
    total = sum(builder.info.splits[split].num_examples for split in parts)
    numbers: Counter[Path] = Counter()
    examples = (
        (part, example)
        for split, part in parts.items()
        for example in tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders, shuffle_files=False))
    )
    for done, (part, example) in enumerate(examples, start=1):
        if example[label] >= 0:  # -1 means unknown, e.g. in the test pictures of competitions
            _write(target / part / names[int(example[label])], numbers, example[image])
        if done % STEP == 0 or done == total:
            progress(f"writing the pictures of {PREFIX}{name}", done, total)
    if not numbers:
        raise DataError("has no labelled pictures")
    if {folder.parent for folder in numbers} == {target / "train"}:  # the other parts have no labels
        emptied = (target / "train").rename(target / ".train")  # a class may be named "train"
        for path in emptied.iterdir():
            path.rename(target / path.name)
        emptied.rmdir()


def _features(tfds: Any, info: Any) -> tuple[str, str]:
    """Names of the picture and the class among the features: the supervised keys, else the only ones of their types."""
    images = [name for name, feature in info.features.items() if isinstance(feature, tfds.features.Image)]
    labels = [name for name, feature in info.features.items() if isinstance(feature, tfds.features.ClassLabel)]
    image, label, *_ = info.supervised_keys or ("", "")
    if image in images and label in labels:
        return image, label
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    features = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in info.features.items())
    raise DataError(f"needs one Image and one ClassLabel, but its features are {features}")


def _parts(splits: Mapping[str, Any]) -> dict[str, str]:
    """Part by used split; "" if there is only one."""
    named = {split: part for split in splits if (part := part_named(split))}
    if len(splits) == 1 or set(named.values()) == {"train"}:
        return {next(iter(named or splits)): ""}
    if "train" not in named.values():
        raise DataError(f"one of its splits must be named train; they are {', '.join(splits)}")
    return named


def _write(folder: Path, numbers: Counter[Path], content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    suffix = next((suffix for start, suffix in SIGNATURES.items() if content.startswith(start)), ".img")
    (folder / f"{numbers[folder]:06d}{suffix}").write_bytes(content)
    numbers[folder] += 1


def _folder_names(classes: Sequence[str]) -> list[str]:
    """Folder name of each class: its name, with its number if the name is not possible or taken."""
    names: dict[str, str] = {}
    for number, class_name in enumerate(classes):
        stem = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]+', "_", class_name).strip(" .")[:60]
        name = stem
        while not name or name.casefold() in {*names, *CLUTTER_FOLDERS}:
            name, stem = f"{stem or 'class'}-{number}", f"{stem}_"
        names[name.casefold()] = name
    return list(names.values())


def main(name: str, target: str) -> int:
    """Export, and report the progress on standard output; return the exit status."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # output of libraries goes to standard error

        def tell(key: str, value: object) -> None:
            print(json.dumps({key: value}), file=channel, flush=True)

        try:
            export(name, Path(target), lambda *progress: tell("progress", progress))
        except Exception as error:
            traceback.print_exc()
            tell("error", _in_one_line(error))
            return 1
    return 0


def _in_one_line(error: Exception) -> str:
    """First line of an error, with the suggestion for an unknown name."""
    if isinstance(error, DataError):
        return str(error)
    first, *more = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    hint = next((line for line in more if line.startswith("Did you mean")), "")
    return f"{type(error).__name__}: {first[:300]} {hint}".rstrip(": ")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
