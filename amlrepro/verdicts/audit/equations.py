"""Equations and proofs: shapes, constants, bounds."""

from __future__ import annotations

import math
from fractions import Fraction

from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.projection import WIDTHS, dim
from amlrepro.verdicts.audit.rounding import exact

Shape = tuple[int, int]


def multiplied(first: Shape, second: Shape) -> Shape | None:
    """The shape of a product of matrices, None where there is none."""
    return (first[0], second[1]) if first[1] == second[0] else None


def _sizes(paper: Paper, name: str, *keys: str) -> list[int]:
    return [int(exact(paper.quoted(name, key))) for key in keys]


@check("EQ4")
def transposes(paper: Paper) -> Outcome:
    """Shapes of Eq. 4."""
    patches, vision, width = _sizes(paper, "EQ4", "patches", "vision", "width")
    features, matrix = (patches, vision), (vision, width)
    as_printed, without = multiplied(features, matrix[::-1]), multiplied(features, matrix)
    result = "multiplies" if as_printed else "does not multiply"
    text = f"({patches} x {vision})({width} x {vision}) {result}; without the transpose it is "
    text += f"{'{} x {}'.format(*without) if without else 'neither'}. F.1 has W_i^T v for column vectors, which is "
    text += "that; Eq. 10 has W_i v, which is not"
    return Outcome(judged(as_printed == (patches, width), "contradictory"), "V W_i^T, W_i of D_i x D_a", text)


@check("EQ8")
def block_matrix(paper: Paper) -> Outcome:
    """Shape of the block-diagonal matrix in three places."""
    vision, text_width, width = _sizes(paper, "EQ8", "vision", "text", "width")
    shapes = {"Eq. 8": (vision + text_width, 2 * width), "F.2": (vision + text_width, width)}
    needed = (vision + text_width, 2 * width)
    fit = [name for name, shape in shapes.items() if shape == needed]
    text = f"blocks {vision} x {width} and {text_width} x {width} make {needed[0]} x {needed[1]}, as {', '.join(fit)} "
    text += "has; the others do not, and D_v stands for D_i, delta for sigma, D for D_a"
    printed = "; ".join(f"{name}: {a} x {b}" for name, (a, b) in shapes.items()) + "; F.3: blocks d x p"
    return Outcome(judged(len(fit) == len(shapes), "contradictory"), printed, text)


@check("EQ16")
def sides_of_tau(paper: Paper) -> Outcome:
    """Which side of tau is masked, on a grid of values around it."""
    tau = Fraction(2, 5)
    values = [tau + Fraction(step, 100) for step in range(-40, 61)]
    differ = [value for value in values if (value < tau) != (not value > tau)]
    text = f"Eq. 12 masks S < tau, Eq. 16 S <= tau: of {len(values)} values they differ at {shows(differ)}, tau itself"
    return Outcome(judged(differ == [tau], "contradictory"), "Eq. 12 masks S < tau, Eq. 16 keeps S > tau", text)


@check("EQ16B", "both")
def mask_shape(paper: Paper) -> Outcome:
    """The mask of Eq. 16 in attention."""
    scales = [(0.7 + mask) / math.sqrt(64) == 0.7 / math.sqrt(64) + mask for mask in (0.0, -math.inf)]
    text = "H x W has to be flattened over keys and broadcast over queries; "
    text += (
        f"before or after the division is {'one' if all(scales) else 'not one'}, for 0 and minus infinity; where all "
    )
    text += "keys are masked the softmax is undefined"
    return Outcome("unclear", "H x W, added before the division by sqrt(d_k)", text)


@check("THM1", "both")
def between_modalities(paper: Paper) -> Outcome:
    """Eq. 10 for features of two modalities and two independent matrices."""
    vision, text_width = _sizes(paper, "THM1", "vision", "text")
    widths = [dim(paper, row) for row in WIDTHS]
    deviations = [1 / math.sqrt(width) for width in widths]
    bounds = [paper.exact("table5", row, "jl_error") for row in WIDTHS]
    text = (
        f"<v, u> is not defined for D_i {vision} and D_t {text_width}" if vision != text_width else "widths are equal"
    )
    text += "; with independent matrices the projected product has mean 0 whatever v and u are, and deviation "
    text += (
        f"{', '.join(f'{value:.3f}' for value in deviations)} at D_a {', '.join(map(str, widths))}: of features whose "
    )
    text += f"product exceeds epsilon ({shows(bounds, 4)}) by more than that, next to none is kept"
    holds = vision == text_width and min(bounds) >= 1  # no product of unit vectors is larger
    said = "|<v', u'> - <v, u>| <= epsilon"
    return Outcome(judged(holds, "contradictory"), said, text, named(map(str, widths), deviations))


