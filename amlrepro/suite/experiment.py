"""What a table or figure consists of: the schema of the files in `experiments/`, and their loader."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from amlrepro.config import Strict, load_yaml, nest, parse_strict
from amlrepro.data.specs import COMBINED, dataset_spec
from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.printed import PrintedTable, load_printed

OWN = "own"
AML = "aml"
Metric = Literal["miou", "oiou", "pr50", "pr70", "pr90"]


class RowSpec(Strict):
    """A row that is trained here. Its key is the printed table's row key.

    preset: `baseline` (no masking), `aml` (the AML preset of the command, `inferred` by default), or a preset's own
    name. train: `own` (one run for each column's data set) or a data set's name, `combined` included. set: dotted
    configuration keys. label: what the row is called where the printed label does not say it.
    """

    model: str = "caris"
    preset: str = "baseline"
    train: str = OWN
    set: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None


class Block(Strict):
    """One block of a table. Columns are those of the printed table; rows that are not listed are shown as printed."""

    id: str
    title: str
    printed: str
    metric: Metric
    rows: dict[str, RowSpec]

    def table(self) -> PrintedTable:
        """The printed table this block reproduces."""
        return load_printed(self.printed)


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
    """One file of `experiments/`. `comment` is the file's header: what it shows, what it costs, what to expect."""

    id: str
    title: str
    blocks: list[Block]
    checks: dict[str, Check] = Field(default_factory=dict)
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
        for key, row in block.rows.items():
            table.row(key)
            nest(row.set)
            if row.train not in (OWN, COMBINED):
                dataset_spec(row.train)
    for check in experiment.checks.values():
        rows = experiment.block(check.block).rows
        if check.row not in rows:
            raise unknown_name("row", check.row, rows, f"{path}: checks")
