"""Data that people have, from the folder to the page: damage of every kind, and few or many classes."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import bench
from bench import Budget, RunConfig
from bench.records import LeftOutKind

from .report.test_page import Page

pytestmark = pytest.mark.slow


def scene(seed: int, label: int = 0, side: int = 40) -> Image.Image:
    """A tiny drawn picture: the class is in the colour of a disc, all the rest is by chance."""
    random = np.random.default_rng([seed, label])
    image = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((side, side))
    x, y, radius = random.uniform(0.3, 0.7), random.uniform(0.3, 0.7), random.uniform(0.15, 0.25)
    colour = tuple(np.random.default_rng(label).integers(0, 256, 3).tolist())
    box = [(x - radius) * side, (y - radius) * side, (x + radius) * side, (y + radius) * side]
    ImageDraw.Draw(image).ellipse(box, fill=colour)
    return image


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 50,000 pixels wide and high."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def with_extraneous_bytes(jpeg: bytes) -> bytes:
    """A JPEG file with some bytes between its first segment and the next marker, as some cameras write them."""
    end = 4 + int.from_bytes(jpeg[4:6], "big")  # two markers, then the first segment's length
    return jpeg[:end] + bytes(8) + jpeg[end:]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


HOSTILE = "<img src=x onerror=alert(1)>\n\u202egpj.\udcff"
"""Markup, a line end, text turned round, and a byte that is not UTF-8, in one name."""

PHOTO = encoded(scene(1000), quality=95)
TWO_LABELS = encoded(scene(1001), "PNG")

LEFT_OUT: dict[str, tuple[bytes, LeftOutKind, str]] = {
    "cats/666.jpg": (b"", LeftOutKind.EMPTY, ""),
    "cats/truncated.jpg": (PHOTO[: len(PHOTO) // 2], LeftOutKind.DAMAGED, "truncated"),
    f"cats/{HOSTILE}.jpg": (PHOTO[: len(PHOTO) // 4], LeftOutKind.DAMAGED, ""),
    f"cats/{'n' * 251}.jpg": (b"", LeftOutKind.EMPTY, ""),
    "cats/bomb.png": (bomb(), LeftOutKind.TOO_LARGE, "limit 100 megapixels"),
    "cats/twice.jpg": (PHOTO, LeftOutKind.DUPLICATE, "cats/photo.jpg"),
    "cats/which.png": (TWO_LABELS, LeftOutKind.CONTRADICTING_LABELS, "cats and dogs"),
    "dogs/which.png": (TWO_LABELS, LeftOutKind.CONTRADICTING_LABELS, "cats and dogs"),
}
"""What must not be used, and what is said of it."""

LINKS = {
    "dogs/outside.jpg": ("../../outside.jpg", LeftOutKind.LINK, "outside the folder"),
    "dogs/nowhere.jpg": ("gone.jpg", LeftOutKind.LINK, "leads nowhere"),
    "dogs/loop": ("../dogs", LeftOutKind.LINK, "leads to a folder"),
}
"""Links that are not followed: where they lead, and what is said of them."""

IGNORED = {"cats/Thumbs.db": b"thumbs", "cats/.hidden": b"", "dogs/readme.txt": b"not a picture"}

PUT_RIGHT: dict[str, bytes] = {
    "cats/photo.jpg": PHOTO,
    "cats/grey.jpg": encoded(scene(101).convert("L")),
    "cats/print.jpg": encoded(scene(102).convert("CMYK")),
    "cats/bytes.jpg": with_extraneous_bytes(encoded(scene(110))),
    "cats/clear.png": encoded(scene(103).convert("RGBA").rotate(30), "PNG"),
    "cats/deep.png": encoded(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40), "PNG"),
    "cats/moves.gif": encoded(scene(104), "GIF", save_all=True, append_images=[scene(105)]),
    "dogs/turned.jpg": encoded(scene(106), exif=exif(6)),
    "dogs/really-a-png.jpg": encoded(scene(107), "PNG"),
    f"dogs/{HOSTILE}.png": encoded(scene(108), "PNG"),
    "dogs/near.jpg": encoded(scene(109, side=64), quality=95),
    "dogs/near-again.jpg": encoded(scene(109, side=64), quality=85),
}
"""What is odd and can be used."""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Sound pictures of two classes among one of every kind of damage; what is in it depends on nothing else."""
    root = tmp_path / "photos"
    for label, name in enumerate(("cats", "dogs")):
        (root / name).mkdir(parents=True)
        for number in range(14):
            (root / name / f"{number:02d}.jpg").write_bytes(encoded(scene(number, label)))
    for name, content in {
        **{name: content for name, (content, *_) in LEFT_OUT.items()},
        **IGNORED,
        **PUT_RIGHT,
    }.items():
        (root / name).write_bytes(content)
    (tmp_path / "outside.jpg").write_bytes(encoded(scene(2000)))
    for name, (target, *_) in LINKS.items():
        (root / name).symlink_to(target)
    return root


