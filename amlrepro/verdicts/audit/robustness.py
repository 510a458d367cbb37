"""Tables 15 and 16, Eqs. 13 and 14: perturbed pictures and the dropout of weak pixels."""

from __future__ import annotations

from fractions import Fraction

from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.early import PERTURBATIONS, perturbed_mean
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import all_round_to, exact, mean, rounds_to

METHODS = ("caris", "caris_aml")
FIVE = ("miou", "oiou", "pr50", "pr70", "pr90")
WEAK = 16  # weak pixels in a block, of 1,024: enough to see what any-triggers-all does


def _columns(paper: Paper) -> list[str]:
    return [column.key for column in paper.tables["table15"].columns]


def _improvements(paper: Paper) -> list[Fraction]:
    """Mean gain of AML over the seven perturbations, of each column."""
    return [perturbed_mean(paper, "caris_aml", c) - perturbed_mean(paper, "caris", c) for c in _columns(paper)]


def _titles(paper: Paper) -> list[str]:
    return [column.header for column in paper.tables["table15"].columns]


@check("T15-A")
def average_rows(paper: Paper) -> Outcome:
    """The two average rows."""
    cells = [(method, column) for method in METHODS for column in _columns(paper)]
    means = [perturbed_mean(paper, *cell) for cell in cells]
    printed = [paper.number("table15", f"average__{method}", column) for method, column in cells]
    good = sum(rounds_to(value, number) for value, number in zip(means, printed, strict=True))
    text = f"{good} of {len(cells)} agree with the seven rows"
    numbers = named((f"{method} {column}" for method, column in cells), means)
    return Outcome(judged(good == len(cells), "off_by"), f"{len(cells)} values", text, numbers)


@check("T15-D")
def improvement_row(paper: Paper) -> Outcome:
    """The row of improvements."""
    values = _improvements(paper)
    printed = [paper.number("table15", "improvement", column) for column in _columns(paper)]
    numbers = named(_columns(paper), values)
    return Outcome(
        judged(all_round_to(values, printed), "off_by"), texts(printed, sign=True), shows(values, 3), numbers
    )


@check("T15-B")
def quoted_improvements(paper: Paper) -> Outcome:
    """The improvements that G.5 quotes."""
    values = _improvements(paper)
    quotes = [*paper.quotes("T15-B", "refcoco"), *paper.quotes("T15-B", "refcocog")]
    gaps = [exact(quote) - value for quote, value in zip(quotes, values, strict=True)]
    fitting = [name for name in PERTURBATIONS if all_round_to(_without(paper, name), quotes)]
    text = f"{shows(values)}; the prose is off by {shows(gaps, 2, True)}"
    text += f"; without {', '.join(fitting)} the table gives it" if fitting else "; leaving out one row explains none"
    holds = all_round_to(values, quotes)
    text = shows(values) if holds else text
    return Outcome(judged(holds, "contradictory"), texts(quotes, sign=True), text, named(_columns(paper), gaps))


def _without(paper: Paper, left_out: str) -> list[Fraction]:
    kept = [name for name in PERTURBATIONS if name != left_out]
    return [mean([_gain(paper, name, column) for name in kept]) for column in _columns(paper)]


def _gain(paper: Paper, name: str, column: str) -> Fraction:
    return paper.exact("table15", f"{name}__caris_aml", column) - paper.exact("table15", f"{name}__caris", column)


@check("T15-C")
def swapped_cell(paper: Paper) -> Outcome:
    """A cell with oIoU above mIoU."""
    above, leads = [], []
    for name in PERTURBATIONS:
        for method in METHODS:
            for dataset in ("refcoco", "refcocog"):
                miou, oiou = (
                    paper.number("table15", f"{name}__{method}", f"{dataset}.val.{metric}")
                    for metric in ("miou", "oiou")
                )
                if oiou > miou:
                    above.append((name, method, dataset, miou, oiou))
                else:
                    leads.append(exact(miou) - exact(oiou))
    count = len(above) + len(leads)
    usual = f"mIoU leads by {show(min(leads), 1)} to {show(max(leads), 1)}"
    if not above:
        return Outcome("consistent", f"{count} cells", f"oIoU is above mIoU in none; {usual}")
    name, method, dataset, miou, oiou = above[0]
    text = f"{len(above)} of {count} cells with oIoU above mIoU (elsewhere {usual})"
    if len(above) == 1 and method == "caris":
        text += _swapped(paper, dataset, (exact(oiou) - exact(miou)) / len(PERTURBATIONS))
    row = paper.tables["table15"].row(f"{name}__{method}").label
    return Outcome("contradictory", f"{row}, mIoU / oIoU: {miou.text} / {oiou.text}", text, {"cells": len(above)})


