"""From a scene to a picture and the exact mask of what is visible of each object."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from amlrepro.data.synth.scene import Scene, SceneObject
from amlrepro.data.synth.shapes import SHAPES
from amlrepro.data.synth.words import COLORS

Color = tuple[int, int, int]
SUPERSAMPLING = 2  # pixels are drawn at twice the size and averaged two by two
SKINS: tuple[Color, ...] = ((240, 204, 170), (205, 150, 112), (120, 78, 56))
FIXED: dict[str, Color] = {"dark": (44, 42, 46), "glass": (190, 212, 222)}
# Muted pairs (far, near) of ground colours, around the mean of natural pictures.
GROUNDS: tuple[tuple[Color, Color], ...] = (
    ((141, 155, 165), (102, 116, 87)),
    ((148, 144, 138), (113, 99, 86)),
    ((126, 133, 136), (94, 97, 101)),
    ((160, 153, 141), (131, 114, 94)),
    ((118, 128, 119), (87, 102, 81)),
)


@dataclass(frozen=True)
class Picture:
    """A rendered scene: RGB [H, W, 3] uint8, visible masks [K, H, W] bool, and the scene with what is visible."""

    pixels: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    scene: Scene


def render(scene: Scene, rng: np.random.Generator, noise: float = 1.0) -> Picture:
    """Paint `scene`. noise scales the background's texture and the sensor noise (1: as by default; 0: flat)."""
    s = SUPERSAMPLING
    canvas = _background(scene.width, scene.height, rng, noise).resize(
        (scene.width * s, scene.height * s), Image.Resampling.BILINEAR
    )
    labels = Image.new("L", canvas.size, 0)
    whole = []
    for number, item in enumerate(scene.objects, start=1):
        patch, mask, corner = _paint(item, min(scene.width, scene.height), rng)
        canvas.paste(patch, corner, mask)
        labels.paste(number, (*corner, corner[0] + mask.width, corner[1] + mask.height), mask)
        whole.append(np.count_nonzero(np.asarray(mask)) / s**2)
    pixels = np.asarray(canvas.resize((scene.width, scene.height), Image.Resampling.BOX), dtype=np.float32)
    masks = _visible(np.asarray(labels), len(scene.objects))
    objects = tuple(_seen(item, mask, area) for item, mask, area in zip(scene.objects, masks, whole, strict=True))
    lit = pixels * _light(scene.width, scene.height, rng)[..., None]
    lit += 5.0 * noise * rng.standard_normal(lit.shape, dtype=np.float32)
    return Picture(np.clip(lit, 0, 255).astype(np.uint8), masks, Scene(scene.width, scene.height, objects))


