"""From a store and a plan to files: tables in all formats, figures, one page and one document of everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amlrepro.files import write_json, write_text
from amlrepro.report.document import FigurePage, report_document
from amlrepro.report.export import csv_text, json_value
from amlrepro.report.figures.build import ReportFigure, report_figures
from amlrepro.report.html.content import Page
from amlrepro.report.html.page import write_html
from amlrepro.report.html.pages import pages_beside
from amlrepro.report.html.parts import PageFigure, Verdict
from amlrepro.report.latex import document, fragment
from amlrepro.report.markdown import markdown
from amlrepro.report.pdf import compile_pdf
from amlrepro.report.tabledata import TableData, build_table
from amlrepro.suite.experiment import experiment_names
from amlrepro.suite.plan import Plan
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.cells import Basis, CellVerdict, judge
from amlrepro.verdicts.claims import CellRef


@dataclass
class ReportResult:
    """What a report made: tables as data, figures, and the files written, in order. page: the HTML page; folder: where
    all lies."""

    folder: Path
    page: Path
    tables: list[TableData] = field(default_factory=list)
    figures: list[ReportFigure] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def checks_failed(self) -> list[str]:
        """Names of checks that were made and did not pass."""
        return [check.name for table in self.tables for check in table.checks if check.passed is False]


def report_folder(store: Store) -> Path:
    """Where reports of a store go unless told otherwise."""
    return store.folder / "report"


def report(
    store: Store, plan: Plan, out_dir: Path | None = None, *, pdf: bool = False, basis: Basis | None = None
) -> ReportResult:
    """Write everything of the plan's experiments that the store can tell; nothing is trained or evaluated.

    `<id>/` of each experiment: `<id>.tex` (for `\\input`), `<id>_document.tex` (compiles by itself), `<id>.md`,
    `<id>.csv`, `<id>.json`, and its figures as PDF, PNG and SVG. `index.html`: all of it with the runs behind; of a
    single experiment in its folder, of some in `selection/`, so that the page of the whole stays. `report.tex`: the
    whole as one document, `report.pdf` with `pdf`. Pages on claims, and of the whole on the audit, readings, harness
    and budget, lie beside the page. basis: what verdicts rest on, the plan alone by default. Raises `UserError` when a
    file cannot be written or pdflatex is missing or fails (the other files are there then).
    """
    out = out_dir or report_folder(store)
    snapshot = Snapshot(store)
    whole = {experiment.id for experiment in plan.experiments} >= {*experiment_names()}
    result = ReportResult(out, _page_folder(plan, out, whole) / "index.html")
    judgement = judge(snapshot, plan, basis)
    documents = []
    for experiment in plan.experiments:
        table = build_table(snapshot, plan, experiment, judgement.cells, judgement.claims.harness)
        result.tables.append(table)
        result.files += _table_files(table, out / experiment.id)
        documents.append(out / experiment.id / f"{experiment.id}_document.tex")
        cells = {block.id: block.cells for block in table.blocks}
        figures = report_figures(snapshot, plan, experiment.id, cells, out / experiment.id)
        result.figures += figures
        result.files += [path for figure in figures for path in figure.files]
    _write_pages(snapshot, plan, result, judgement.cells, pages_beside(snapshot, judgement, whole=whole))
    snapshot.keep()
    if whole:
        documents = [out / "report.tex"]
        places = {table.id: table.printed_in for table in result.tables}
        pages = [_in_document(figure, out, places[figure.experiment]) for figure in result.figures]
        write_text(documents[0], report_document(result.tables, pages))
        result.files += documents
    if pdf:
        result.files += [compile_pdf(path) for path in documents]
    return result


def _write_pages(
    store: Store, plan: Plan, result: ReportResult, judged: Mapping[CellRef, CellVerdict], beside: Sequence[Page]
) -> None:
    """The page of tables and figures, and those beside it."""
    verdicts = {
        (ref.experiment, ref.block, ref.row, ref.column): Verdict(each.short, each.text)
        for ref, each in judged.items()
        if each.label
    }
    figures = [_on_page(figure) for figure in result.figures]
    folder = result.page.parent
    write_html(store, plan, result.tables, figures, folder, verdicts=verdicts, beside=beside)
    result.files += [result.page, *(folder / page.file for page in beside)]


def _page_folder(plan: Plan, out: Path, whole: bool) -> Path:
    if whole:
        return out
    return out / (plan.experiments[0].id if len(plan.experiments) == 1 else "selection")


def _table_files(table: TableData, folder: Path) -> list[Path]:
    texts = {
        f"{table.id}.tex": fragment(table),
        f"{table.id}_document.tex": document(table, table.id),
        f"{table.id}.md": markdown(table),
        f"{table.id}.csv": csv_text(table),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    write_json(folder / f"{table.id}.json", json_value(table))
    return [*(folder / name for name in texts), folder / f"{table.id}.json"]


def _on_page(figure: ReportFigure) -> PageFigure:
    return PageFigure(
        figure.experiment,
        figure.id,
        figure.title,
        figure.alt,
        figure.files,
        figure.caption,
        figure.reason,
        figure.run_ids,
    )


def _in_document(figure: ReportFigure, out: Path, place: str) -> FigurePage:
    pdf = next((path for path in figure.files if path.suffix == ".pdf"), None)
    path = None if pdf is None else pdf.relative_to(out).as_posix()
    return FigurePage(figure.experiment, place, f"{figure.title}. {figure.caption}".strip(), path, reason=figure.reason)