def test_damage_of_every_kind_is_listed_and_never_trained_on(damaged, space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in damaged.rglob("*")}
    config = RunConfig(
        data="photos", spaces=("dummy", space("tiny")), budget=Budget(2), epochs=1, input_sizes=(16,), out="here"
    )
    run = bench.run(config)
    assert run.status == "complete"
    assert [trial.state for trial in run.trials] == ["COMPLETE"] * 2
    assert {path: path.lstat().st_mtime_ns for path in damaged.rglob("*")} == before

    expected = {name: (kind, detail) for name, (_, kind, detail) in (LEFT_OUT | LINKS).items()}
    split = json.loads((tmp_path / "here" / "split.json").read_text())
    said = {each["id"]: (each["kind"], each["detail"]) for each in split["quarantined"]}
    assert {name: kind for name, (kind, _) in said.items()} == {name: kind for name, (kind, _) in expected.items()}
    assert [name for name, (_, detail) in expected.items() if detail not in said[name][1]] == []
    used = {item["id"] for item in split["items"]}
    assert used == set(PUT_RIGHT) | {f"{name}/{number:02d}.jpg" for name in ("cats", "dogs") for number in range(14)}
    assert split["alike"] == [["dogs/near-again.jpg", "dogs/near.jpg"]]
    assert len({item["part"] for item in split["items"] if "near" in item["id"]}) == 1
    assert sum(split["ignored"].values()) == len(IGNORED)
    assert {"grey", "CMYK"} < set(split["noticed"])

    shown = Page((tmp_path / "here" / "report.html").read_text(encoding="utf-8"))
    pictures = [about["src"] for tag, about in shown.elements if tag == "img"]
    assert [source for source in pictures if not source.startswith("data:image/jpeg;base64,")] == []
    assert "Left out: 11 pictures" in shown.words
    visible = HOSTILE.replace("\n", "\\n").replace("\u202e", "\\u202e").replace("\udcff", "\\udcff")
    for name in expected:
        assert name.replace(HOSTILE, visible) in shown.words


def test_the_same_folder_at_the_command_line(damaged, capsys, monkeypatch, tmp_path):
    from bench.cli import parser

    monkeypatch.chdir(tmp_path)
    assert parser.main(["data", "photos", "--all"]) == 0
    out = capsys.readouterr().out
    assert "left out: 11 pictures" in out
    assert all(name in out for name in (LEFT_OUT | LINKS) if HOSTILE not in name)
    assert "<img src=x onerror=alert(1)>\\n\\u202egpj.\\udcff.jpg (" in out