def _visible(labels: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.bool_]:
    """Masks [K, H, W] from labels at twice the size: a pixel is an object's if the object fills half of it or more.

    A pixel shared half and half by two objects goes to the one painted later.
    """
    quarters = [labels[dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
    owner = np.zeros_like(quarters[0])
    for one, other in combinations(quarters, 2):
        np.maximum(owner, np.where(one == other, one, 0), out=owner)
    return np.asarray(owner == np.arange(1, count + 1, dtype=np.uint8)[:, None, None])


def _seen(item: SceneObject, mask: npt.NDArray[np.bool_], area: float) -> SceneObject:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return item
    x, y = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
    seen = float(mask.sum())
    return replace(
        item,
        x=float(x) / mask.shape[1],
        y=float(y) / mask.shape[0],
        visible=min(1.0, seen / max(area, 1.0)),
        area=seen / mask.size,
    )


def _paint(item: SceneObject, side: int, rng: np.random.Generator) -> tuple[Image.Image, Image.Image, tuple[int, int]]:
    """An object as a patch, its mask ("L", 0 or 255) and the patch's corner on the supersampled canvas."""
    s = SUPERSAMPLING
    left, top, w, h = (value * s for value in item.box)
    margin = 2 + round(0.08 * max(w, h))
    corner = (math.floor(left) - margin, math.floor(top) - margin)
    size = (math.ceil(w) + 2 * margin + 1, math.ceil(h) + 2 * margin + 1)
    jitter = rng.uniform(0.93, 1.05)
    body = _scaled(COLORS[item.color], jitter)
    paints = {**FIXED, "body": body, "shade": _scaled(body, 0.72), "skin": SKINS[int(rng.integers(len(SKINS)))]}
    decorated = _decorated(size, body, item.pattern, side * s, rng) if item.pattern != "plain" else None
    edge = _scaled(body, 0.5) if sum(body) > 150 else (90, 90, 94)
    patch = Image.new("RGB", size, body)
    mask = Image.new("L", size, 0)
    on_patch, on_mask = ImageDraw.Draw(patch), ImageDraw.Draw(mask)
    for paint, outline in SHAPES[item.name]:
        points = _transformed(outline, item, (left - corner[0], top - corner[1], w, h))
        on_mask.polygon(points, fill=255)
        on_patch.polygon(points, fill=paints[paint])
        if paint == "body":
            if decorated is not None:
                part = Image.new("L", size, 0)
                ImageDraw.Draw(part).polygon(points, fill=255)
                patch.paste(decorated, (0, 0), part)
            on_patch.polygon(points, outline=edge)
    return patch, mask, corner


def _transformed(
    outline: list[tuple[float, float]], item: SceneObject, frame: tuple[float, float, float, float]
) -> list[tuple[float, float]]:
    left, top, w, h = frame
    cos, sin = math.cos(math.radians(item.angle)), math.sin(math.radians(item.angle))
    out = []
    for u, v in outline:
        dx, dy = ((0.5 - u) if item.flip else (u - 0.5)) * w, (v - 0.5) * h
        out.append((left + w / 2 + cos * dx - sin * dy, top + h / 2 + sin * dx + cos * dy))
    return out


def _decorated(size: tuple[int, int], body: Color, pattern: str, side: int, rng: np.random.Generator) -> Image.Image:
    """The body's colour with stripes or dots: white on dark colours, near black on light ones."""
    luma = 0.3 * body[0] + 0.59 * body[1] + 0.11 * body[2]
    mark = (248, 248, 248) if luma < 165 else (40, 40, 44)
    period = 0.058 * side
    y, x = _grid(size)
    if pattern == "striped":
        angle = rng.choice([0.0, 0.5, 1.0]) * math.pi / 2
        phase = (x * math.cos(angle) + y * math.sin(angle)) % period
        marked = phase < 0.38 * period
    else:
        row = np.floor(y / period)
        marked = ((x + (row % 2) * period / 2) % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (
            0.3 * period
        ) ** 2
    pixels = np.where(marked[..., None], np.array(mark, np.uint8), np.array(body, np.uint8))
    return Image.fromarray(pixels)


def _background(width: int, height: int, rng: np.random.Generator, noise: float) -> Image.Image:
    """A textured ground: two muted colours about a horizon, planks or tiles now and then, noise at three scales."""
    far, near = GROUNDS[int(rng.integers(len(GROUNDS)))]
    y, x = (axis / size for axis, size in zip(_grid((width, height)), (height, width), strict=True))
    horizon = rng.uniform(0.15, 0.75)
    blend = 1 / (1 + np.exp(-(y - horizon) * rng.choice([4.0, 60.0])))  # [H, 1]
    base = np.asarray(far, np.float32) * (1 - blend[..., None]) + np.asarray(near, np.float32) * blend[..., None]
    texture = np.zeros((height, width), np.float32)
    for cells, amplitude in ((4, 16.0), (11, 12.0), (32, 11.0)):
        grid = rng.normal(0.0, 1.0, (max(2, cells * height // width), cells)).astype(np.float32)
        texture += amplitude * np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
    style = rng.integers(3)
    if style:  # lines of planks, or of tiles
        lines = (y * rng.integers(4, 9)) % 1 < 0.05
        if style == 2:
            lines = lines | ((x * rng.integers(4, 9)) % 1 < 0.05)
        texture = texture - 22.0 * lines
    tint = rng.normal(0.0, 5.0, 3).astype(np.float32)
    return Image.fromarray(np.clip(base + tint + noise * texture[..., None], 0, 255).astype(np.uint8))


def _light(width: int, height: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A gentle slope of brightness across the picture, mean about 1."""
    dx, dy = rng.uniform(-0.12, 0.12, 2)
    y, x = _grid((width, height))
    return np.asarray(1 + dx * (2 * x / width - 1) + dy * (2 * y / height - 1), dtype=np.float32)


def _grid(size: tuple[int, int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Rows [H, 1] and columns [1, W] of a picture of `size` (width, height)."""
    return np.arange(size[1], dtype=np.float32)[:, None], np.arange(size[0], dtype=np.float32)[None, :]


def _scaled(color: Color, factor: float) -> Color:
    red, green, blue = (min(255, round(value * factor)) for value in color)
    return red, green, blue
