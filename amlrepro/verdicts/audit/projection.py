"""Tables 5 to 8: the projection's width, its bound, where S is taken, and whether the projection learns."""

from __future__ import annotations

import math
from fractions import Fraction

from amlrepro.metrics.jl import LOG_ARGUMENT, SIGMA, jl_error
from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import exact, rounds_to, span

WIDTHS = ("caris_aml_da1024", "caris_aml", "caris_aml_da4096")
METRICS = ("oiou", "miou", "pr50", "pr90")
LEVELS = ("pr50", "pr70", "pr90", "oiou")
PATCHES, POSITIONS = 196, 20  # of CARIS: the 14 x 14 feature grid, and its text input
USUAL = (0.1, 0.05, 0.01, 0.005, 0.001)  # probabilities of failure that one would state


def dim(paper: Paper, row: str) -> int:
    """D_a of a row of Table 5."""
    return int(paper.tables["table5"].row(row).attrs["d_a"])


def titled(paper: Paper, table: str, columns: tuple[str, ...], values: list[Fraction]) -> str:
    """Differences with the printed heads of their columns."""
    heads = (paper.tables[table].column(column).header for column in columns)
    return ", ".join(f"{head} {show(value, 2, True)}" for head, value in zip(heads, values, strict=True))


@check("T5-A")
def table8_is_table5(paper: Paper) -> Outcome:
    """Table 8 repeats Table 5."""
    columns = [column.key for column in paper.tables["table5"].columns]
    same = sum(
        paper.exact("table5", row, column) == paper.exact("table8", row, column) for row in WIDTHS for column in columns
    )
    count = len(WIDTHS) * len(columns)
    return Outcome(judged(same == count, "contradictory"), f"{count} numbers", f"{same} of {count} are equal")


@check("T5-B")
def wider_helps(paper: Paper) -> Outcome:
    """From 1024 to 2048."""
    gains = paper.gains("table5", WIDTHS[1], WIDTHS[0], METRICS)
    text = titled(paper, "table5", METRICS, gains)
    return Outcome(judged(min(gains) > 0, "contradictory"), "every metric improves", text, named(METRICS, gains))


@check("T5-C")
def widest_helps(paper: Paper) -> Outcome:
    """From 2048 to 4096."""
    gains = paper.gains("table5", WIDTHS[2], WIDTHS[1], METRICS)
    text = titled(paper, "table5", METRICS, gains) + f": {sum(gain < 0 for gain in gains)} of {len(gains)} fall"
    return Outcome(judged(min(gains) >= 0, "contradictory"), "marginal gains", text, named(METRICS, gains))


@check("T5-D")
def bound_and_accuracy(paper: Paper) -> Outcome:
    """Whether accuracy follows the bound."""
    bounds = [paper.exact("table5", row, "jl_error") for row in WIDTHS]
    falls = bounds == sorted(bounds, reverse=True)
    peaks = {column: max(WIDTHS, key=lambda row: paper.exact("table5", row, column)) for column in METRICS}
    inner = [column for column in METRICS if peaks[column] != WIDTHS[-1]]
    heads = ", ".join(f"{paper.tables['table5'].column(c).header} at {dim(paper, peaks[c])}" for c in METRICS)
    text = (
        f"the bound {'keeps falling' if falls else 'does not fall'} ({shows(bounds, 4)}), while the peaks are: {heads}"
    )
    return Outcome(judged(falls and not inner, "contradictory"), "they agree", text)


def implied(paper: Paper, row: str) -> tuple[float, float]:
    """Between what and what M N_l / sigma lies by Eq. 9 and one printed epsilon."""
    low, high = span(paper.number("table5", row, "jl_error"))
    return tuple(math.exp(float(end) ** 2 * dim(paper, row) / 8) for end in (low, high))  # type: ignore[return-value]


@check("T5-JL")
def bounds_of_one_formula(paper: Paper) -> Outcome:
    """Eq. 9 solved for epsilon: one M N_l / sigma has to give all three."""
    spans = {row: implied(paper, row) for row in WIDTHS}
    holds = max(low for low, _ in spans.values()) <= min(high for _, high in spans.values())
    first = span(paper.number("table5", WIDTHS[0], "jl_error"))
    follow = []
    for row in WIDTHS[1:]:
        factor = math.sqrt(dim(paper, WIDTHS[0]) / dim(paper, row))
        follow.append(" to ".join(f"{float(end) * factor:.5f}" for end in first))
    ranges = "; ".join(f"{low:,.0f} to {high:,.0f} at {dim(paper, row)}" for row, (low, high) in spans.items())
    text = f"epsilon = sqrt(8 ln(M N_l / sigma) / D_a), so from the first follow {' and '.join(follow)}"
    text += f". M N_l / sigma lies between {ranges}"
    text += "" if holds else f": no value gives all; {LOG_ARGUMENT:,.0f} gives {_errors(paper, LOG_ARGUMENT)}"
    numbers = {
        f"{end} {dim(paper, row)}": value
        for row, ends in spans.items()
        for end, value in zip(("low", "high"), ends, strict=True)
    }
    return Outcome(judged(holds, "off_by"), texts(paper.quotes("T5-JL", "epsilons")), text, numbers)