@check("F2-A")
def product_and_distance(paper: Paper) -> Outcome:
    """<z, z'> and |z - z'| for two unit vectors in each of z and z': a case is calculated."""
    z = (Fraction(3, 5), Fraction(4, 5), Fraction(1), Fraction(0))
    other = (Fraction(1), Fraction(0), Fraction(0), Fraction(1))
    product = sum(a * b for a, b in zip(z, other, strict=True))
    distance = sum((a - b) ** 2 for a, b in zip(z, other, strict=True))
    constant, quote = product + distance / 2, exact(paper.quoted("F2-A", "constant"))
    text = f"with |z|^2 = {show(sum(a * a for a in z), 0)} it is {show(constant, 0)} - |z - z'|^2 / 2; "
    text += "the difference used afterwards is unaffected"
    printed = f"{show(quote, 0)} - |z - z'|^2 / 2"
    return Outcome(judged(constant == quote, "off_by"), printed, text, {"constant": float(constant)})


@check("F2-B")
def largest_distance(paper: Paper) -> Outcome:
    """How far apart z and z' can be, and the error that follows."""
    quote, errors = exact(paper.quoted("F2-B", "distance")), exact(paper.quoted("F2-B", "errors"))
    largest = 2 * math.sqrt(2)  # z' = -z, with |z| = sqrt 2
    factor = largest**2 / 2
    text = (
        f"|z| = sqrt 2 lets |z - z'| reach {largest:.3f}, so the error {factor:.0f} epsilon; Theorem 1 claims epsilon"
    )
    printed = f"|z - z'| <= {show(quote, 0)}, {show(errors, 0)} epsilon"
    holds = largest <= quote and factor <= errors
    return Outcome(judged(holds, "contradictory"), printed, text, {"distance": largest, "factor": factor})


@check("F2-C")
def union_bound(paper: Paper) -> Outcome:
    """The union bound over all pairs, with the constant 1/8."""
    factor = int(exact(paper.quoted("F2-C", "factor")))
    patches, tokens = _sizes(paper, "F2-C", "patches", "tokens")
    sigma, pairs = float(paper.quoted("F2-C", "sigma")), patches * tokens
    printed, found = factor * math.log(pairs / sigma), factor * math.log(2 * pairs**2 / sigma)
    bounds = [math.sqrt(found / dim(paper, row)) for row in WIDTHS]
    text = (
        f"it gives {factor} ln(2 (MN)^2 / delta): the square and a factor 2 are lost. With M {patches}, N_l {tokens}, "
    )
    text += f"sigma {sigma:g} that is {found:.1f} instead of {printed:.1f}, and the bound "
    text += ", ".join(f"{bound:.4f}" for bound in bounds)
    holds = math.isclose(printed, found)
    said = f"{factor} ln(MN / delta) / epsilon^2"
    return Outcome(judged(holds, "contradictory"), said, text, named((str(dim(paper, row)) for row in WIDTHS), bounds))


@check("F3-A")
def two_dimensions(paper: Paper) -> Outcome:
    """The dimension of Theorem 2 in its statement and in its proof."""
    statement, proof = (exact(paper.quoted("F3-A", key)) for key in ("statement", "proof"))
    text = f"they differ by the factor {show(proof / statement, 0)} inside the logarithm"
    printed = f"8 ln(n^2 / delta) in the statement, 8 ln({show(proof, 0)} n^2 / delta) in the proof"
    return Outcome(judged(statement == proof, "contradictory"), printed, text, {"factor": float(proof / statement)})


@check("F3-B")
def lost_half(paper: Paper) -> Outcome:
    """(|W_u a|^2 + |W_v b|^2) / 2 for maps that keep lengths exactly."""
    a, b = Fraction(9, 25), Fraction(16, 25)  # |a|^2, |b|^2 of x = (a, b) with |x| = 1
    ratio, quote = (a + b) / 2 / (a + b), exact(paper.quoted("F3-B", "factor"))
    text = f"maps that keep lengths give {ratio} |x|^2: it lies within (1 +- epsilon) |x|^2 / 2, the factor is dropped"
    said = "within (1 +- epsilon) |x|^2"
    return Outcome(judged(ratio == quote, "contradictory"), said, text, {"factor": float(ratio)})
