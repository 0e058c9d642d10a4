"""Scenes: up to four coloured digits on a 2x2 grid, drawn from real scans or spelled in words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from studies.demo.vocabulary import COLOR_NAMES, COLORS

CELL_SIDE = 16  # pixels
SCENE_SIDE = 2 * CELL_SIDE  # pixels
SCAN_SIDE = 14  # pixels: a scan may slide by 0 to 2 pixels inside its cell
SPLIT_SIZES = {"train": 1100, "selection": 200, "confirm": 200, "test": 297}
SPLIT_SEED = 1234  # one split for all zoos: a rebuilt zoo never trains on a test scan
COUNTS = (1, 2, 2, 2, 3, 3)  # how many digits a scene holds, drawn evenly


@dataclass(frozen=True, slots=True)
class Item:
    """One coloured digit in one of the four cells."""

    cell: int
    digit: int
    color: str

    def words(self, shown: str, digit_first: bool) -> list[str]:
        """The item's words; `shown` is as in `Scene.words`."""
        if shown == "digits":
            return [str(self.digit)]
        if shown == "colors":
            return [self.color]
        if shown == "joined":
            return [f"{self.color}-{self.digit}"]
        pair = [self.color, str(self.digit)]
        return pair[::-1] if digit_first else pair


@dataclass(frozen=True, slots=True)
class Scene:
    """The digits of one scene, in reading order."""

    items: tuple[Item, ...]

    @property
    def digits(self) -> list[int]:
        """The digits in reading order."""
        return [item.digit for item in self.items]

    def words(self, rng: random.Random, shown: str = "both", all_cells: bool = False) -> list[str]:
        """The scene in words, such as `red 3 none blue 5`.

        Whether empty cells are named and whether the colour or the digit comes first varies,
        so that a reader attends to words and not to places.

        Args:
            rng: draws the form.
            shown: `both` in two words, `joined` in one, or only the `digits` or the `colors`.
            all_cells: names the empty cells in any case.
        """
        empty_cells, digit_first = all_cells or rng.random() < 0.5, rng.random() < 0.5
        by_cell = {item.cell: item for item in self.items}
        words: list[str] = []
        for cell in range(4):
            item = by_cell.get(cell)
            if item is not None:
                words += item.words(shown, digit_first)
            elif empty_cells:
                words.append("none")
        return words


def random_scene(rng: random.Random, count: int | None = None) -> Scene:
    """A scene of `count` digits (by default 1 to 3) in different colours."""
    count = count or rng.choice(COUNTS)
    cells = sorted(rng.sample(range(4), count))
    distinct = rng.random() < 0.9
    digits = rng.sample(range(10), count) if distinct else rng.choices(range(10), k=count)
    colors = rng.sample(COLOR_NAMES, count)
    return Scene(tuple(Item(*item) for item in zip(cells, digits, colors, strict=True)))


@cache
def scan_indices() -> dict[str, list[int]]:
    """For each split, the rows of `load_digits` that belong to it; no row is in two splits."""
    order = np.random.default_rng(SPLIT_SEED).permutation(sum(SPLIT_SIZES.values())).tolist()
    parts, start = {}, 0
    for name, size in SPLIT_SIZES.items():
        parts[name] = order[start : start + size]
        start += size
    return parts


@cache
def scans(split: str) -> tuple[NDArray[np.uint8], ...]:
    """The scans of one split: for each digit an array (number of scans, 14, 14).

    Source: the 8x8 scans of scikit-learn's `load_digits` (UCI, E. Alpaydin and C. Kaynak, 1998).
    """
    source = load_digits()
    rows = scan_indices()[split]
    size = (SCAN_SIDE, SCAN_SIDE)
    enlarged = [
        np.asarray(
            Image.fromarray((source.images[row] * (255 / 16)).astype(np.uint8)).resize(
                size, Image.Resampling.BILINEAR
            )
        )
        for row in rows
    ]
    targets = source.target[rows]
    return tuple(
        np.stack([scan for scan, target in zip(enlarged, targets, strict=True) if target == digit])
        for digit in range(10)
    )


def draw(scene: Scene, split: str, rng: random.Random) -> NDArray[np.uint8]:
    """The scene as pixels (32, 32, 3), each digit a random scan of the split, tinted and slid."""
    pixels = np.zeros((SCENE_SIDE, SCENE_SIDE, 3), np.uint8)
    for item in scene.items:
        pool = scans(split)[item.digit]
        scan = pool[rng.randrange(len(pool))]
        top = (item.cell // 2) * CELL_SIDE + rng.randrange(3)
        left = (item.cell % 2) * CELL_SIDE + rng.randrange(3)
        tint = np.asarray(COLORS[item.color])
        patch = np.rint(scan[:, :, None] * tint).astype(np.uint8)
        pixels[top : top + SCAN_SIDE, left : left + SCAN_SIDE] = patch
    return pixels


def draw_all(scenes: Sequence[Scene], split: str, rng: random.Random) -> NDArray[np.float32]:
    """Scenes as a model's pixel values (B, 3, 32, 32), from -1 to 1, as the processor gives."""
    pixels = np.stack([draw(scene, split, rng) for scene in scenes])
    values = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