def test_a_picture_that_changes_after_the_split_is_an_error_with_its_path(damaged, capsys, monkeypatch, tmp_path):
    from bench.cli import parser

    monkeypatch.chdir(tmp_path)
    parser.main(["data", "photos", "--out", "split.json"])
    (damaged / "dogs" / "07.jpg").write_bytes(encoded(scene(3000)))
    capsys.readouterr()
    assert parser.main(["run", "--split-file", "split.json", "--spaces", "dummy"]) == 2
    err = capsys.readouterr().err
    assert f"{Path('photos/dogs/07.jpg')}': its content changed since the split was made" in err
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("classes", [3, 100])
def test_any_number_of_classes_gives_a_board_and_a_page(classes, space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in range(classes):
        folder = tmp_path / "pictures" / f"class {label:03d}"
        folder.mkdir(parents=True)
        for number in range(8 if classes < 100 else 5):
            scene(number, label, side=16).save(folder / f"{number}.png")
    run = bench.run(RunConfig(data="pictures", spaces=("dummy", space("tiny")), budget=Budget(2), epochs=2, out="here"))
    assert [trial.state for trial in run.trials] == ["COMPLETE"] * 2
    assert len(run.split.classes) == classes
    board = run.leaderboard()
    assert set(board["family"]) == {"dummy", "tiny"}
    assert board["test_accuracy"].notna().all()
    predictions = np.load(tmp_path / "here" / "predictions" / "tiny.npz")
    assert run.split.n("test") >= classes
    assert any(predictions[name].shape == (run.split.n("test"), classes) for name in predictions.files)
    shown = Page((tmp_path / "here" / "report.html").read_text(encoding="utf-8")).words
    assert all(name in shown for name in run.split.classes)


# -- shortcuts


def noise(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)).resize((96, 80))


def test_a_class_of_small_grey_pngs_and_one_of_jpegs_is_a_shortcut_that_no_model_is_recommended_without(
    space, tmp_path, monkeypatch, capsys
):
    """The pictures show noise. The family `metadata` is not searched; the test is made all the same."""
    from bench.cli import parser

    monkeypatch.chdir(tmp_path)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
    for number in range(70):
        noise(number).resize((64, 64)).save(tmp_path / "photos" / "a" / f"{number}.png")
        noise(1000 + number).convert("RGB").save(tmp_path / "photos" / "b" / f"{number}.jpg", quality=30)
    options = ["--data", "photos", "--budget", "2", "--epochs", "1", "--input-sizes", "16", "--out", "here"]
    assert parser.main(["run", *options, "--spaces", f"{space('tiny')},dummy"]) == 0
    captured = capsys.readouterr()
    run = bench.load(tmp_path / "here")
    n = run.split.n("test")
    sentence = (
        f"From file format and size alone 100.0 % of {n} test pictures are right (the best constant answer: 50.0 %): "
        "the models may have learnt that."
    )
    assert f"warning: {sentence}" in captured.err.replace("\u00a0", " ").replace("\u202f", " ")
    assert f"warning: {sentence} It is wrong on none" in captured.out.replace("\u00a0", " ").replace("\u202f", " ")
    shown = (
        Page((tmp_path / "here" / "report.html").read_text(encoding="utf-8"))
        .words.replace("\u00a0", " ")
        .replace("\u202f", " ")
    )
    told = [found.start() for found in re.finditer(re.escape(f"Shortcut in the data. {sentence}"), shown)]
    assert shown.index("⚠ Shortcut in the data") < shown.index("Filter") < told[-1] < shown.index("Without limits")


def test_the_metadata_family_stands_on_the_board_beside_chance_and_leads_nothing(space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label, name in enumerate("ab"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            scene(number, label, side=32 + 8 * label).save(tmp_path / "photos" / name / f"{number}.png")
    run = bench.run(RunConfig(
        data="photos", spaces=("metadata", "dummy", space("tiny")), budget=Budget(5), epochs=1, input_sizes=(16,),
        out="here",
    ))  # fmt: skip
    assert {trial.family for trial in run.trials if trial.state == "COMPLETE"} == {"metadata", "dummy", "tiny"}
    assert [trial.family for trial in run.trials].count("metadata") == 1
    best = run.best("metadata")
    assert best.test.accuracy == 1.0  # one class is larger
    assert best.cost.latency_ms > 0
    assert run.ranking()[0].family == "tiny"
    assert json.loads((tmp_path / "here" / "run.json").read_text())["best"]["family"] == "tiny"


def test_drawn_pictures_have_no_shortcut(space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = bench.run(RunConfig(images=200, spaces=(space("tiny"),), budget=Budget(1), epochs=1, out="here"))
    assert run.shortcuts.n == run.split.n("test")
    assert "Shortcut in the data" not in (tmp_path / "here" / "report.html").read_text(encoding="utf-8")
