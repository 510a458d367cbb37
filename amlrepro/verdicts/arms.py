"""The two sides of a comparison from the store, and the recipes that tell how much trainings differ by themselves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amlrepro.suite.cells import CellReader, CellResult
from amlrepro.suite.plan import AnyRequest, Cell, HistoryRequest, Plan, ProbeRequest, Request
from amlrepro.suite.store import Store
from amlrepro.verdicts.claims import CellRef, Claim, Pair
from amlrepro.verdicts.noise import Noise, pool

Seeds = tuple[tuple[int, float], ...]
Group = Hashable  # what is measured, of weights trained on what: values of one group have one variance


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    cell: of the plan. constant: a cited number, which nobody runs. seeds: (seed, value), by seed. recipe: what was
    trained, without the seed. group: what its noise is pooled with. result: everything known of the cell.
    """

    ref: CellRef
    cell: Cell
    constant: float | None
    seeds: Seeds
    recipe: Hashable
    group: Group
    result: CellResult

    def first(self, look: int) -> list[float]:
        """The values of the first `look` seeds."""
        return [value for _, value in self.seeds[:look]]


@dataclass(frozen=True)
class NoiseGroup:
    """The pooled noise of one metric, split and training data, for people. noise: of all seeds there are."""

    metric: str
    where: str
    train: str
    noise: Noise


