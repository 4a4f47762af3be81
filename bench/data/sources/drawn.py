"""Cats and dogs drawn from a seed: no download, and hard enough that deeper networks are better.

The classes differ in the arrangement of parts: the direction of the ears, the length of the muzzle, the shape of the
tail. Colours, sizes, patterns, poses, scenes and light have the same distribution in both, and similar shapes are drawn
as clutter around the animal. Traits overlap between the classes, and some pictures hide them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from bench.config import RunConfig
from bench.data.pictures import Picture, PictureError
from bench.data.sources import ListedPicture, Listing, Source, StageCallback
from bench.records import LeftOutKind

CLASSES = ("cats", "dogs")
SIDE = 64
"""Side of the pictures in pixels."""

_FINE = 3
"""Pictures are drawn this many times larger, then averaged for smooth edges."""

Colour = tuple[int, int, int]
Point = tuple[float, float]
T = TypeVar("T")


@dataclass(frozen=True)
class Drawn(Source):
    """Drawn pictures, cats and dogs in turn; the first pictures of a seed do not depend on their number."""

    images: int
    seed: int

    @property
    def title(self) -> str:
        return f"drawn cats and dogs (seed {self.seed})"

    @property
    def input_sizes(self) -> tuple[int, ...]:
        return 32, 64, 128  # pretrained networks see little in 64 pixels, which is all that is drawn

    def describe(self) -> dict[str, Any]:
        return {"kind": "drawn", "images": self.images, "seed": self.seed}

    def listing(self) -> Listing:
        names = (CLASSES[index % 2] for index in range(self.images))
        return Listing(CLASSES, tuple(ListedPicture(f"{name}/{index:06d}", name) for index, name in enumerate(names)))

    def picture(self, item_id: str, least: int = 0) -> Picture:
        label, _, number = item_id.partition("/")
        if not number.isdigit() or int(number) >= self.images or label != CLASSES[int(number) % 2]:
            raise PictureError(item_id, LeftOutKind.UNREADABLE, f"none of the {self.images} drawn ones")
        pixels = np.asarray(draw(self.seed, int(number)))
        return Picture(pixels, hashlib.sha256(pixels.tobytes()).hexdigest(), item_id, (SIDE, SIDE))


def open(config: RunConfig, progress: StageCallback | None) -> Drawn:
    return Drawn(config.images, config.seed)


def rebuild(description: Mapping[str, Any]) -> Drawn:
    return Drawn(int(description["images"]), int(description["seed"]))


def _colours(text: str) -> tuple[Colour, ...]:
    return tuple((red, green, blue) for red, green, blue in map(bytes.fromhex, text.split()))


_COATS = _colours("de9046 f4e2c4 3a3436 807c80 96623a eeece8 c4a070 5c4230 bab8be e4ba82")
_IRISES = _colours("78b054 e2b23c 5c3c24 60a0c8 462e1e")
_GROUNDS = _colours("86b260 c4a87c aa7e5c ceccd6 e8d8b0 788c6e b25c54")
_SKIES = _colours("a4d0ee f8e0be cee2ce e2cee2 96a8c8 f0f0e8 fcd0b4")
_THINGS = _colours("ce463e 4276b2 f0be42 588e5c 9660a0 f0f0f0 6e4e38")
_CIRCLE: tuple[Point, ...] = tuple(
    (math.cos(2 * math.pi * step / 28), math.sin(2 * math.pi * step / 28)) for step in range(28)
)


class _Brush:
    """A brush with a coordinate frame: x to the right, y down, one unit is `scale` pixels, turned by `angle`."""

    def __init__(self, draw: ImageDraw.ImageDraw, origin: Point, scale: float, angle: float = 0.0) -> None:
        self._draw, self._origin, self._scale, self._angle = draw, origin, scale, angle

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> _Brush:
        """A brush whose origin is a point of this brush's frame."""
        return _Brush(self._draw, self._place((x, y)), self._scale * scale, self._angle + angle)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([self._place(point) for point in points], fill=colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0) -> None:
        frame = self.at(x, y, angle=turn)
        frame.polygon([(rx * cos, ry * sin) for cos, sin in _CIRCLE], colour)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line with round ends and joints."""
        pixels = max(1, round(width * self._scale))
        placed = [self._place(point) for point in points]
        self._draw.line(placed, fill=colour, width=pixels, joint="curve")
        if pixels > 2:
            for x, y in (placed[0], placed[-1]):
                r = pixels / 2 - 0.5
                self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def _place(self, point: Point) -> Point:
        cos, sin = math.cos(self._angle), math.sin(self._angle)
        x, y = point[0] * self._scale, point[1] * self._scale
        return self._origin[0] + x * cos - y * sin, self._origin[1] + x * sin + y * cos


def draw(seed: int, index: int) -> Image.Image:
    """Draw picture number `index` of a seed, RGB, `SIDE` pixels square: a dog if the index is odd, else a cat."""
    rng = np.random.default_rng([seed, index])
    animal = _Animal(rng, dog=index % 2 == 1)
    image = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE))
    canvas = _Brush(ImageDraw.Draw(image), (0, 0), SIDE * _FINE)  # the picture is the unit square
    horizon = _scene(canvas, rng)
    for _ in range(rng.integers(0, 3)):
        _clutter(canvas, rng, horizon)
    animal.paint(canvas)
    if rng.random() < 0.25:
        _occlusion(canvas, rng)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.reduce(_FINE)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.9)))
    return Image.fromarray(_lit(np.asarray(image), rng))


def _scene(canvas: _Brush, rng: np.random.Generator) -> float:
    """Draw background and floor; return the height of the horizon."""
    horizon = rng.uniform(0.45, 0.8)
    sky = _varied(rng, _pick(rng, _SKIES))
    canvas.polygon(_rectangle(0, 0, 1, 1), sky)
    if rng.random() < 0.35:
        paper, width = _shaded(sky, 0.9), rng.uniform(0.05, 0.14)
        for left in np.arange(rng.uniform(0, width), 1, 2 * width):
            canvas.polygon(_rectangle(float(left), 0, float(left) + width, horizon), paper)
    canvas.polygon(_rectangle(0, horizon, 1, 1), _varied(rng, _pick(rng, _GROUNDS)))
    return horizon


def _clutter(canvas: _Brush, rng: np.random.Generator, horizon: float) -> None:
    """Draw something behind the animal, in shapes and colours like its own."""
    colour = _varied(rng, _pick(rng, _COATS + _THINGS))
    x, size = rng.uniform(0, 1), rng.uniform(0.08, 0.24)
    frame = canvas.at(x, rng.uniform(0.05, horizon + 0.15), size, rng.normal(0, 0.3))
    match rng.integers(6):
        case 0:  # a tent, a roof, a fir
            frame.polygon([(-0.6, 0.8), (0, -0.9), (0.6, 0.8)], colour)
        case 1:  # two peaks
            frame.polygon([(-1, 0.5), (-0.7, -0.8), (-0.1, 0), (0.1, 0), (0.7, -0.8), (1, 0.5)], colour)
        case 2:  # drooping leaves
            for side in (-1, 1):
                frame.ellipse(0.45 * side, 0.2, 0.28, 0.75, colour, turn=-0.5 * side)
        case 3:  # a ball, a bush
            frame.ellipse(0, 0, 0.7, rng.uniform(0.5, 0.8), colour)
        case 4:  # a branch, a rope
            frame.stroke(_curve((-0.9, 0.6), -0.6, 2.2, rng.normal(0, 0.8)), 0.22, colour)
        case _:  # a box, a book
            frame.polygon(_rectangle(-0.7, -0.5, 0.7, 0.6), colour)


class _Animal:
    """A cat or a dog; lengths in radii of its head, angles in radians.

    A single trait may mislead, all together rarely do; colours have the same distribution in both classes.
    """

    def __init__(self, rng: np.random.Generator, dog: bool) -> None:
        self._rng = rng
        if dog:
            upright = rng.random() < 0.16
            turn = rng.normal(0.25, 0.15) if upright else rng.normal(2.3, 0.35)
            muzzle, tail = rng.normal(0.85, 0.15), rng.normal(1.5, 0.5)
        else:
            folded = rng.random() < 0.08
            turn = rng.normal(1.6, 0.4) if folded else rng.normal(0.25, 0.2)
            muzzle, tail = rng.normal(0.22, 0.1), rng.normal(2.2, 0.5)
        self.ear_turn = float(np.clip(turn, -0.1, 2.8))  # 0 points up, pi points down
        self.ear_length = rng.uniform(0.8, 1.15) + (0.25 if turn > 1.0 else 0.0)
        self.ear_width = rng.uniform(0.55, 0.8)
        self.ear_round = rng.uniform(0.0, 0.9)
        self.muzzle = float(np.clip(muzzle, 0.1, 1.2))
        self.muzzle_width = rng.uniform(0.36, 0.5)
        self.slit = rng.random() < (0.1 if dog else 0.4)
        self.whiskers = rng.random() < (0.3 if dog else 0.6)
        self.tongue = rng.random() < (0.25 if dog else 0.08)
        self.tail_length = float(np.clip(tail, 0.6, 3.0))
        self.tail_width = rng.uniform(0.18, 0.34)
        self.tail_curl = rng.normal(0.9 if dog else 0.4, 0.7)
        main, second = rng.permutation(len(_COATS))[:2]
        self.main = _varied(rng, _COATS[main])
        self.second = _varied(rng, _COATS[second])
        self.inner_ear = _varied(rng, (232, 172, 164))
        self.nose = _varied(rng, _pick(rng, ((60, 44, 44), (206, 120, 120), (40, 34, 36))))
        self.iris = _pick(rng, _IRISES)
        self.pattern = _pick(rng, ("plain", "plain", "stripes", "spots", "mask", "blaze"))

    def paint(self, canvas: _Brush) -> None:
        rng = self._rng
        radius, yaw = rng.uniform(0.19, 0.27), rng.uniform(-0.9, 0.9)
        body = canvas.at(rng.uniform(0.29, 0.71), rng.uniform(0.74, 0.96), radius, rng.normal(0, 0.06))
        lean = rng.normal(0, 0.2)
        head = body.at(lean + 0.35 * yaw, -rng.uniform(1.35, 1.6), angle=rng.normal(0, 0.13))
        self._tail(body)
        self._body(body, lean)
        self._head(head, yaw)

    def _tail(self, body: _Brush) -> None:
        side = 1 if self._rng.random() < 0.5 else -1
        points = _curve((0.75 * side, 0.75), -0.5, self.tail_length, self.tail_curl)
        mirrored = [(0.75 * side + side * (x - 0.75 * side), y) for x, y in points]
        body.stroke(mirrored, self.tail_width, self.main)
        if self._rng.random() < 0.4:
            body.stroke(mirrored[-3:], self.tail_width, self.second)

    def _body(self, body: _Brush, lean: float) -> None:
        width = self._rng.uniform(0.85, 1.2)
        body.ellipse(0, 0.35, width, 1.15, self.main)
        body.ellipse(lean * 0.5, -0.4, 0.62, 0.95, self.main)
        if self.pattern == "stripes":
            for y in (0.0, 0.4, 0.8):
                for side in (-1, 1):
                    body.stroke([(width * 0.92 * side, y), (width * 0.5 * side, y + 0.08)], 0.13, self.second)
        elif self.pattern == "spots":
            for _ in range(4):
                x, y = self._rng.uniform(-0.6, 0.6) * width, self._rng.uniform(-0.3, 1.1)
                body.ellipse(x, y, self._rng.uniform(0.12, 0.28), 0.2, self.second)
        elif self.pattern in ("mask", "blaze"):
            body.ellipse(lean * 0.5, 0.1, 0.42, 0.75, self.second)
        shade = _shaded(self.main, 0.86)
        for side in (-1, 1):
            body.stroke([(0.3 * side, 0.5), (0.32 * side, 1.35)], 0.34, shade)
            body.ellipse(0.34 * side, 1.42, 0.28, 0.17, self.second if self.pattern == "mask" else self.main)

    def _head(self, head: _Brush, yaw: float) -> None:
        hanging = self.ear_turn > 1.0
        if not hanging:
            self._ears(head)
        if self._rng.random() < 0.3:
            head.ellipse(0, 0.75, 0.7, 0.3, _pick(self._rng, _THINGS))  # a collar
        head.ellipse(0, 0, 1.0, self._rng.uniform(0.84, 1.0), self.main)
        if self.pattern == "stripes":
            for x in (-0.3, 0.0, 0.3):
                head.stroke([(x, -0.82), (x * 0.7, -0.5)], 0.12, self.second)
        elif self.pattern == "spots":
            head.ellipse(0.42, -0.15, 0.4, 0.42, self.second)
        elif self.pattern == "blaze":
            head.ellipse(0.15 * yaw, -0.2, 0.18, 0.7, self.second)
        self._face(head, yaw)
        if hanging:
            self._ears(head)

    def _ears(self, head: _Brush) -> None:
        """Draw both ears, rooted on the head's rim, lower the more they hang."""
        for side in (-1, 1):
            root = 0.62 + 0.12 * min(self.ear_turn, 1.5)
            turn = side * (0.2 + self.ear_turn)
            ear = head.at(side * math.sin(root) * 0.9, -math.cos(root) * 0.86, angle=turn)
            w, length, blunt = self.ear_width / 2, self.ear_length, self.ear_round
            colour = _shaded(self.main, 0.72)
            tip = length * (1 - 0.35 * blunt)
            ear.polygon([(-w, 0.25), (-w * (0.5 + 0.5 * blunt), -0.6 * tip), (0, -length * (1 - 0.1 * blunt)),
                         (w * (0.5 + 0.5 * blunt), -0.6 * tip), (w, 0.25)], colour)  # fmt: skip
            if self.ear_turn < 1.0:
                ear.polygon([(-w * 0.5, 0.1), (0, -0.7 * tip), (w * 0.5, 0.1)], self.inner_ear)

    def _face(self, head: _Brush, yaw: float) -> None:
        eye = self._rng.uniform(0.15, 0.23)
        for side in (-1, 1):
            x, y = 0.42 * side + 0.22 * yaw, -0.12
            head.ellipse(x, y, eye, eye, self.iris)
            head.ellipse(x, y, eye * (0.35 if self.slit else 0.7), eye * 0.85, (24, 20, 22))
            head.ellipse(x - eye * 0.3, y - eye * 0.35, eye * 0.28, eye * 0.28, (250, 250, 250))
        out = self.muzzle
        start, end = (0.15 * yaw, 0.32), ((0.15 + 0.75 * out) * yaw, 0.32 + 0.45 * out)
        colour = self.second if self.pattern in ("mask", "blaze") else _shaded(self.main, 1.18)
        head.stroke([start, end], 2 * self.muzzle_width, colour)
        if self.tongue:
            head.ellipse(end[0], end[1] + 0.34, 0.14, 0.26, (226, 110, 120))
        head.ellipse(end[0], end[1] - 0.12, 0.16, 0.11, self.nose)
        dark = _shaded(self.nose, 0.8)
        for side in (-1, 1):
            head.stroke([(end[0], end[1]), (end[0] + 0.02 * side, end[1] + 0.12), (end[0] + 0.2 * side, end[1] + 0.2)],
                        0.05, dark)  # fmt: skip
            if self.whiskers:
                for drop in (-0.08, 0.1):
                    x, y = start[0] + 0.4 * side, start[1] + 0.1
                    head.stroke([(x, y), (x + 0.7 * side, y + drop)], 0.03, (236, 232, 228))