def _errors(paper: Paper, argument: float) -> str:
    return ", ".join(f"{jl_error(dim(paper, row), argument):.4f}" for row in WIDTHS)


@check("T5-JL2")
def untold_sizes(paper: Paper) -> Outcome:
    """Which M, N_l and sigma the bound is made of."""
    printed = [paper.number("table5", row, "jl_error") for row in WIDTHS]
    fits = [
        (tokens, sigma)
        for tokens in range(1, 78)
        for sigma in USUAL
        if all(
            rounds_to(Fraction(jl_error(dim(paper, row), PATCHES * tokens / sigma)), number)
            for row, number in zip(WIDTHS, printed, strict=True)
        )
    ]
    middle = math.sqrt(math.prod(implied(paper, WIDTHS[0])))
    sigma = PATCHES * POSITIONS / middle
    lengths = ", ".join(f"N_l {middle * usual / PATCHES:.3g} for sigma {usual:g}" for usual in (SIGMA, 0.01))
    if fits:
        text = "fits: " + ", ".join(f"N_l {tokens}, sigma {usual:g}" for tokens, usual in fits)
    else:
        text = f"no whole N_l with M = {PATCHES} and a usual sigma gives all three"
    text += f" (by the epsilon of 1024: sigma {sigma:.3f} for N_l {POSITIONS}; {lengths})"
    text += f". N_l {POSITIONS} and sigma {SIGMA:g} give "
    text += _errors(paper, PATCHES * POSITIONS / SIGMA)
    return Outcome(judged(len(fits) == 1, "unclear"), "-", text, {"fits": len(fits), "argument": middle})


@check("T6-A")
def early_gains(paper: Paper) -> Outcome:
    """Gains of the early similarity."""
    parts, holds, numbers = [], True, {}
    for column in ("pr90", "oiou"):
        a, b = paper.number("table6", "caris_aml", column), paper.number("table6", "caris", column)
        holds &= rounds_to(exact(a) - exact(b), paper.quoted("T6-A", column))
        parts.append(f"{a.text} - {b.text} = {show(exact(a) - exact(b))}")
        numbers[column] = float(exact(a) - exact(b))
    quotes = texts((paper.quoted("T6-A", "pr90"), paper.quoted("T6-A", "oiou")), sign=True)
    return Outcome(judged(holds, "off_by"), f"P@0.9, oIoU: {quotes}", "; ".join(parts), numbers)


@check("T6-B")
def ranking(paper: Paper) -> Outcome:
    """Early before Pred before Late."""
    late, pred, early = ("caris_aml_late_pmme", "caris_aml_pred_pmme", "caris_aml")
    holds = all(
        paper.exact("table6", early, c) > paper.exact("table6", pred, c) > paper.exact("table6", late, c)
        for c in LEVELS
    )
    gains = paper.gains("table6", late, "caris", LEVELS)
    text = f"Early, Pred, Late in this order on {'all four' if holds else 'not all'} metrics"
    text += f". Late against the baseline: {titled(paper, 'table6', LEVELS, gains)}"
    return Outcome(judged(holds, "contradictory"), "Late worst, Pred second, Early best", text, named(LEVELS, gains))


@check("T6-C")
def one_default_run(paper: Paper) -> Outcome:
    """The default run in Tables 5 and 6."""
    shared = ("pr50", "pr90", "oiou")
    values = paper.row("table6", "caris_aml", shared)
    holds = values == paper.row("table5", "caris_aml", shared)
    text = "equal in both, which fixes the split as val" if holds else "they differ"
    return Outcome(judged(holds, "contradictory"), f"P@0.5, P@0.9, oIoU: {shows(values)}", text)


@check("T7-A")
def random_projection(paper: Paper) -> Outcome:
    """Two gains and their order."""
    ours = paper.exact("table7", "caris_aml_ep1", "oiou")
    gains = {
        "over_caris": ours - paper.exact("table7", "caris_ep1", "oiou"),
        "over_learnable": ours - paper.exact("table7", "caris_aml_learnable_ep1", "oiou"),
    }
    quotes = {key: paper.quoted("T7-A", key) for key in gains}
    holds = all(rounds_to(gains[key], quotes[key]) for key in gains)
    keys = list(gains)
    swapped = all(rounds_to(gains[a], quotes[b]) for a, b in zip(keys, keys[::-1], strict=True))
    text = f"{show(gains['over_caris'], 2, True)} over CARIS, {show(gains['over_learnable'], 2, True)} over learnable"
    text += ": quoted in swapped order" * (swapped and not holds)
    return Outcome(judged(holds, "contradictory"), texts(quotes.values(), sign=True), text, named(keys, gains.values()))


@check("T7-B", "reading")
def learnable_untold(paper: Paper) -> Outcome:
    """Where the learnable variant is explained."""
    return Outcome("contradictory", "3.2", "Section 3.2 has the fixed random projection only")


@check("T7-C")
def learnable_against_caris(paper: Paper) -> Outcome:
    """Nothing is claimed; a remark."""
    gains = paper.gains("table7", "caris_aml_learnable_ep1", "caris_ep1", LEVELS)
    return Outcome("consistent", "-", titled(paper, "table7", LEVELS, gains), named(LEVELS, gains))
