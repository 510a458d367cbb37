"""Tables 4 and 17: what the threshold tau does."""

from __future__ import annotations

from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import exact, mean

VAL = ("refcoco.val", "refcoco+.val", "refcocog.val")
TAUS = ("caris_aml_tau020", "caris_aml_tau030", "caris_aml")  # rows of 0.2, 0.3, 0.4
CARIS, DEFAULT = "caris", "caris_aml"


def _tau(paper: Paper, row: str) -> str:
    return f"{float(paper.tables['table4'].row(row).attrs['tau']):g}"


def _header(paper: Paper, column: str) -> str:
    return paper.tables["table4"].column(column).header


def _best(paper: Paper, column: str, table: str = "table4") -> str:
    return max(TAUS, key=lambda row: paper.exact(table, row, column))


@check("T4-A")
def metric_of_tau(paper: Paper) -> Outcome:
    """The metric of the threshold ablation."""
    quotes = paper.quotes("T4-A", "values")
    first, last = exact(quotes[0]), exact(quotes[-1])
    oiou, miou = (
        (paper.exact(table, CARIS, VAL[0]), paper.exact(table, DEFAULT, VAL[0]))
        for table in ("table1_oiou", "table1_miou")
    )
    text = "these are the oIoU values of Table 1" if (first, last) == oiou else "not the oIoU values of Table 1"
    text += f" (the mIoU values are {shows(miou)})"
    holds = (first, last) == miou
    return Outcome(judged(holds, "contradictory"), f"mIoU {texts(quotes)}", text)


def _gains_over_zero(paper: Paper) -> tuple[int, list[str]]:
    """Cells of Table 4 with tau above 0, and those that are not above tau 0."""
    cells = [(row, column) for row in TAUS for column in VAL]
    below = []
    for row, column in cells:
        value, base = paper.number("table4", row, column), paper.number("table4", CARIS, column)
        if value <= base:
            gap = show(exact(base) - exact(value))
            below.append(f"{_header(paper, column)} at tau {_tau(paper, row)} is {value.text}, {gap} below {base.text}")
    return len(cells), below


@check("T4-B")
def every_tau_helps(paper: Paper) -> Outcome:
    """Gains at every tau."""
    count, below = _gains_over_zero(paper)
    text = f"true for {count - len(below)} of {count} cells" + "".join(f"; {case}" for case in below)
    return Outcome(judged(not below, "contradictory"), "consistent gains", text, {"below": len(below)})


@check("T4-C")
def rises_with_tau(paper: Paper) -> Outcome:
    """The picture of a rise with tau on RefCOCO."""
    quotes = paper.quotes("T4-C", "values")
    column = paper.row("table4", CARIS, VAL[:1]) + [paper.exact("table4", row, VAL[0]) for row in TAUS]
    rises = column == sorted(column)
    best = _best(paper, VAL[0])
    text = f"with tau 0 and {', '.join(_tau(paper, row) for row in TAUS)}: {shows(column)}"
    text += f"; tau {_tau(paper, best)}, which the prose leaves out, is the best" * (not rises)
    bests = ", ".join(f"{_tau(paper, _best(paper, name))} on {_header(paper, name)}" for name in VAL)
    return Outcome(judged(rises, "contradictory"), texts(quotes), f"{text}. Best tau: {bests}", named("0234", column))


@check("T4-D")
def best_on_average(paper: Paper) -> Outcome:
    """tau 0.4 on average, over Table 4 and over Table 17."""
    columns = tuple(column.key for column in paper.tables["table17"].columns)
    means = {
        table: [mean(paper.row(table, row, names)) for row in TAUS]
        for table, names in (("table4", VAL), ("table17", columns))
    }
    holds = all(values[-1] == max(values) for values in means.values())
    taus = ", ".join(_tau(paper, row) for row in TAUS)
    text = f"with {taus}: {shows(means['table4'])} over three val splits, {shows(means['table17'])} over Table 17"
    numbers = named((f"{table} {row}" for table in means for row in TAUS), [v for vs in means.values() for v in vs])
    return Outcome(judged(holds, "contradictory"), "best on average", text, numbers)


@check("T4-E")
def refcocog_peak(paper: Paper) -> Outcome:
    """Where RefCOCOg peaks."""
    peak, default = paper.quoted("T4-E", "peak"), paper.quoted("T4-E", "default")
    found = [paper.number("table4", row, VAL[2]) for row in (TAUS[0], DEFAULT)]
    holds = _best(paper, VAL[2]) == TAUS[0] and [exact(n) for n in found] == [exact(peak), exact(default)]
    return Outcome(
        judged(holds, "contradictory"), texts((peak, default)), texts(found), named(("peak", "default"), found)
    )


