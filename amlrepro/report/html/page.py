"""Everything there is to see, on one page that needs no network: `index.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amlrepro.files import write_text
from amlrepro.report.html.anchors import anchor, column_titles, row_labels, run_anchor, uses
from amlrepro.report.html.content import Page
from amlrepro.report.html.overview import overview
from amlrepro.report.html.parts import PageFigure, Verdicts
from amlrepro.report.html.render import Links, render_page, render_template
from amlrepro.report.html.runs import run_views, time_text
from amlrepro.report.html.tables import BlockView, Cards, block_view
from amlrepro.report.tabledata import TableData
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store

INDEX = "index.html"


@dataclass(frozen=True)
class Section:
    """One experiment: its table, if it has one, its figures, and what its file says of it."""

    id: str
    heading: str
    title: str
    about: str
    table: TableData | None
    blocks: tuple[BlockView, ...]
    figures: tuple[PageFigure, ...]

    @property
    def leads_with_figures(self) -> bool:
        """Whether the figure is what the paper shows, and the table its numbers."""
        return self.heading.startswith("Figure") or not self.blocks


def write_html(
    store: Store,
    plan: Plan,
    tables: Sequence[TableData],
    figures: Sequence[PageFigure],
    out: Path,
    *,
    verdicts: Verdicts | None = None,
    beside: Sequence[Page] = (),
) -> Path:
    """Write `out/index.html` and return its path: every table, figure and run, with nothing to be fetched.

    verdicts: on cells, by (experiment, block, row key, column key). beside: pages that are written beside it, each
    with links to all others. The same store and plan give the same bytes. Raises `UserError` when a file cannot be
    written or a figure has no picture.
    """
    path = out / INDEX
    links = [(INDEX, "Tables and figures"), *((page.file, page.title) for page in beside)] if beside else []
    stamp = next((table.stamp for table in tables if table.stamp), None)
    write_text(path, render(store, plan, tables, figures, verdicts or {}, links))
    for page in beside:
        write_text(out / page.file, render_page(page, plan, stamp, links))
    return path


def render(
    store: Store,
    plan: Plan,
    tables: Sequence[TableData],
    figures: Sequence[PageFigure],
    verdicts: Verdicts,
    links: Links = (),
) -> str:
    """The text of `index.html`."""
    cards = Cards()
    sections = _sections(plan, tables, figures, verdicts, cards)
    runs = run_views(store, plan, uses(tables))
    ends = [run.last_end for run in runs if run.last_end is not None]
    values = {
        "sections": sections,
        "runs": runs,
        "overview": overview(store, plan, tables, figures, runs),
        "newest": time_text(max(ends, default=None)),
        "verdicts": _verdict_rows(tables, verdicts),
        "cards": cards.values,
        "anchor": anchor,
        "run_anchor": run_anchor,
    }
    stamp = next((table.stamp for table in tables if table.stamp), None)
    return render_template("index.html.j2", plan, stamp, INDEX, links, values)


def _sections(
    plan: Plan, tables: Sequence[TableData], figures: Sequence[PageFigure], verdicts: Verdicts, cards: Cards
) -> list[Section]:
    """One section an experiment, in the plan's order; figures stand with the experiment they belong to."""
    by_id = {table.id: table for table in tables}
    out = []
    for experiment in plan.experiments:
        table = by_id.get(experiment.id)
        drawn = tuple(figure for figure in figures if figure.experiment == experiment.id)
        if table is None and not drawn:
            continue
        out.append(
            Section(
                id=anchor(experiment.id),
                heading=table.printed_in if table and table.printed_in else experiment.id,
                title=experiment.title,
                about=experiment.comment,
                table=table,
                blocks=tuple(block_view(table, block, verdicts, cards) for block in table.blocks) if table else (),
                figures=drawn,
            )
        )
    return out


def _verdict_rows(tables: Sequence[TableData], verdicts: Verdicts) -> list[dict[str, str]]:
    """All verdicts on cells of these tables, in the page's order."""
    out = []
    for table in tables:
        for block in table.blocks:
            labels, headers = row_labels(block), column_titles(block)
            for row, column in block.cells:
                verdict = verdicts.get((table.id, block.id, row, column))
                if verdict is not None:
                    place = anchor("cell", table.id, block.id, row, column)
                    cell = f"{block.title}: {labels[row]}, {headers[column]}"
                    words = {"label": verdict.label, "text": verdict.text}
                    out.append({"place": place, "table": table.printed_in or table.id, "cell": cell, **words})
    return out
