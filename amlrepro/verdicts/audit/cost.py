"""Tables 9 and 10: memory, time, and what equal time buys."""

from __future__ import annotations

import math
from fractions import Fraction

from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import change_rounds_to, exact, percent_change, rounds_to

MEMORY, TIME = "memory_mb", "time_min_per_epoch"
POINTS = (10, 30, 50)
FORWARD, BACKWARD = 1, 2  # usual cost of a pass through a network, and of the one back, in forward passes


def overhead(paper: Paper, model: str, column: str) -> Fraction:
    """What AML adds, in percent."""
    return percent_change(paper.number("table9", model, column), paper.number("table9", f"{model}_aml", column))


@check("T9-B")
def overheads(paper: Paper) -> Outcome:
    """Three overheads, in prose and table."""
    parts = {"caris_memory": ("caris", MEMORY), "caris_time": ("caris", TIME), "detris_time": ("detris", TIME)}
    values, holds = {}, True
    for key, (model, column) in parts.items():
        quote = paper.quoted("T9-B", key)
        ends = paper.number("table9", model, column), paper.number("table9", f"{model}_aml", column)
        printed = paper.number("table9", f"{model}_aml", column.split("_")[0] + "_overhead_pct")
        holds &= change_rounds_to(*ends, quote) and exact(printed) == exact(quote)
        values[key] = overhead(paper, model, column)
    quotes = texts(paper.quoted("T9-B", key) for key in parts)
    return Outcome(judged(holds, "off_by"), quotes, shows(values.values()), named(values, values.values()))


@check("T9-A")
def detris_memory(paper: Paper) -> Outcome:
    """DETRIS's memory."""
    value, quote = overhead(paper, "detris", MEMORY), paper.quoted("T9-A", "memory")
    ends = paper.number("table9", "detris", MEMORY), paper.number("table9", "detris_aml", MEMORY)
    text = f"{show(value)}, rounds to {show(value, quote.decimals)}"
    return Outcome(judged(change_rounds_to(*ends, quote), "off_by"), quote.text, text, {"memory": float(value)})


@check("T9-C", "both")
def stage_one_cost(paper: Paper) -> Outcome:
    """Whether the printed time fits a first pass without gradient."""
    value, step = overhead(paper, "caris", TIME), FORWARD + BACKWARD
    whole = Fraction(100 * FORWARD, step)
    text = (
        f"{show(value, 1)} %: if the pass back costs twice the pass forward, one more forward pass of the whole model "
        f"adds {show(whole, 0)} %, of its encoders alone less, and a second step with gradient 100 % (see X-CODE2)"
    )
    holds = 0 < value < whole
    return Outcome(
        judged(holds, "contradictory"), f"+{paper.quoted('T9-C', 'time').text} %", text, {"time": float(value)}
    )


def _pair(paper: Paper, row: str, epochs: int) -> tuple[Fraction, Fraction]:
    first, second = paper.row("table10", row, (f"ep{epochs}.oiou", f"ep{epochs}.miou"))
    return first, second


@check("T10-A")
def order_of_pairs(paper: Paper) -> Outcome:
    """Which metric comes first in Table 10."""
    headed = [
        str(paper.tables["table10"].column(f"ep50.{metric}").attrs["metric_printed"]) for metric in ("oiou", "miou")
    ]
    rows = {"caris": "caris", "caris_aml_same_steps": "caris_aml"}
    fits = {}
    for order in (("miou", "oiou"), ("oiou", "miou")):
        fits[order] = all(
            rounds_to(
                paper.exact(f"table1_{metric}", row, "refcoco+.val"), paper.number("table10", short, f"ep50.{key}")
            )
            for short, row in rows.items()
            for key, metric in zip(("oiou", "miou"), order, strict=True)
        )
    as_headed = fits[headed[0], headed[1]]
    values = {
        metric: shows(paper.exact(f"table1_{metric}", row, "refcoco+.val") for row in rows.values())
        for metric in ("oiou", "miou")
    }
    text = f"Table 1, RefCOCO+ val: oIoU {values['oiou']}, mIoU {values['miou']}"
    text += ": the pairs are oIoU / mIoU" * (fits["oiou", "miou"] and not as_headed)
    printed = "mIoU / oIoU: " + "; ".join(shows(_pair(paper, row, 50), 1).replace(", ", " / ") for row in rows)
    return Outcome(judged(as_headed, "contradictory"), printed, text)