def _occlusion(canvas: _Brush, rng: np.random.Generator) -> None:
    """Draw something in front of the animal: a post, a cushion, blades of grass."""
    colour = _varied(rng, _pick(rng, _THINGS + _GROUNDS))
    match rng.integers(3):
        case 0:
            left, width = rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.12)
            canvas.polygon(_rectangle(left, 0, left + width, 1), colour)
        case 1:
            canvas.ellipse(rng.uniform(0.1, 0.9), rng.uniform(0.8, 1.0), 0.35, 0.2, colour)
        case _:
            for x in rng.uniform(0, 1, 14):
                tip = rng.uniform(0.45, 0.85)
                canvas.polygon([(float(x) - 0.025, 1), (float(x) + 0.03, tip), (float(x) + 0.025, 1)], colour)


def _lit(pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Add light from one side, a colour cast, contrast and sensor noise."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * math.pi)
    light = rng.uniform(0.8, 1.1) + rng.uniform(0, 0.18) * (x * math.cos(angle) + y * math.sin(angle))
    cast = rng.normal(1, 0.03, 3)
    grey = 128 + rng.uniform(0.75, 1.05) * (pixels.astype(np.float64) - 128)
    noise = rng.normal(0, rng.uniform(1, 6), pixels.shape)
    lit = np.rint(grey * light[..., None] * cast + noise)
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


def _curve(start: Point, angle: float, length: float, curl: float) -> list[Point]:
    """Points along an arc that leaves `start` at an angle (0 right, negative up) and turns by `curl` per unit."""
    points, step = [start], length / 7
    for _ in range(7):
        x, y = points[-1]
        points.append((x + step * math.cos(angle), y + step * math.sin(angle)))
        angle -= curl * step
    return points


def _rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def _varied(rng: np.random.Generator, colour: Colour) -> Colour:
    red, green, blue = (int(np.clip(channel + rng.normal(0, 12), 0, 255)) for channel in colour)
    return red, green, blue


def _shaded(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue
