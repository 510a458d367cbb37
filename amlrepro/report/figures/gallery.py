"""Pictures four abreast, each under its name."""

from __future__ import annotations

from matplotlib.figure import Figure

from amlrepro.report.figures import style
from amlrepro.report.figures.data import GalleryData
from amlrepro.report.figures.pictures import show
from amlrepro.report.figures.sheet import Sheet

_ABREAST = 4


def draw_gallery(data: GalleryData) -> Figure:
    """In the order given, row by row. Ids of the pictures: `picture<number>`."""
    gap, name = 0.06, 0.19
    side = (style.PAGE - gap * (_ABREAST - 1)) / _ABREAST
    tallest = max(p.image.shape[0] / p.image.shape[1] for p in data.pictures)
    tall = side * min(tallest, 1.5)
    rows = -(-len(data.pictures) // _ABREAST)
    sheet = Sheet(style.PAGE, rows * (name + tall) + (rows - 1) * gap, data.watermark)
    for number, picture in enumerate(data.pictures):
        row, column = divmod(number, _ABREAST)
        left, top = column * (side + gap), row * (name + tall + gap)
        sheet.text(left + side / 2, top + name / 2, picture.title, ha="center", va="center", fontsize=style.BASE)
        show(sheet.axes(left, top + name, side, tall), picture.image, f"picture{number}")
    return sheet.figure