def _swapped(paper: Paper, dataset: str, shift: Fraction) -> str:
    """What the averages are with the two numbers of one baseline cell exchanged."""
    columns = [f"{dataset}.val.{metric}" for metric in ("miou", "oiou")]
    base = [perturbed_mean(paper, "caris", c) + s for c, s in zip(columns, (shift, -shift), strict=True)]
    gains = [perturbed_mean(paper, "caris_aml", c) - b for c, b in zip(columns, base, strict=True)]
    return (
        f". Exchanged, the baseline's average is {show(base[0])} / {show(base[1])} and the improvement "
        f"{show(gains[0], 2, True)} mIoU, {show(gains[1], 2, True)} oIoU; the printed averages are of the printed order"
    )


@check("T15-E")
def ahead_everywhere(paper: Paper) -> Outcome:
    """AML against the baseline in every cell."""
    gains = {(name, column): _gain(paper, name, column) for name in PERTURBATIONS for column in _columns(paper)}
    heads = dict(zip(_columns(paper), _titles(paper), strict=True))
    order = sorted(gains, key=lambda cell: gains[cell])
    behind = [cell for cell in order if gains[cell] <= 0]
    text = "true for all" if not behind else f"not for {len(behind)} of"
    smallest = ", ".join(f"{show(gains[c], 2, True)} ({c[0]}, {heads[c[1]]})" for c in order[:2])
    text += f" {len(gains)} pairs; the smallest are {smallest}"
    numbers = {"smallest": float(gains[order[0]]), "behind": len(behind)}
    return Outcome(judged(not behind, "contradictory"), "all cells", text, numbers)


def _five(paper: Paper, row: str) -> Fraction:
    return mean(paper.row("table16", row, FIVE))


@check("T16-A")
def means_of_five(paper: Paper) -> Outcome:
    """The averages of Table 16."""
    rows = paper.tables["table16"].rows
    wrong = [row.label for row in rows if not rounds_to(_five(paper, row.key), paper.number("table16", row.key, "avg"))]
    text = f"{len(rows) - len(wrong)} of {len(rows)} agree" + f"; not {', '.join(wrong)} (T16-B)" * bool(wrong)
    return Outcome(judged(not wrong, "off_by"), f"{len(rows)} values", text, {"wrong": len(wrong)})


@check("T16-B")
def one_average(paper: Paper) -> Outcome:
    """tau 0.4, rho 1/2."""
    row = "caris_aml_tau040_rho12"
    average, gain = (paper.number("table16", row, column) for column in ("avg", "gain"))
    value = _five(paper, row)
    rise = value - _five(paper, "caris")
    holds = rounds_to(value, average)
    text = f"{show(value)} ({show(value, 3)}), {show(rise, 2, True)}"
    text += f": off by {show(exact(average) - value, 2, True)}" * (not holds)
    numbers = {"average": float(value), "gain": float(rise)}
    return Outcome(judged(holds, "off_by"), f"{average.text}, +{gain.text}", text, numbers)


@check("T16-C")
def range_of_gains(paper: Paper) -> Outcome:
    """The smallest and the largest gain: differences of rounded averages."""
    base = paper.exact("table16", "caris", "avg")
    rows = [row.key for row in paper.tables["table16"].rows if row.values["gain"] is not None]
    rounded = {row: paper.exact("table16", row, "avg") - base for row in rows}
    least, most = min(rounded, key=lambda row: rounded[row]), max(rounded, key=lambda row: rounded[row])
    quotes = paper.quoted("T16-C", "low"), paper.quoted("T16-C", "high")
    holds = [rounded[least], rounded[most]] == [exact(quote) for quote in quotes]
    ends = [_five(paper, row) - _five(paper, "caris") for row in (least, most)]
    text = f"{shows(ends, 3)} unrounded; {shows((rounded[least], rounded[most]))} as differences of rounded averages"
    return Outcome(
        judged(holds, "off_by"), f"+{quotes[0].text} to +{quotes[1].text}", text, named(("low", "high"), ends)
    )


