"""What a table or figure consists of: the schema of the files in `experiments/`, and their loader."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from amlrepro.aml.presets import PRESETS
from amlrepro.config import parse_config
from amlrepro.data.specs import COMBINED, check_split, dataset_spec, is_multi_target
from amlrepro.errors import UserError, unknown_name
from amlrepro.perturb.specs import check_perturbation
from amlrepro.schema import Strict, load_yaml, nest, parse_strict
from amlrepro.suite.cellspec import METRIC_NAMES, CellSpec, Metric, MultiTarget, Operand, SingleTarget
from amlrepro.suite.figures import FigureSpec
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.layout import Layout
from amlrepro.suite.printed import PrintedColumn, PrintedTable, load_printed

OWN = "own"
AML = "aml"


class RowSpec(CellSpec):
    """A row that is trained here, or computed from others (`derive`). Its key is the printed table's row key.

    preset: `baseline` (no masking), `aml` (the AML preset of the command, `inferred` by default), or a preset's own
    name. train: `own` (one run for each column's data set) or a data set's name, `combined` included. set: dotted
    configuration keys. scaled: the same for numbers of the paper's size, which a smaller profile multiplies
    (`ProfileSpec.scale`). label: what the row is called where the printed label does not say it. cells: what single
    cells take other than the row, by column key. Cells for which the paper prints a dash are not run.
    """

    model: str = "caris"
    preset: str = "baseline"
    train: str = OWN
    set: dict[str, Any] = Field(default_factory=dict)
    scaled: dict[str, float] = Field(default_factory=dict)
    label: str | None = None
    cells: dict[str, CellSpec] = Field(default_factory=dict)


class Block(Strict):
    """One block of a table: a printed table (`printed`), or rows and columns of our own (`layout`).

    Rows of the printed table that are not listed are shown as printed. metric, split: of columns for which the paper
    names none. columns: by column key, what their cells take. transpose: epochs down, methods across.
    """

    id: str
    title: str
    printed: str | None = None
    layout: Layout | None = None
    metric: Metric = "oiou"
    split: str | None = None
    rows: dict[str, RowSpec]
    columns: dict[str, CellSpec] = Field(default_factory=dict)
    transpose: bool = False

    def table(self) -> PrintedTable:
        """The printed table this block reproduces, or its own layout with no number in it."""
        if self.layout is not None:
            return self.layout.table(self.id, self.title)
        return load_printed(str(self.printed))

    def cell(self, row: RowSpec, column: PrintedColumn) -> CellSpec:
        """Where the number of a cell comes from: its own entry, over its row, over its column, over what is printed."""
        printed = CellSpec(
            checkpoint="last",
            dataset=column.dataset,
            split=column.split or self.split,
            metric=METRIC_NAMES.get(column.metric, self.metric),
            subset="all",
        )
        spec = self.columns.get(column.key, CellSpec()).over(printed)
        spec = row.cells.get(column.key, CellSpec()).over(row).over(spec)
        if column.derived and spec.derive is None and spec.probe is None and spec.formula is None:
            parts = [Operand(column=c.key) for c in self.table().columns if not c.derived]
            spec = CellSpec.model_validate(
                {"derive": {"op": "mean", "of": [part.model_dump() for part in parts]}}
            ).over(spec)
        return spec

    def wanted(self) -> Iterator[tuple[str, RowSpec, PrintedColumn, CellSpec]]:
        """Row key, row, column and source of the cells made here. A dash in print is no cell of ours."""
        table = self.table()
        for printed in table.rows:
            for column in table.columns:
                if printed.key in self.rows and (table.own or printed.values[column.key] is not None):
                    row = self.rows[printed.key]
                    yield printed.key, row, column, self.cell(row, column)


class LanguageCheck(Strict):
    """Does the model use language? Scores a split with own sentences and with sentences about other objects (EvalConfig
    text `other`); the difference of `metric` must reach `at_least` points."""

    kind: Literal["language_use"]
    title: str
    block: str
    row: str
    dataset: str
    split: str
    metric: Metric = "oiou"
    at_least: float


class MaskingCheck(Strict):
    """Does the masking act? The share of weak blocks that the rows' training histories report, in percent."""

    kind: Literal["masking"]
    title: str
    block: str
    row: str
    at_least: float
    at_most: float


Check = Annotated[LanguageCheck | MaskingCheck, Field(discriminator="kind")]


class Experiment(Strict):
    """One file of `experiments/`. `comment` is the file's header: what it shows, what it costs, what to expect.

    notes: sentences under the table: readings adopted where the paper leaves several open.
    """

    id: str
    title: str
    blocks: list[Block] = Field(default_factory=list)
    checks: dict[str, Check] = Field(default_factory=dict)
    figures: list[FigureSpec] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    comment: str = ""

    def block(self, block_id: str) -> Block:
        """The block of that id; raises `UserError` with the nearest."""
        for block in self.blocks:
            if block.id == block_id:
                return block
        raise unknown_name("block", block_id, [b.id for b in self.blocks], self.id)


def experiment_names() -> list[str]:
    """Ids of all experiments in reading order: tables, then figures, by number."""
    names = (path.stem for path in experiments_folder().glob("*.yaml"))
    return sorted(names, key=_reading_order)


def _reading_order(name: str) -> tuple[bool, list[str | int]]:
    """Tables before figures, numbers as numbers."""
    parts = re.split(r"(\d+)", name)
    return name.startswith("figure"), [int(part) if part.isdecimal() else part for part in parts]


def load_experiment(name: str) -> Experiment:
    """Read and check `experiments/<name>.yaml`. Raises `UserError` for a typo, an unknown key, row or data set."""
    path = experiments_folder() / f"{name}.yaml"
    if not re.fullmatch(r"\w+", name) or not path.is_file():
        raise unknown_name("experiment", name, experiment_names())
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise UserError("an experiment is a mapping", where=path, found=type(values).__name__)
    experiment = parse_strict(Experiment, {**values, "comment": _header(path)}, path)
    if experiment.id != path.stem:
        raise UserError("an experiment's id is its file's name", where=path, found=experiment.id, expected=path.stem)
    try:
        verify(experiment, path)
    except UserError as error:
        place = error.where if str(path) in str(error.where) else f"{path}: {error.where}" if error.where else path
        raise UserError(error.what, where=place, found=error.found, expected=error.expected, hint=error.hint) from None
    return experiment


def load_experiments(names: list[str]) -> list[Experiment]:
    """The named experiments, each once, in order; `all` stands for every one."""
    wanted = [each for name in names for each in (experiment_names() if name == "all" else [name])]
    return [load_experiment(name) for name in dict.fromkeys(wanted)]


def load_shipped(without: Collection[str] = ()) -> list[Experiment]:
    """All other experiments that load, for what they ask of runs that others share."""
    out = []
    for name in experiment_names():
        if name in without:
            continue
        with contextlib.suppress(UserError):
            out.append(load_experiment(name))
    return out


def _header(path: Path) -> str:
    lines = []
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def verify(experiment: Experiment, where: object) -> None:
    """Raise `UserError` for names that do not exist and metrics that do not fit their data."""
    for block in experiment.blocks:
        if (block.printed is None) == (block.layout is None):
            raise UserError("a block has either `printed` or `layout`", where=f"{where}: block {block.id}")
        table = block.table()
        for key in block.columns:
            table.column(key)
        for key, row in block.rows.items():
            table.row(key)
            _verify_row(row, f"block {block.id}, row {key}")
            for column_key in row.cells:
                table.column(column_key)
        for key, _, column, cell in block.wanted():
            _verify_cell(experiment, block, key, column, cell, where)
    for check in experiment.checks.values():
        _require_row(experiment.block(check.block), check.row, f"{where}: checks")
    for figure in experiment.figures:
        if figure.kind != "gallery":
            keys = figure.rows
            if figure.kind == "radar" and figure.groups:
                keys = [f"{group}__{row}" for group in figure.groups for row in figure.rows]
            for key in keys:
                experiment.block(figure.block).table().row(key)


def _verify_row(row: RowSpec, where: str) -> None:
    """A row's preset, settings and training set exist."""
    if row.preset not in (AML, *PRESETS):
        raise unknown_name("preset", row.preset, (AML, *PRESETS), where)
    if row.set:
        parse_config(nest(row.set), where)
    if row.train not in (OWN, COMBINED):
        dataset_spec(row.train)


def _require_row(block: Block, row: str, where: object) -> None:
    if row not in block.rows:
        raise unknown_name("row", row, block.rows, where)


def _verify_cell(
    experiment: Experiment, block: Block, row: str, column: PrintedColumn, cell: CellSpec, where: object
) -> None:
    place = f"{where}: block {block.id}, row {row}, column {column.key}"
    if cell.derive is not None:
        for part in cell.derive.of:
            source = experiment.block(part.block or block.id)
            source.table().column(part.column or column.key)
            _require_row(source, part.row or row, place)
    elif cell.probe is not None:
        if cell.field is None:
            raise UserError("a probe gives several values", where=place, expected="`field`, the one that is shown")
    elif cell.history is None and cell.formula is None:
        if block.layout is not None and column.metric not in METRIC_NAMES:
            raise unknown_name("metric", column.metric, METRIC_NAMES, place)
        _verify_metric(cell, place)


def _verify_metric(cell: CellSpec, place: str) -> None:
    """Where a sentence may name several objects or none, masks are scored by GRES's rules, and only there."""
    if cell.dataset is None or cell.split is None:
        raise UserError("an evaluation needs a data set and a split", where=place, expected="`dataset` and `split`")
    check_split(cell.dataset, cell.split)
    check_perturbation(cell.perturbation, cell.severity)
    if is_multi_target(cell.dataset) != (cell.metric in get_args(MultiTarget)):
        kind = "several objects or none" if is_multi_target(cell.dataset) else "one object"
        raise UserError(
            f"{cell.metric} is no metric of {dataset_spec(cell.dataset).title}",
            where=place,
            found=f"sentences that name {kind}",
            expected=", ".join(get_args(MultiTarget if is_multi_target(cell.dataset) else SingleTarget)),
        )
