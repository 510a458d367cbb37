"""How `amlris readings` shows its result on a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

from amlrepro.verdicts.readings import ReadingResult, ReadingsReport, Screening, StatisticResult

WIDE = 110  # columns from which on the distance within each table is shown
SHORT = {"table12": "T12", "table13_ep0": "T13 ep0", "table13_ep1": "T13 ep1", "table7": "T7", "table14": "T14"}
MARKS = {"nearest": "bold", "not told apart": "", "farther": "dim", "not measured": "dim"}


def ranking_table(report: ReadingsReport, width: int) -> Table:
    """All readings, nearest first; nearest: in how many draws; apart: whether noise leaves it farther than the first.
    At 80 columns without the distances within single tables."""
    wide = width >= WIDE
    table = _table("#", "reading")
    table.columns[1].no_wrap = True
    for name in ("distance", "95 %", "nearest"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        for group in report.groups:
            table.add_column(SHORT.get(group, group), justify="right", no_wrap=True)
    table.add_column("apart")
    for number, reading in enumerate(report.readings, start=1):
        table.add_row(*_row(number, reading, report, wide), style=MARKS[reading.label])
    return table


def _row(number: int, reading: ReadingResult, report: ReadingsReport, wide: bool) -> list[str]:
    if reading.distance is None or reading.groups is None:
        blank = ["-"] * (2 + (len(report.groups) if wide else 0))
        return ["-", reading.name, "-", *blank, "-"]
    groups = [f"{reading.groups[group]:.1f}" for group in report.groups] if wide else []
    interval = f"{reading.low:.2f} - {reading.high:.2f}"
    share = f"{100 * (reading.nearest or 0):.0f} %"
    apart = {"not told apart": "no", "farther": "yes"}.get(reading.label, "")
    return [str(number), reading.name, f"{reading.distance:.2f}", interval, share, *groups, apart]


def screening_table(screening: Screening) -> Table:
    """All readings before training, nearest first: their distance, what training them takes, whether they are."""
    table = _table("#", "before training")
    table.columns[1].no_wrap = True
    for name in ("distance", "A800 h"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trained")
    for number, each in enumerate(screening.readings, start=1):
        distance = "-" if each.distance is None else f"{each.distance:.2f}"
        said = f"{'yes' if each.trained else 'no'}, {each.reason}"
        style = "" if each.trained else "dim"
        table.add_row(str(number), each.name, distance, f"{each.hours:.1f}", said, style=style)
    return table


def statistics_table(report: ReadingsReport, width: int) -> Table:
    """Statistic by statistic: the target, the nearest reading, and the default one where that is another."""
    first = report.ranked[0]
    default = next((r for r in report.ranked if r.name == "inferred" and r is not first), None)
    shown = [first] if default is None else [first, default]
    table = _table("statistic")
    table.add_column("printed" if report.target == "printed" else "target", justify="right")
    for reading in shown:
        table.add_column(reading.title, justify="right", overflow="fold")
        table.add_column("tolerances", justify="right")
    by_name = [{_plain(s): s for s in reading.statistics} for reading in shown]
    for statistic in first.statistics:
        found = [each[_plain(statistic)] for each in by_name]
        numbers = [text for s in found for text in (_number(s.ours), f"{s.deviation:.1f}")]
        table.add_row(_plain(statistic), _number(statistic.target), *numbers)
    return table


def _plain(statistic: StatisticResult) -> str:
    """The name without the variant, which may differ between readings."""
    parts = statistic.name.split("/")
    return f"{SHORT.get(parts[0], parts[0])} {parts[-1]}"


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name == "#" else "left")
    return table
