"""The paper's comparative statements (`experiments/paper/claims.yaml`): which cells each compares, and how."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from amlrepro.errors import UserError, unknown_name
from amlrepro.schema import Strict, load_yaml, parse_strict
from amlrepro.suite.experiment import Block, Experiment, load_experiment
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.printed import PrintedColumn, PrintedNumber

Kind = Literal["effect", "equivalence", "best_of", "all_splits"]
MARGIN = 0.5  # points within which two numbers count as equal, unless a claim fixes another


@dataclass(frozen=True)
class CellRef:
    """A cell of a shipped experiment, written `experiment/block/row/column`."""

    experiment: str
    block: str
    row: str
    column: str

    def __str__(self) -> str:
        return f"{self.experiment}/{self.block}/{self.row}/{self.column}"


class Pair(Strict):
    """Two cells; the statement is about the first against the second, in the direction that is better."""

    first: str
    second: str

    @property
    def refs(self) -> tuple[CellRef, CellRef]:
        """Both as references; raises `UserError` where one has not four parts."""
        return parse_ref(self.first), parse_ref(self.second)


class Claim(Strict):
    """One comparative statement.

    where: of the paper (section, table). says: the statement in our words. kind: `effect` (the first of one pair is
    better), `equivalence` (the two of one pair differ by less than `margin`), `best_of` (one cell, the first of every
    pair, is better than each second), `all_splits` (the first is better in every pair). family: claims that are judged
    together; `headline` by Holm, others by Benjamini-Hochberg. margin: of an equivalence, in the column's unit. size:
    whether sizes can be compared with printed ones. quoted: the effect as the text prints it, where it does. see: audit
    entries about it.
    """

    id: str
    where: str
    says: str
    kind: Kind
    family: str
    pairs: Annotated[list[Pair], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0)] | None = None
    size: bool = True
    quoted: float | None = None
    see: list[str] = Field(default_factory=list)

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments whose cells it needs."""
        return tuple(dict.fromkeys(ref.experiment for pair in self.pairs for ref in pair.refs))


def parse_ref(text: str) -> CellRef:
    """A reference from `experiment/block/row/column`; raises `UserError` where it has not four parts."""
    parts = text.split("/")
    if len(parts) != 4 or not all(parts):
        raise UserError("not a cell", found=text, expected="experiment/block/row/column")
    return CellRef(*parts)


def claims_path() -> Path:
    """Where the claims lie."""
    return experiments_folder() / "paper" / "claims.yaml"


def load_claims() -> tuple[Claim, ...]:
    """All claims in the file's order (read once). Raises `UserError` for typos, cells that do not exist, and shapes
    that do not fit the kind. None in a folder of experiments of one's own, which are not the paper's."""
    return _read(claims_path()) if claims_path().exists() else ()


def pick_claim(name: str) -> Claim:
    """The claim of that id; raises `UserError` with the nearest."""
    known = {claim.id: claim for claim in load_claims()}
    if name not in known:
        raise unknown_name("claim", name, known, claims_path())
    return known[name]


def find_cell(ref: CellRef) -> tuple[Experiment, Block, PrintedColumn]:
    """What a reference names; raises `UserError` with the nearest for names that do not exist."""
    experiment = _experiment(experiments_folder(), ref.experiment)
    block = experiment.block(ref.block)
    table = block.table()
    table.row(ref.row)
    return experiment, block, table.column(ref.column)


def printed_number(ref: CellRef) -> PrintedNumber | None:
    """What the paper prints in that cell, None for a dash or a cell of our own."""
    _, block, _ = find_cell(ref)
    return block.table().value(ref.row, ref.column)


def direction(ref: CellRef) -> float:
    """-1 where less is better in the cell's column, else 1."""
    return -1.0 if find_cell(ref)[2].better == "lower" else 1.0


def is_cited(ref: CellRef) -> bool:
    """Whether nobody runs the cell: a row of another paper, a constant."""
    _, block, _ = find_cell(ref)
    return block.table().row(ref.row).kind == "cited"


def printed_effect(pair: Pair) -> float | None:
    """Printed first less printed second, positive where the first is better; None where one is not printed."""
    first, second = (printed_number(ref) for ref in pair.refs)
    if first is None or second is None:
        return None
    return direction(pair.refs[0]) * (float(first) - float(second))


@cache
def _experiment(folder: Path, name: str) -> Experiment:
    return load_experiment(name)


@cache
def _read(path: Path) -> tuple[Claim, ...]:
    entries = load_yaml(path)
    if not isinstance(entries, list):
        raise UserError("the claims are a list", where=path, found=type(entries).__name__)
    claims = tuple(parse_strict(Claim, entry, f"{path}: claim {k + 1}") for k, entry in enumerate(entries))
    seen: set[str] = set()
    for claim in claims:
        place = f"{path}: {claim.id}"
        if claim.id in seen:
            raise UserError("two claims have one id", where=place)
        seen.add(claim.id)
        _verify(claim, place)
    return claims


def _verify(claim: Claim, place: str) -> None:
    single = claim.kind in ("effect", "equivalence")
    if single != (len(claim.pairs) == 1):
        wanted = "one pair" if single else "two pairs or more"
        raise UserError(f"{claim.kind} takes {wanted}", where=place, found=len(claim.pairs))
    if (claim.kind == "equivalence") != (claim.margin is not None):
        raise UserError("an equivalence has a margin, other kinds have none", where=place, found=claim.margin)
    if claim.kind == "best_of" and len({pair.first for pair in claim.pairs}) > 1:
        raise UserError("best_of is about one cell: the first of every pair", where=place)
    for pair in claim.pairs:
        for ref in pair.refs:
            try:
                find_cell(ref)
            except UserError as error:
                raise UserError(error.what, where=f"{place}: {ref}", found=error.found, hint=error.hint) from None