@check("T4-F")
def zero_is_caris(paper: Paper) -> Outcome:
    """tau 0 is the baseline of Table 1."""
    quotes = paper.quotes("T4-F", "values")
    row, first = paper.row("table4", CARIS, VAL), paper.row("table1_oiou", CARIS, VAL)
    holds = row == first == [exact(quote) for quote in quotes]
    text = "equal to Table 1" if holds else f"Table 1 has {shows(first)}, Table 4 {shows(row)}"
    return Outcome(judged(holds, "contradictory"), texts(quotes), text)


@check("T4-G")
def shared_cells(paper: Paper) -> Outcome:
    """Cells that Tables 4 and 17 share."""
    cells = [(row, column) for row in TAUS for column in VAL]
    same = sum(paper.exact("table4", *cell) == paper.exact("table17", *cell) for cell in cells)
    return Outcome(
        judged(same == len(cells), "contradictory"), f"{len(cells)} cells", f"{same} of {len(cells)} are equal"
    )


@check("T17-A")
def column_of_table17(paper: Paper) -> Outcome:
    """Which split the fourth column of Table 17 is."""
    column = "refcoco+.testB"
    headed = str(paper.tables["table17"].column(column).attrs["split_printed"])
    values = [paper.number("table17", row, column) for row in TAUS]
    ours = {split: paper.exact("table1_oiou", DEFAULT, f"refcoco+.{split}") for split in ("testA", "testB")}
    caris = paper.exact("table1_oiou", CARIS, f"refcoco+.{headed}")
    gaps = [caris - exact(value) for value in values]
    text = f"Table 1 has {show(ours['testA'])} on testA and {show(ours['testB'])} on testB at tau 0.4"
    text += f"; as {headed} all would lie {show(min(gaps), 1)} to {show(max(gaps), 1)} points below CARIS"
    holds = exact(values[-1]) == ours[headed]
    return Outcome(judged(holds, "contradictory"), f"{headed}: {texts(values)}", text, named(TAUS, gaps))


@check("T17-B")
def one_run_two_values(paper: Paper) -> Outcome:
    """RefCOCO+ testB at tau 0.3 and rho 1/4 in Tables 16 and 17."""
    there = paper.number("table17", "caris_aml_tau030", "refcoco+.testB")
    here = paper.number("table16", "caris_aml_tau030", "oiou")
    rows = [
        row for row in paper.tables["table16"].rows if row.values["oiou"] == there and row.key != "caris_aml_tau030"
    ]
    text = "equal" if here == there else f"they differ by {show(abs(exact(here) - exact(there)))}"
    if here != there and rows:
        text += f"; Table 16 has {there.text} in its row {rows[0].label}, so Table 17 probably took the wrong row"
    return Outcome(
        judged(here == there, "contradictory"),
        f"{there.text} (Table 17), {here.text} (Table 16)",
        text,
        {"difference": float(exact(here) - exact(there))},
    )


@check("T17-C")
def all_beat_zero(paper: Paper) -> Outcome:
    """All tau above 0 beat tau 0, on the splits of Table 17."""
    columns = [column.key for column in paper.tables["table17"].columns]
    good, bad = [], []
    for column in columns:
        base = paper.exact("table1_oiou", CARIS, column)
        losing = [_tau(paper, row) for row in TAUS if paper.exact("table17", row, column) <= base]
        name = paper.tables["table1_oiou"].column(column).header
        (bad.append(f"{name} at tau {', '.join(losing)}") if losing else good.append(f"{name} ({show(base)})"))
    text = f"true for {', '.join(good)}" + f"; not for {', '.join(bad)}" * bool(bad)
    said = texts(paper.quotes("T17-C", "baselines")) + " named"
    return Outcome(judged(not bad, "contradictory"), said, text, {"splits": len(columns), "not": len(bad)})


@check("T17-D")
def chosen_for_robustness(paper: Paper) -> Outcome:
    """tau 0.4 on RefCOCO+ and RefCOCOg in particular."""
    parts, holds = [], True
    for column in ("refcoco+.val", "refcoco+.testB", "refcocog.val"):
        best = _best(paper, column, "table17")
        own, top = paper.exact("table17", DEFAULT, column), paper.exact("table17", best, column)
        name = paper.tables["table1_oiou"].column(column).header
        holds &= best == DEFAULT
        parts.append(
            f"{name} best at {_tau(paper, best)} ({show(top)}" + (f" against {show(own)})" if best != DEFAULT else ")")
        )
    return Outcome(judged(holds, "contradictory"), "RefCOCO+ and RefCOCOg", "; ".join(parts) + " (see T17-B)")
