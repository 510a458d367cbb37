"""What a table or figure consists of: the schema of the files in `experiments/`, and their loader."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from amlrepro.data.specs import COMBINED, dataset_spec, is_multi_target
from amlrepro.errors import UserError, unknown_name
from amlrepro.schema import Strict, load_yaml, nest, parse_strict
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.printed import PrintedColumn, PrintedTable, load_printed

OWN = "own"
AML = "aml"
SingleTarget = Literal["miou", "oiou", "pr50", "pr70", "pr90"]
MultiTarget = Literal["ciou", "giou", "n_acc", "t_acc", "gpr70", "gpr80", "gpr90"]
Metric = SingleTarget | MultiTarget
METRIC_NAMES: dict[str, Metric] = {name: name for name in (*get_args(SingleTarget), *get_args(MultiTarget))}
# `last`, or the end of an epoch of the model's own schedule; in a shorter one the same share of the way.
Checkpoint = Annotated[str, Field(pattern=r"^(last|epoch[1-9]\d*)$")]


class RowSpec(Strict):
    """A row that is trained here. Its key is the printed table's row key.

    preset: `baseline` (no masking), `aml` (the AML preset of the command, `inferred` by default), or a preset's own
    own name. train: `own` (one run for each column's data set) or a data set's name, `combined` included. set: dotted
    configuration keys. label: what the row is called where the printed label does not say it. checkpoint: whose
    weights are scored. Cells for which the paper prints a dash are not run.
    """

    model: str = "caris"
    preset: str = "baseline"
    train: str = OWN
    set: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    checkpoint: Checkpoint = "last"


class ColumnSpec(Strict):
    """What a column takes other than its row says: the checkpoint."""

    checkpoint: Checkpoint


class Block(Strict):
    """One block of a table. Columns are those of the printed table; rows that are not listed are shown as printed.

    metric, split: of columns for which the paper names none. columns: by the printed table's column key.
    """

    id: str
    title: str
    printed: str
    metric: Metric
    split: str | None = None
    rows: dict[str, RowSpec]
    columns: dict[str, ColumnSpec] = Field(default_factory=dict)

    def table(self) -> PrintedTable:
        """The printed table this block reproduces."""
        return load_printed(self.printed)

    def metric_of(self, column: PrintedColumn) -> Metric:
        """The metric of a column's cells."""
        return METRIC_NAMES.get(column.metric, self.metric)

    def checkpoint_of(self, row: RowSpec, column: PrintedColumn) -> str:
        """The checkpoint that a cell is scored with."""
        own = self.columns.get(column.key)
        return own.checkpoint if own else row.checkpoint


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
    blocks: list[Block]
    checks: dict[str, Check] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    comment: str = ""

    def block(self, block_id: str) -> Block:
        """The block of that id; raises `UserError` with the nearest."""
        for block in self.blocks:
            if block.id == block_id:
                return block
        raise unknown_name("block", block_id, [b.id for b in self.blocks], self.id)


def experiment_names() -> list[str]:
    """Ids of all experiments, sorted as a reader would (`table2` before `table10`)."""
    return sorted((path.stem for path in experiments_folder().glob("*.yaml")), key=lambda name: (len(name), name))


def load_experiment(name: str) -> Experiment:
    """Read and check `experiments/<name>.yaml`. Raises `UserError` for a typo, an unknown key, row or data set."""
    path = experiments_folder() / f"{name}.yaml"
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise UserError("an experiment is a mapping", where=path, found=type(values).__name__)
    experiment = parse_strict(Experiment, {**values, "comment": _header(path)}, path)
    _verify(experiment, path)
    return experiment


def load_experiments(names: list[str]) -> list[Experiment]:
    """The named experiments, each once, in order; `all` stands for every one."""
    wanted = [each for name in names for each in (experiment_names() if name == "all" else [name])]
    return [load_experiment(name) for name in dict.fromkeys(wanted)]


def load_shipped() -> list[Experiment]:
    """All experiments that load, for what they ask of runs that others share."""
    out = []
    for name in experiment_names():
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


def _verify(experiment: Experiment, path: Path) -> None:
    if experiment.id != path.stem:
        raise UserError("an experiment's id is its file's name", where=path, found=experiment.id, expected=path.stem)
    for block in experiment.blocks:
        table = block.table()
        for key in block.columns:
            table.column(key)
        for key, row in block.rows.items():
            table.row(key)
            nest(row.set)
            if row.train not in (OWN, COMBINED):
                dataset_spec(row.train)
        for column in table.columns:
            _verify_metric(block, column, path)
    for check in experiment.checks.values():
        rows = experiment.block(check.block).rows
        if check.row not in rows:
            raise unknown_name("row", check.row, rows, f"{path}: checks")


def _verify_metric(block: Block, column: PrintedColumn, path: Path) -> None:
    """Where a sentence may name several objects or none, masks are scored by GRES's rules, and only there."""
    if column.dataset is None or column.derived:
        return
    metric = block.metric_of(column)
    if is_multi_target(column.dataset) != (metric in get_args(MultiTarget)):
        kind = "several objects or none" if is_multi_target(column.dataset) else "one object"
        raise UserError(
            f"{metric} is no metric of {dataset_spec(column.dataset).title}",
            where=f"{path}: block {block.id}, column {column.key}",
            found=f"sentences that name {kind}",
            expected=", ".join(get_args(MultiTarget if is_multi_target(column.dataset) else SingleTarget)),
        )
