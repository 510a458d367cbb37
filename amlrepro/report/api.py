"""From a store and a plan to files: every experiment's table in all formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from amlrepro.files import write_json, write_text
from amlrepro.report.export import csv_text, json_value
from amlrepro.report.latex import document, fragment
from amlrepro.report.markdown import markdown
from amlrepro.report.pdf import compile_pdf
from amlrepro.report.tabledata import TableData, build_table
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store


@dataclass
class ReportResult:
    """What a report made: the tables as data, and the files written, in order."""

    tables: list[TableData] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def checks_failed(self) -> list[str]:
        """Names of checks that were made and did not pass."""
        return [check.name for table in self.tables for check in table.checks if check.passed is False]


def report_folder(store: Store) -> Path:
    """Where reports of a store go unless told otherwise."""
    return store.folder / "report"


def report(store: Store, plan: Plan, out_dir: Path | None = None, *, pdf: bool = False) -> ReportResult:
    """Write the table of each of the plan's experiments under `out_dir/<experiment>/`.

    `<id>.tex` (for `\\input`), `<id>_document.tex` (compiles by itself), `<id>.md`, `<id>.csv`, `<id>.json`, and with
    `pdf` `<id>_document.pdf`. Works on whatever is in the store; nothing is trained or evaluated. Raises `UserError`
    when a file cannot be written or pdflatex is missing or fails (the other files are there then).
    """
    result = ReportResult()
    documents = []
    for experiment in plan.experiments:
        table = build_table(store, plan, experiment)
        folder = (out_dir or report_folder(store)) / experiment.id
        texts = {
            f"{table.id}.tex": fragment(table),
            f"{table.id}_document.tex": document(table, table.id),
            f"{table.id}.md": markdown(table),
            f"{table.id}.csv": csv_text(table),
        }
        for name, text in texts.items():
            write_text(folder / name, text)
        write_json(folder / f"{table.id}.json", json_value(table))
        result.tables.append(table)
        result.files += [*(folder / name for name in texts), folder / f"{table.id}.json"]
        documents.append(folder / f"{table.id}_document.tex")
    if pdf:
        result.files += [compile_pdf(path) for path in documents]
    return result