def _by_rho(paper: Paper, tau: str) -> dict[str, str]:
    rows = [row for row in paper.tables["table16"].rows if f"{float(row.attrs.get('tau', -1)):g}" == tau]
    return {str(row.attrs["rho"]): row.key for row in rows}


@check("T16-D")
def best_rho(paper: Paper) -> Outcome:
    """rho 1/4 for both tau, by the average and by single metrics."""
    holds, parts = True, []
    for tau in ("0.3", "0.4"):
        rows = _by_rho(paper, tau)
        means = {rho: _five(paper, row) for rho, row in rows.items()}
        holds &= max(means, key=lambda rho: means[rho]) == "1/4"
        for metric in FIVE:
            values = {rho: paper.exact("table16", row, metric) for rho, row in rows.items()}
            best = max(values, key=lambda rho: values[rho])
            if best != "1/4":
                head = paper.tables["table16"].column(metric).header
                parts.append(f"{head} {show(values[best])} at {best} against {show(values['1/4'])} (tau {tau})")
    text = "by the recomputed averages " + ("yes" if holds else "no")
    text += f". Single metrics with another best rho: {'; '.join(parts)}" * bool(parts)
    quotes = texts(paper.quotes("T16-D", "gains"), sign=True)
    return Outcome(judged(holds, "contradictory"), f"highest gains {quotes}", text, {"other": len(parts)})


@check("T16-E")
def default_not_best(paper: Paper) -> Outcome:
    """The default among the rows of this table."""
    tau = f"{float(paper.quoted('T16-E', 'tau')):g}"
    own = _by_rho(paper, tau)["1/4"]
    better = [
        row for row in paper.tables["table16"].rows if row.key != own and _five(paper, row.key) > _five(paper, own)
    ]
    parts = []
    for row in better:
        wins = sum(paper.exact("table16", row.key, metric) > paper.exact("table16", own, metric) for metric in FIVE)
        parts.append(f"{row.label} is ahead on {wins} of {len(FIVE)} metrics ({show(_five(paper, row.key))})")
    text = f"average {show(_five(paper, own))}; {'; '.join(parts)}" if parts else "the highest average"
    return Outcome(judged(not better, "unclear"), f"tau {tau}, rho 1/4", text, {"better": len(better)})


@check("EQ13", "both")
def meaning_of_rho(paper: Paper) -> Outcome:
    """Whether rho is what is dropped or what is kept."""
    rho, kept = exact(paper.quoted("EQ13", "rho")), exact(paper.quoted("EQ13", "kept"))
    by_dropout, by_text = 100 * (1 - rho), 100 - kept
    text = "P_selected = DropOut(P_weak, rho) keeps, with the usual meaning of dropout, "
    text += f"{show(by_dropout, 0)} % for masking; G.6.1, with {show(kept, 0)} % of the weak pixels left visible, "
    text += f"means {show(by_text, 0)} %"
    numbers = {"dropout": float(by_dropout), "text": float(by_text)}
    printed = f"rho {show(rho)}: {show(kept, 0)} % stay"
    return Outcome(judged(by_dropout == by_text, "contradictory"), printed, text, numbers)


@check("EQ14")
def any_triggers_all(paper: Paper) -> Outcome:
    """A block is masked if any of its weak pixels is: what is left of rho."""
    rho, kept = exact(paper.quoted("EQ14", "rho")), exact(paper.quoted("EQ14", "kept"))
    pixels = int(exact(paper.quoted("EQ14", "pixels")))
    shares = {name: 1 - (1 - Fraction(name)) ** WEAK for name in ("1/2", "1/4", "1/6")}
    whole = 100 * (1 - rho) ** pixels
    by_rho = [[_five(paper, row) for row in _by_rho(paper, tau).values()] for tau in ("0.3", "0.4")]
    widest = max(max(averages) - min(averages) for averages in by_rho)
    text = f"with n weak pixels a block survives with (1 - rho)^n: at n = {WEAK} of {pixels:,} it is masked with "
    text += f"probability {shows(shares.values())} for rho {', '.join(shares)}, and of wholly weak blocks "
    text += (
        f"{show(whole)} % stay. So rho hardly matters, yet between values of rho the averages of Table 16 differ by "
    )
    text += f"up to {show(widest, 1)} points"
    holds = rounds_to(whole, paper.quoted("EQ14", "kept"))
    return Outcome(judged(holds, "contradictory"), f"{show(kept, 0)} % stay", text, named(shares, shares.values()))
