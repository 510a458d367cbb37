"""Outlines of the object classes: polygons in the unit square of an object's box, painted in order."""

from __future__ import annotations

import math

Point = tuple[float, float]
# (paint, outline); paint: `body` carries colour and pattern, `shade` is the colour darkened, the others are fixed.
Part = tuple[str, list[Point]]


def ellipse(x0: float, y0: float, x1: float, y1: float, start: float = 0.0, stop: float = 360.0) -> list[Point]:
    """Points on the ellipse inscribed in a box, from angle `start` to `stop` in degrees (0 is right, 90 is down)."""
    n = max(6, round((stop - start) / 15))
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    angles = [math.radians(start + (stop - start) * k / n) for k in range(n + (stop - start < 360))]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _ring(outer: tuple[float, float, float, float], inner: tuple[float, float, float, float]) -> list[Point]:
    """The right half of an elliptic ring: a handle."""
    return ellipse(*outer, -90, 90) + ellipse(*inner, -90, 90)[::-1]


SHAPES: dict[str, list[Part]] = {
    "person": [
        ("shade", [(0.2, 0.55), (0.8, 0.55), (0.8, 1.0), (0.56, 1.0), (0.5, 0.7), (0.44, 1.0), (0.2, 1.0)]),
        (
            "body",
            [
                *[(0.24, 0.22), (0.76, 0.22), (1.0, 0.5), (0.86, 0.56), (0.78, 0.46)],
                *[(0.8, 0.64), (0.2, 0.64), (0.22, 0.46), (0.14, 0.56), (0.0, 0.5)],
            ],
        ),
        ("skin", ellipse(0.26, 0.0, 0.74, 0.23)),
    ],
    "car": [
        (
            "body",
            [
                *[(0.0, 0.5), (0.16, 0.44), (0.29, 0.05), (0.72, 0.05), (0.86, 0.44)],
                *[(1.0, 0.52), (1.0, 0.84), (0.0, 0.84)],
            ],
        ),
        ("glass", [(0.34, 0.15), (0.49, 0.15), (0.49, 0.42), (0.25, 0.42)]),
        ("glass", [(0.54, 0.15), (0.68, 0.15), (0.77, 0.42), (0.54, 0.42)]),
        ("dark", ellipse(0.12, 0.64, 0.33, 1.0)),
        ("dark", ellipse(0.67, 0.64, 0.88, 1.0)),
    ],
    "boat": [
        ("dark", [(0.46, 0.0), (0.52, 0.0), (0.52, 0.7), (0.46, 0.7)]),
        ("body", [(0.55, 0.04), (0.97, 0.6), (0.55, 0.6)]),
        ("body", [(0.43, 0.14), (0.43, 0.6), (0.08, 0.6)]),
        ("body", [(0.0, 0.67), (1.0, 0.67), (0.82, 1.0), (0.18, 1.0)]),
    ],
    "dog": [
        ("shade", [(0.2, 0.6), (0.3, 0.6), (0.3, 1.0), (0.2, 1.0)]),
        ("shade", [(0.56, 0.6), (0.66, 0.6), (0.66, 1.0), (0.56, 1.0)]),
        ("body", [(0.0, 0.16), (0.08, 0.12), (0.2, 0.42), (0.12, 0.52)]),
        (
            "body",
            [
                *[(0.1, 0.46), (0.2, 0.38), (0.62, 0.38), (0.74, 0.34), (0.76, 1.0), (0.66, 1.0)],
                *[(0.64, 0.72), (0.22, 0.74), (0.2, 1.0), (0.1, 1.0)],
            ],
        ),
        ("body", ellipse(0.58, 0.06, 0.92, 0.5)),
        ("body", [(0.84, 0.2), (1.0, 0.28), (1.0, 0.42), (0.84, 0.46)]),
        ("shade", [(0.58, 0.04), (0.7, 0.08), (0.68, 0.38), (0.58, 0.36)]),
        ("dark", ellipse(0.95, 0.25, 1.0, 0.33)),
    ],
    "umbrella": [
        ("dark", [(0.47, 0.3), (0.53, 0.3), (0.53, 0.92), (0.47, 0.92)]),
        (
            "dark",
            [
                (0.47, 0.86),
                (0.53, 0.86),
                (0.53, 0.93),
                (0.64, 0.93),
                (0.64, 0.84),
                (0.7, 0.84),
                (0.7, 1.0),
                (0.47, 1.0),
            ],
        ),
        (
            "body",
            [
                *ellipse(0.0, 0.0, 1.0, 1.0, 180, 360),
                (0.84, 0.43),
                (0.67, 0.52),
                (0.5, 0.43),
                (0.33, 0.52),
                (0.16, 0.43),
            ],
        ),
    ],
    "ball": [("body", ellipse(0.0, 0.0, 1.0, 1.0))],
    "kite": [
        ("dark", [(0.48, 0.76), (0.54, 0.76), (0.66, 0.88), (0.5, 1.0), (0.44, 0.98), (0.56, 0.88)]),
        ("body", [(0.5, 0.0), (1.0, 0.34), (0.5, 0.8), (0.0, 0.34)]),
        ("dark", [(0.485, 0.02), (0.515, 0.02), (0.515, 0.78), (0.485, 0.78)]),
    ],
    "cup": [
        ("shade", _ring((0.3, 0.2, 1.0, 0.78), (0.46, 0.34, 0.84, 0.64))),
        ("body", [(0.0, 0.08), (0.74, 0.08), (0.64, 1.0), (0.1, 1.0)]),
        ("shade", ellipse(0.0, 0.0, 0.74, 0.16)),
    ],
}