class Arms:
    """Reads cells of a plan as arms, and pools their noise over every recipe that the plan knows."""

    @classmethod
    def of(cls, store: Store, plan: Plan) -> Arms:
        """The arms that everybody has who asks the same snapshot of a store for this plan's."""
        return store.remembered(("arms", id(plan)), lambda: cls(store, plan))

    def __init__(self, store: Store, plan: Plan) -> None:
        self._plan = plan
        self._cells = {CellRef(c.experiment, c.block, c.row, c.column): c for c in plan.cells}
        self._readers = {e.id: CellReader.of(store, plan, e.id) for e in plan.experiments}
        self._known: dict[CellRef, Arm] = {}
        self._recipes: dict[str, str] = {}  # by run: a hash, asked for by every cell
        self._groups: dict[Group, dict[Hashable, Seeds]] | None = None

    def has(self, ref: CellRef) -> bool:
        """Whether the plan holds the cell."""
        return ref in self._cells

    def arm(self, ref: CellRef) -> Arm:
        """A cell as one side of a comparison."""
        if ref not in self._known:
            cell = self._cells[ref]
            result = self._readers[ref.experiment].cell(ref.block, ref.row, ref.column)
            table = self._plan.block(ref.experiment, ref.block).table()  # a sweep of one's own is in no file
            constant = table.value(ref.row, ref.column) if table.row(ref.row).kind == "cited" else None
            seeds = tuple(sorted(result.seeds))
            self._known[ref] = Arm(ref, cell, constant, seeds, self._recipe(cell), self._group(cell), result)
        return self._known[ref]

    def comparisons(self, claim: Claim) -> list[Pair]:
        """The pairs of a claim, those that are the very same numbers once: on a schedule of two epochs most of fifty
        printed epochs are one and the same, and saying it 27 times proves no more than once."""
        found: dict[Hashable, Pair] = {}
        for pair in claim.pairs:
            found.setdefault(tuple(map(self._origin, pair.refs)), pair)
        return list(found.values())

    def noise(self, arms: Sequence[Arm], look: int) -> Noise:
        """The noise of a comparison at a look: pooled over the recipes of both arms' groups, each recipe once (the arms
        themselves first) and with no more than its first `look` seeds, so that later seeds do not change it."""
        recipes: dict[Hashable, Seeds] = {}
        for arm in arms:
            if arm.constant is None:
                recipes.setdefault(arm.recipe, arm.seeds)
        for group in dict.fromkeys(arm.group for arm in arms if arm.constant is None):
            for recipe, seeds in self._all_groups().get(group, {}).items():
                recipes.setdefault(recipe, seeds)
        return pool([[value for _, value in seeds[:look]] for seeds in recipes.values()])

    def groups(self) -> list[NoiseGroup]:
        """All groups in which a recipe has two seeds or more: evaluations by metric and data, then other values."""
        out = []
        for group, recipes in self._all_groups().items():
            noise = pool([[value for _, value in seeds] for seeds in recipes.values()])
            if noise.nu and isinstance(group, _Measured | _Probed):
                measured = isinstance(group, _Measured)
                out.append((not measured, NoiseGroup(group.name, group.where, group.train, noise)))
        return [each for _, each in sorted(out, key=lambda o: (o[0], o[1].metric, o[1].train, o[1].where))]

    def _all_groups(self) -> dict[Group, dict[Hashable, Seeds]]:
        if self._groups is None:
            self._groups = {}
            for ref, cell in self._cells.items():
                if cell.kind in ("measured", "probe", "history", "derived"):
                    arm = self.arm(ref)
                    if len(arm.seeds) > 1:
                        self._groups.setdefault(arm.group, {}).setdefault(arm.recipe, arm.seeds)
        return self._groups

    def _origin(self, ref: CellRef) -> Hashable:
        """What a cell's number comes from: equal for cells that are the same number. Of a constant, or where nothing is
        run, the cell itself."""
        cell = self._cells.get(ref)
        if cell is None or not (cell.requests or cell.parts):
            return ref
        if cell.kind == "derived":
            parts = (CellRef(cell.experiment, *part) for part in cell.parts)
            return (cell.op, *map(self._origin, parts))
        return cell.metric, cell.subset, cell.field, cell.requests

    def _parts(self, cell: Cell) -> Iterable[Cell]:
        return (self._cells[CellRef(cell.experiment, *part)] for part in cell.parts)

    def _recipe(self, cell: Cell) -> Hashable:
        if cell.kind == "derived":
            return (cell.op, *(self._recipe(part) for part in self._parts(cell)))
        return tuple(sorted({self._recipe_of(r.run_id) for r in cell.requests if r.run_id in self._plan.runs}))

    def _recipe_of(self, run_id: str) -> str:
        if run_id not in self._recipes:
            self._recipes[run_id] = self._plan.runs[run_id].config.recipe_id
        return self._recipes[run_id]

    def _group(self, cell: Cell) -> Group:
        if cell.kind == "derived":
            return (cell.op, *(self._group(part) for part in self._parts(cell)))
        return self._measurement(cell, cell.requests[0]) if cell.requests else None

    def _measurement(self, cell: Cell, request: AnyRequest) -> Group:
        run = self._plan.runs[request.run_id]
        train = run.config.data.train
        if isinstance(request, Request):
            evaluation = request.eval
            until = run.until if evaluation.checkpoint == "last" else None
            what = (*sorted(evaluation.model_dump(mode="json").items()), until)
            return _Measured(cell.metric, cell.subset, what, train, _place(evaluation.model_dump(), cell.subset))
        if isinstance(request, ProbeRequest):
            probe = request.probe.model_dump(mode="json", exclude={"pmme", "afm"})
            model = run.config.model.name if request.probe.kind == "cost" else ""
            where = _place(probe, "all") if request.probe.dataset else f"cost of {model}"
            return _Probed(str(cell.field), (*sorted(probe.items()), model), train, where)
        assert isinstance(request, HistoryRequest)
        return _Probed(request.field, (request.epoch,), train, f"epoch {request.epoch} of training")


@dataclass(frozen=True)
class _Measured:
    name: str
    subset: str
    what: tuple[Any, ...]
    train: str
    where: str


@dataclass(frozen=True)
class _Probed:
    name: str
    what: tuple[Any, ...]
    train: str
    where: str


def _place(values: Mapping[str, Any], subset: str) -> str:
    """`refcoco+ val, haze, epoch10, unseen pictures`."""
    checkpoint = values["checkpoint"] if values["checkpoint"] != "last" else None
    unseen = "unseen pictures" if subset == "unseen" else None
    parts = [f"{values['dataset']} {values['split']}", values.get("perturbation"), checkpoint, unseen]
    return ", ".join(str(part) for part in parts if part)