@check("T10-B")
def epochs_of_equal_time(paper: Paper) -> Outcome:
    """How many AML epochs take the time of 10, 30, 50 CARIS epochs."""
    caris, aml = paper.exact("table9", "caris", TIME), paper.exact("table9", "caris_aml", TIME)
    quotes = [int(exact(quote)) for quote in paper.quotes("T10-B", "epochs")]
    real = [epochs * caris / aml for epochs in POINTS]
    rounded, floored = [math.floor(value + Fraction(1, 2)) for value in real], [math.floor(value) for value in real]
    budget = [
        show(100 * (aml * quote / (caris * epochs) - 1), 1, True) for quote, epochs in zip(quotes, POINTS, strict=True)
    ]
    text = f"exactly {shows(real)}; rounded {', '.join(map(str, rounded))}, cut off {', '.join(map(str, floored))}"
    text += f". The printed epochs take {', '.join(budget)} % of the time"
    holds = quotes in (rounded, floored)
    return Outcome(judged(holds, "off_by"), ", ".join(map(str, quotes)), text, named(map(str, POINTS), real))


def _quoted_pairs(paper: Paper, name: str) -> tuple[list[Fraction], list[Fraction], str]:
    aml, caris = (paper.quotes(name, key) for key in ("aml", "caris"))
    gains = [exact(a) - exact(b) for a, b in zip(aml, caris, strict=True)]
    printed = f"{'/'.join(n.text for n in aml)} against {'/'.join(n.text for n in caris)}"
    return [exact(n) for n in (*aml, *caris)], gains, printed


@check("T10-C")
def at_full_time(paper: Paper) -> Outcome:
    """The time of 50 epochs."""
    values, gains, printed = _quoted_pairs(paper, "T10-C")
    holds = values == [*_pair(paper, "caris_aml_same_time", 50), *_pair(paper, "caris", 50)]
    text = ("equal to the table: " if holds else "not the table's numbers: ") + shows(gains, 1, True)
    return Outcome(judged(holds, "contradictory"), printed, text, named(("oiou", "miou"), gains))


@check("T10-D")
def reaches_with_less(paper: Paper) -> Outcome:
    """The time of 30 epochs against 50 epochs of CARIS."""
    pairs = (_pair(paper, "caris_aml_same_time", 30), _pair(paper, "caris", 50))
    gains = [a - b for a, b in zip(*pairs, strict=True)]
    _, _, printed = _quoted_pairs(paper, "T10-D")
    text = f"oIoU {show(gains[0], 1, True)}, mIoU {show(gains[1], 1, True)}"
    return Outcome(judged(min(gains) >= 0, "off_by"), printed, text, named(("oiou", "miou"), gains))


@check("T10-E", "both")
def thirty_epochs(paper: Paper) -> Outcome:
    """How many epochs the quoted row ran."""
    ran = dict(
        zip(POINTS, str(paper.tables["table10"].row("caris_aml_same_time").attrs["epochs_run"]).split("/"), strict=True)
    )
    stated = int(exact(paper.quoted("T10-E", "epochs")))
    steps = _pair(paper, "caris_aml_same_steps", 30)
    gains = [a - b for a, b in zip(steps, _pair(paper, "caris", 50), strict=True)]
    text = f"the quoted row ran {ran[30]} epochs of AML; at {stated} (same steps) it has {shows(steps, 1)}"
    text += f", {shows(gains, 1, True)} against CARIS"
    return Outcome(judged(int(ran[30]) == stated, "unclear"), f"{stated} epochs", text, named(("oiou", "miou"), gains))


@check("T10-F")
def cost_twice(paper: Paper) -> Outcome:
    """Memory and time of Table 9 in Table 10."""
    cells = [(a, b, c) for a, b in (("caris", "caris"), ("caris_aml", "caris_aml_same_time")) for c in (MEMORY, TIME)]
    same = all(paper.exact("table9", a, column) == paper.exact("table10", b, column) for a, b, column in cells)
    printed = texts(paper.number("table9", a, column) for a, _, column in cells)
    return Outcome(judged(same, "contradictory"), printed, "equal" if same else "they differ")
