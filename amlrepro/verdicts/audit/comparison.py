"""Tables 1 and 2: averages, first places, gains over the baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from amlrepro.suite.printed import PrintedRow, PrintedTable
from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import all_round_to, exact, half_unit, mean, rounds_to

SEPARATE = ("table1_miou", "table1_oiou")
COMBINED = "table1_combined"
OURS, CARIS = "caris_aml", "caris"
REFCOCO = ("refcoco.val", "refcoco.testA", "refcoco.testB")
PLUS = ("refcoco+.val", "refcoco+.testA", "refcoco+.testB")
SPLITS = (*REFCOCO, *PLUS, "refcocog.val", "refcocog.test")
METRIC = {"table1_miou": "mIoU", "table1_oiou": "oIoU", COMBINED: "combined oIoU"}


def title(paper: Paper, column: str) -> str:
    """How print heads a column of Table 1: RefCOCO+ testA."""
    return paper.tables[COMBINED].column(column).header


def _averages(paper: Paper) -> list[tuple[PrintedTable, PrintedRow, Fraction]]:
    """Rows of Table 1 with a printed average, and the mean of their splits."""
    tables = [paper.tables[name] for name in METRIC]
    rows = [(table, row) for table in tables for row in table.rows if row.values["avg"] is not None]
    return [(table, row, mean(paper.row(table.key, row.key, SPLITS))) for table, row in rows]


@check("T1-AVG1")
def averages(paper: Paper) -> Outcome:
    """Last column of Table 1: the mean of the row."""
    wrong, ties = [], []
    found = _averages(paper)
    for table, row, average in found:
        number = paper.number(table.key, row.key, "avg")
        name = f"{row.label} {METRIC[table.key]} {show(average)} (printed {number.text})"
        if not rounds_to(average, number):
            wrong.append(name)
        elif abs(average - exact(number)) == half_unit(number):
            ties.append(name)
    text = f"{len(found) - len(wrong)} of {len(found)} follow from their rows"
    text += f"; {len(wrong)} do not: {'; '.join(wrong)}" * bool(wrong) + f"; a tie: {'; '.join(ties)}" * bool(ties)
    counts = {"averages": len(found), "wrong": len(wrong), "ties": len(ties)}
    return Outcome(judged(not wrong, "off_by"), f"{len(found)} averages", text, counts)


def _average_of(table: str, row: str) -> Callable[[Paper], Outcome]:
    def one_average(paper: Paper) -> Outcome:
        number, splits = paper.number(table, row, "avg"), paper.row(table, row, SPLITS)
        average = mean(splits)
        text = f"{show(average)} (exactly {show(average, 4)}, rounds to {show(average, number.decimals)})"
        missing = abs(average - exact(number)) - half_unit(number)
        loose = mean([half_unit(paper.number(table, row, split)) for split in SPLITS])
        if 0 < missing <= loose:
            text += f"; splits with more digits than print has could give {number.text}"
        same = [
            other.label
            for other in paper.tables[table].rows
            if other.key != row and other.values["avg"] == number and not rounds_to(average, number)
        ]
        if same and table == COMBINED:
            text += f"; {number.text} is the average of {', '.join(same)}"
        if row == OURS:
            text += _lead(paper, table, average)
        return Outcome(judged(rounds_to(average, number), "off_by"), number.text, text, {"average": float(average)})

    return one_average


def _lead(paper: Paper, table: str, average: Fraction) -> str:
    """How far the method leads by the averages of the rows, beside what the printed averages say."""
    others = {row.key: (row.label, value) for t, row, value in _averages(paper) if t.key == table and row.key != OURS}
    best = max(others, key=lambda key: others[key][1])
    parts = []
    for key in dict.fromkeys((CARIS, best)):
        label, value = others[key]
        printed = paper.exact(table, OURS, "avg") - paper.exact(table, key, "avg")
        parts.append(f"{show(average - value, 2, True)} on {label} (by the printed averages {show(printed, 1, True)})")
    return f". The method's lead is {', '.join(parts)}"


for _name, _table, _row in (
    ("T1-AVG2", "table1_miou", "lavt"),
    ("T1-AVG3", "table1_miou", "cgformer"),
    ("T1-AVG4", COMBINED, "polyformer"),
    ("T1-AVG5", COMBINED, OURS),
):
    check(_name)(_average_of(_table, _row))


@check("T1-AVG6", "both")
def missing_averages(paper: Paper) -> Outcome:
    """Rows whose average is a dash although some of their splits are there."""
    found: dict[str, Fraction] = {}
    for name in METRIC:
        for row in paper.tables[name].rows:
            there = [split for split in SPLITS if row.values[split] is not None]
            if row.values["avg"] is None and there:
                found[f"{row.label.strip('*')} {METRIC[name]} ({len(there)} splits)"] = mean(
                    paper.row(name, row.key, there)
                )
    text = "over the splits that are there: " + ", ".join(f"{name} {show(value)}" for name, value in found.items())
    return Outcome(
        judged(not found, "contradictory"),
        f"a dash in {len(found)} rows",
        text if found else "no row has a dash",
        named(found, found.values()),
    )


def _behind(paper: Paper, table: str, without_llm: bool = False) -> dict[str, list[tuple[str, Fraction]]]:
    """Splits where a row is at least level with the method: those rows and by how much they lead."""
    out: dict[str, list[tuple[str, Fraction]]] = {}
    for split in SPLITS:
        ours = paper.exact(table, OURS, split)
        rows = [row for row in paper.tables[table].rows if row.key != OURS and row.values[split] is not None]
        rows = [row for row in rows if not (without_llm and row.attrs.get("llm_based"))]
        ahead = [(row.label, paper.exact(table, row.key, split) - ours) for row in rows]
        ahead = sorted((pair for pair in ahead if pair[1] >= 0), key=lambda pair: -pair[1])
        if ahead:
            out[split] = ahead
    return out


@check("T1-SOTA1")
def first_separately(paper: Paper) -> Outcome:
    """Ahead of every printed row on every split, trained on one data set."""
    behind = [f"{METRIC[name]} {title(paper, split)}" for name in SEPARATE for split in _behind(paper, name)]
    margins: list[tuple[Fraction, str]] = []
    for name in SEPARATE:
        for split in SPLITS:
            rows = [row for row in paper.tables[name].rows if row.key != OURS and row.values[split] is not None]
            best = max(rows, key=lambda row: paper.exact(name, row.key, split))
            margin = paper.exact(name, OURS, split) - paper.exact(name, best.key, split)
            margins.append((margin, f"{show(margin)} ({METRIC[name]}, {title(paper, split)}, {best.label})"))
    margins.sort(key=lambda pair: pair[0])
    smallest = " and ".join(text for _, text in margins[:2])
    held = f"true for all {len(margins)} cells" if not behind else f"not ahead in {', '.join(behind)}"
    return Outcome(
        judged(not behind, "contradictory"),
        f"{len(margins)} cells",
        f"{held}; the smallest margins are {smallest}",
        {"smallest": float(margins[0][0])},
    )


@check("T1-SOTA2")
def first_combined(paper: Paper) -> Outcome:
    """The same for combined training."""
    behind, fair = _behind(paper, COMBINED), _behind(paper, COMBINED, without_llm=True)
    cells = []
    for split, rows in behind.items():
        ours = paper.exact(COMBINED, OURS, split)
        others = ", ".join(f"{label} {show(ours + lead)}" for label, lead in rows)
        cells.append(f"{title(paper, split)} {show(ours)} ({others})")
    text = f"not ahead on {len(behind)} of {len(SPLITS)}: {'; '.join(cells)}" if behind else "ahead on all"
    names = ", ".join(title(paper, split) for split in fair) or "none"
    text += f". Without the rows of large language models not ahead on: {names}"
    numbers = {"behind": len(behind), "behind_without_llm": len(fair)}
    return Outcome(judged(not behind, "contradictory"), f"{len(SPLITS)} cells", text, numbers)


@check("T1-SOTA3", "both")
def combined_metrics(paper: Paper) -> Outcome:
    """Metrics of the combined block."""
    metrics = paper.tables[COMBINED].metrics
    titles = ", ".join(name.replace("iou", "IoU") for name in metrics)
    text = f"the combined block has {titles} only" if "miou" not in metrics else f"the combined block has {titles}"
    return Outcome(judged({"miou", "oiou"} <= set(metrics), "contradictory"), "mIoU and oIoU", text)


def _gains_check(paper: Paper, name: str, parts: Mapping[str, tuple[str, tuple[str, ...]]], more: str = "") -> Outcome:
    """Quoted gains over CARIS against differences. parts: key of the quotes -> table and columns."""
    good, shown, said = True, [], []
    numbers: dict[str, float] = {}
    for key, (table, columns) in parts.items():
        gains, quotes = paper.gains(table, OURS, CARIS, columns), paper.quotes(name, key)
        good &= all_round_to(gains, quotes)
        shown.append(f"{METRIC[table]} {shows(gains)}")
        said.append(f"{METRIC[table]} {texts(quotes, sign=True)}")
        numbers |= named((f"{key} {column}" for column in columns), gains)
    return Outcome(judged(good, "off_by"), "; ".join(said), "; ".join(shown) + more, numbers)


@check("T1-D1")
def gains_refcoco(paper: Paper) -> Outcome:
    """Gains on RefCOCO."""
    return _gains_check(paper, "T1-D1", {"miou": ("table1_miou", REFCOCO), "oiou": ("table1_oiou", REFCOCO)})


@check("T1-D2")
def gains_plus(paper: Paper) -> Outcome:
    """Gains on RefCOCO+."""
    return _gains_check(paper, "T1-D2", {"miou": ("table1_miou", PLUS), "oiou": ("table1_oiou", PLUS)})


@check("T1-D3")
def gains_g(paper: Paper) -> Outcome:
    """Gains on RefCOCOg test; those on val are not quoted."""
    val = [paper.gains(table, OURS, CARIS, ["refcocog.val"])[0] for table in SEPARATE]
    parts = {"miou": ("table1_miou", ("refcocog.test",)), "oiou": ("table1_oiou", ("refcocog.test",))}
    return _gains_check(paper, "T1-D3", parts, f". The gains on val, not quoted, are {shows(val)}")


@check("T1-D4")
def gains_combined(paper: Paper) -> Outcome:
    """Combined training, val splits."""
    columns = tuple(split for split in SPLITS if split.endswith(".val"))
    return _gains_check(paper, "T1-D4", {"oiou": (COMBINED, columns)})


@check("T1-D5")
def superior_on_tests(paper: Paper) -> Outcome:
    """Combined training, test splits: against CARIS and against all rows."""
    tests = [split for split in SPLITS if not split.endswith(".val")]
    gains = paper.gains(COMBINED, OURS, CARIS, tests)
    behind = [title(paper, split) for split in _behind(paper, COMBINED) if split in tests]
    text = f"{'true' if min(gains) > 0 else 'false'} against CARIS ({shows(gains, 2, True)})"
    text += f", false against all rows: {', '.join(behind)} (T1-SOTA2)" if behind else ", true against all rows"
    holds = min(gains) > 0 and not behind
    return Outcome(judged(holds, "contradictory"), "all test splits", text, named(tests, gains))


@check("T1-COMB")
def combined_helps(paper: Paper) -> Outcome:
    """Combined against separate training, for CARIS and the method."""
    changes = {
        (row, split): paper.exact(COMBINED, row, split) - paper.exact("table1_oiou", row, split)
        for row in (CARIS, OURS)
        for split in SPLITS
    }
    falls = {key: value for key, value in changes.items() if value < 0}
    rises = [value for value in changes.values() if value >= 0]
    parts = [
        f"{'CARIS' if row == CARIS else 'AML'} falls by {show(-value)} on {title(paper, split)} "
        f"({show(paper.exact('table1_oiou', row, split))} separate, {show(paper.exact(COMBINED, row, split))} combined)"
        for (row, split), value in falls.items()
    ]
    text = "; ".join(parts) + f" while the other {len(rises)} cells rise by {show(min(rises))} to {show(max(rises))}"
    if (CARIS, "refcoco.testB") in falls:
        text += f"; public CARIS, combined, has {paper.public('T1-COMB', 'combined_testB').text} there"
    text = text if falls else f"all {len(rises)} cells rise"
    return Outcome(judged(not falls, "unclear"), "-", text, {"falls": len(falls), "largest_rise": float(max(rises))})


@check("T1-CITE", "both")
def citation(paper: Paper) -> Outcome:
    """Two methods with one citation."""
    table = paper.tables[COMBINED]
    cite = {key: str(table.row(key).attrs["cite"]) for key in ("pixellm_7b", "perceptiongpt_7b")}
    same = len(set(cite.values())) == 1
    text = "that is PixelLM's entry; the list of references has none for PerceptionGPT, and CRIS twice"
    return Outcome(
        judged(not same, "contradictory"), cite["perceptiongpt_7b"], text if same else "entries of their own"
    )


@check("T2-A", "both")
def table2_data(paper: Paper) -> Outcome:
    """Which data set Table 2 is about: CARIS's row against Table 1."""
    row = paper.row("table2", CARIS, PLUS)
    plus, plain = (row == paper.row("table1_oiou", CARIS, columns) for columns in (PLUS, REFCOCO))
    text = f"the caption says RefCOCO+, and {shows(row)} are Table 1's RefCOCO+ values" if plus else f"{shows(row)}"
    return Outcome(judged(plain and not plus, "contradictory"), "RefCOCO", text)


