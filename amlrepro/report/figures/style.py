"""How all figures look: the one place for sizes, fonts, colours, markers and line styles.

Colours are those of Okabe and Ito, told apart with any of the common colour vision deficiencies; every method also has
a marker and a line style of its own, so that figures survive a black-and-white printer. Type is at least 6 pt at the
size the figure is meant for (the 5.5 inches of a page's text width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VERSION = 4  # raise it when a figure of the same data should look different: saved figures are then drawn anew

PAGE = 5.5  # inches: text width of the page
BASE, SMALL, TINY = 7.5, 6.5, 6.0  # points
DPI = 200

INK = "#1a1a1a"
MUTED = "#595959"
RULE = "#bdbdbd"
TRUTH, PREDICTED = "#009E73", "#D55E00"
MISSING = "#e6e6e6"
SEQUENTIAL = "cividis"
BAND_FILL, BAND_INK = "#fff0c2", "#5c3b00"

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
    "font.size": BASE,
    "text.color": INK,
    "text.parse_math": False,  # sentences may hold a dollar sign
    "axes.labelsize": BASE,
    "axes.titlesize": BASE,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#dedede",
    "grid.linewidth": 0.5,
    "legend.fontsize": BASE,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "hatch.linewidth": 0.5,
    "image.interpolation": "antialiased",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "amlrepro",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Look:
    """Of one method: colour, marker, line style and hatch."""

    color: str
    marker: str
    line: Any
    hatch: str


_DASHED, _DOTTED, _MIXED = (0, (4, 1.6)), (0, (1.2, 1.4)), (0, (5, 1.4, 1.2, 1.4))
KNOWN: dict[str, Look] = {
    "caris": Look("#0072B2", "o", _DASHED, "////"),
    "caris_aml": Look("#D55E00", "s", "-", ""),
    "caris_random_mask": Look("#009E73", "^", _MIXED, "...."),
    "magnet": Look("#6e6e6e", "D", _DOTTED, "\\\\\\\\"),
}
OTHERS = (
    Look("#CC79A7", "v", "-", "xxxx"),
    Look("#56B4E9", "P", _DASHED, "----"),
    Look("#E69F00", "X", _MIXED, "||||"),
    Look("#000000", "*", _DOTTED, "++++"),
    *KNOWN.values(),
)
ALIASES = {"baseline": "caris", "aml": "caris_aml", "ours": "caris_aml", "random": "caris_random_mask"}


def looks(keys: Sequence[str]) -> dict[str, Look]:
    """The look of each method: known ones keep theirs in every figure, others take those that are left, in order."""
    out: dict[str, Look] = {}
    free = list(OTHERS)
    for key in keys:
        if ALIASES.get(key, key) in KNOWN:
            out[key] = KNOWN[ALIASES.get(key, key)]
            if out[key] in free:
                free.remove(out[key])
    for key in keys:
        if key not in out:
            out[key] = free.pop(0) if free else OTHERS[len(out) % len(OTHERS)]
    return {key: out[key] for key in keys}
