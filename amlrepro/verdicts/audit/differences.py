"""The paper against the code that its authors published in March 2026: what differs, and what that does.

The consequence is calculated where it can be: from the checks, and from the method measured on features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from amlrepro.verdicts.audit.method import Method
from amlrepro.verdicts.audit.public import WEAK, released_share


@dataclass(frozen=True)
class Difference:
    """One difference, in our words. consequence: what it does; measured: whether that was calculated here.

    setting: the axis of `docs/method.md` that switches it, None where there is none. checks: audit entries about it.
    """

    topic: str
    paper: str
    released: str
    consequence: str
    measured: bool
    setting: str | None
    checks: tuple[str, ...]


@dataclass(frozen=True)
class _Stated:
    topic: str
    paper: str
    released: str
    consequence: str  # what is said without a measurement
    measure: Callable[[Method], str | None] | None = None
    setting: str | None = None
    checks: tuple[str, ...] = ()


def differences(methods: Sequence[Method]) -> tuple[Difference, ...]:
    """All differences; consequences of the first method that can tell them. Features of toys tell none."""
    out = []
    for each in _STATED:
        told = (each.measure(method) for method in methods if not method.toy) if each.measure else iter(())
        measured = next((text for text in told if text), None)
        always = each.topic in _CALCULATED
        out.append(
            Difference(
                each.topic,
                each.paper,
                each.released,
                measured or (_CALCULATED[each.topic]() if always else each.consequence),
                measured is not None or always,
                each.setting,
                each.checks,
            )
        )
    return tuple(out)


def _passes(method: Method) -> str | None:
    found = {row.name: row for row in method.passes}
    if len(found) < 3:
        return None
    parts = [f"{name} {row.vision}, {row.text}, {row.decoder}, {row.losses}" for name, row in found.items()]
    return f"calls of vision, text, decoder, loss in a step of a small model: {'; '.join(parts)}"


def _logits(method: Method) -> str | None:
    literal, released = method.reading("literal"), method.reading("released")
    if literal is None or released is None:
        return None
    return (
        f"logits of a patch spread by {literal.logits:.3f} as printed, by {released.logits:.1f} in the released code; "
        f"mean S {literal.mean:.3f} against {released.mean:.3f}"
    )


def _padding(method: Method) -> str | None:
    every, real = method.reading("inferred"), method.reading("inferred, real tokens")
    if every is None or real is None:
        return None
    return (
        f"without padding mean S rises from {every.mean:.3f} to {real.mean:.3f} and weak blocks fall from "
        f"{100 * every.weak_blocks:.1f} to {100 * real.weak_blocks:.1f} %: next to nothing is left to mask"
        if real.weak_blocks < every.weak_blocks / 4
        else f"without padding mean S is {real.mean:.3f} instead of {every.mean:.3f}, and "
        f"{100 * real.weak_blocks:.1f} instead of {100 * every.weak_blocks:.1f} % of blocks are weak"
    )


def _masked(method: Method) -> str | None:
    rows = [method.reading(name) for name in ("released", "literal", "inferred")]
    shares = [f"{100 * row.masked:.1f} % ({row.name}, {100 * row.weak_blocks:.1f} % weak)" for row in rows if row]
    if len(shares) < 3:
        return None
    return f"{_released_rule()}; on {method.says.split(':')[0]} the image loses {', '.join(shares)}"


def _released_rule() -> str:
    shares = [f"{100 * released_share(weak, Fraction(1, 4), 196, 1024):.0f} %" for weak in WEAK]
    return f"{', '.join(map(str, WEAK))} wholly weak blocks of 196 blank {', '.join(shares)} of the image"


_CALCULATED: dict[str, Callable[[], str]] = {"masking rule": _released_rule}

_STATED: tuple[_Stated, ...] = (
    _Stated(
        "training step",
        "stage one runs forward only; the model learns from the masked image alone",
        "two passes with gradient, on the whole and on the masked image, each with half its loss, then one update",
        "the model does see whole images, at more than twice CARIS's cost instead of the printed +17.2 %",
        setting="train.step=joint",
        checks=("X-CODE2", "S34-A"),
    ),
    _Stated(
        "passes in a step",
        "encoders twice (once without gradient), decoder once",
        "encoders three times, decoder twice",
        "more than twice the work of a plain step",
        _passes,
        "train.step=joint",
        ("X-CODE2", "T9-C"),
    ),
    _Stated(
        "text in the masked pass",
        "text features come from the masked image's own pass",
        "text features come from the whole image",
        "through CARIS's prompts, text that was read beside the whole image reaches the masked pass",
        setting="train.step=joint",
        checks=("X-CODE2",),
    ),
    _Stated(
        "normalisation of features",
        "unit vectors (Eq. 3)",
        "none",
        "logits spread hundreds of times as far, so S is near 1 instead of near 1 / N",
        _logits,
        "pmme.normalize",
        ("EQ-S", "X-CODE1"),
    ),
    _Stated(
        "projection",
        "two fixed Gaussian matrices to D_a 2048",
        "one linear layer with bias on text alone, 768 to 1024, from its usual start and never trained",
        "there is no D_a, so Tables 5 and 8 cannot be run with it",
        setting="pmme.projection=text_linear",
        checks=("X-CODE1", "T5-C"),
    ),
    _Stated(
        "padding",
        "N_l tokens; padding is not mentioned",
        "all 20 positions, padding too, are in the softmax",
        "padding takes part in S and decides how much is weak",
        _padding,
        "pmme.tokens",
        ("X-CODE1", "EQ-S2"),
    ),
    _Stated(
        "masking rule",
        "weak pixels are dropped by rho; a block goes if any of its pixels does",
        "pairs of block and pixel number are drawn, and both numbers are taken for blocks",
        "",
        _masked,
        "afm.dropout=released",
        ("X-CODE3", "EQ14"),
    ),
    _Stated(
        "share that is dropped",
        "rho, 1/4 by default",
        "a quarter, written as a constant; an argument for it (0.33) is never read",
        "Table 16 cannot be run with it",
        setting="afm.rho",
        checks=("EQ13", "X-CODE3"),
    ),
    _Stated(
        "loss",
        "plain cross-entropy (Eq. 2)",
        "cross-entropy with weights 0.9 and 1.1, as in CARIS; a Dice term is defined and not used",
        "none that the paper's numbers show; this project follows CARIS",
        checks=("X-CODE4",),
    ),
    _Stated(
        "batch",
        "16",
        "1 in the script and by default",
        "the script does not reproduce the paper's setting",
        setting="train.batch",
        checks=("C-A",),
    ),
    _Stated(
        "optimiser",
        "AdamW, polynomial decay",
        "the same, with 1,500 iterations of warm-up and clipping at norm 1; no scheduler step after a loss of NaN",
        "warm-up and clipping are CARIS's, and this project's",
        checks=("X-CODE4",),
    ),
    _Stated(
        "completeness",
        "code is announced",
        "a file of the decoder is missing, so the model cannot be imported; no requirements, no licence file",
        "it runs only with CARIS's file put in; Late, Pred, learnable, random and feature masks, perturbations and "
        "figures are not in it",
    ),
)