def _table2(paper: Paper, name: str, first: str, second: str) -> Outcome:
    gains, quotes = paper.gains("table2", first, second, PLUS), paper.quotes(name, "gains")
    good, text = all_round_to(gains, quotes), shows(gains)
    loose = 2 * half_unit(paper.number("table2", first, PLUS[0]))
    pairs = zip(gains, quotes, strict=True)
    if not good and all(abs(gain - exact(quote)) - half_unit(quote) <= loose for gain, quote in pairs):
        text += "; numbers with more digits than print has could give what is quoted"
    return Outcome(judged(good, "off_by"), texts(quotes, sign=True), text, named(PLUS, gains))


@check("T2-B")
def gains_detris(paper: Paper) -> Outcome:
    """AML on DETRIS."""
    return _table2(paper, "T2-B", "detris_aml", "detris")


@check("T2-C")
def gains_caris(paper: Paper) -> Outcome:
    """AML on CARIS."""
    return _table2(paper, "T2-C", OURS, CARIS)


@check("T2-D", "both")
def table2_is_final(paper: Paper) -> Outcome:
    """Table 2 is said to show the first epochs."""
    rows = (CARIS, OURS, "detris")
    same = all(paper.row("table2", row, PLUS) == paper.row("table1_oiou", row, PLUS) for row in rows)
    text = f"{len(rows)} of its rows equal the final values of Table 1" if same else "its rows differ from Table 1"
    return Outcome(judged(not same, "contradictory"), "first few epochs", text)
