"""From a plan, its store and the claims to goals, prices and tiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from amlrepro.config import EvalConfig, ProbeConfig
from amlrepro.errors import UserError
from amlrepro.suite.cost import evaluation_hours, probe_hours, training_hours, validation_hours
from amlrepro.suite.plan import AnyRequest, Cell, HistoryRequest, Plan, PlannedRun, ProbeRequest, Request
from amlrepro.suite.rates import PlanCounts, Rates
from amlrepro.suite.store import Store
from amlrepro.verdicts import arms as read
from amlrepro.verdicts.budget.buying import Basket
from amlrepro.verdicts.budget.goals import Arm, Comparison, Goal, Need
from amlrepro.verdicts.claims import CellRef, Claim, printed_effect
from amlrepro.verdicts.families import Method, method_of
from amlrepro.verdicts.power import PRIOR_SIGMA


@dataclass(frozen=True)
class Gathered:
    """goals: claims that runs of the plan can decide; outside: the others, with the reason; sizes: of families."""

    goals: tuple[Goal, ...]
    outside: Mapping[str, str]
    sizes: Mapping[str, tuple[Method, int]]


def gather(store: Store, plan: Plan, claims: Sequence[Claim]) -> Gathered:
    """The claims as goals. What is assumed of the truth are the printed effects; of the noise what has been measured,
    else the prior, which is known of metrics in points only."""
    reader = read.Arms(store, plan)
    cells = {CellRef(c.experiment, c.block, c.row, c.column): c for c in plan.cells}
    goals, outside = [], {}
    ids: dict[Hashable, int] = {}
    for claim in claims:
        reason = _why_outside(reader, cells, claim, cited=not plan.watermark)
        if reason is None:
            goals.append(_goal(reader, plan, cells, claim, ids))
        else:
            outside[claim.id] = reason
    counts = Counter(claim.family for claim in claims)
    sizes = {family: (method_of(family), count) for family, count in counts.items()}
    return Gathered(tuple(goals), outside, sizes)


@dataclass(frozen=True)
class PlanCosts:
    """GPU hours of what a plan holds, by some rates (`buying.Costs`)."""

    plan: Plan
    rates: Rates

    def training(self, run_id: str, after: int, until: int) -> float:
        """Of training a run from one epoch to another, validation included."""
        key = run_id, after, until
        if key not in self._trainings:
            self._trainings[key] = self._training(self.plan.runs[run_id], after, until)
        return self._trainings[key]

    @cached_property
    def _trainings(self) -> dict[tuple[str, int, int], float]:
        return {}

    def _training(self, run: PlannedRun, after: int, until: int) -> float:
        rate, counts = self.rates.hours_per_sample, PlanCounts(self.plan, run.config)
        steps = training_hours(run.config, until - after, run.refs, rate)
        checks = [validation_hours(run.config, epoch, counts, rate) for epoch in (after, until)]
        return _known(steps, run) + _known(checks[1], run) - _known(checks[0], run)

    def result(self, run_id: str, what: str) -> float:
        """Of an evaluation or a probe."""
        return self._results[run_id, what]

    @cached_property
    def _results(self) -> dict[tuple[str, str], float]:
        out = {}
        for run in self.plan.runs.values():
            rate, counts = self.rates.hours_per_sample, PlanCounts(self.plan, run.config)
            for evaluation in run.evals:
                hours = evaluation_hours(run.config, [evaluation], counts, rate)
                out[run.run_id, f"evals/{evaluation.eval_id}"] = _known(hours, run)
            for probe in run.probes:
                out[run.run_id, f"probes/{probe.probe_id}"] = _known(probe_hours(run.config, [probe], rate), run)
        return out


def what_is_there(store: Store, plan: Plan) -> Basket:
    """What the store has of a plan: it costs nothing more."""
    basket = Basket()
    for run in plan.runs.values():
        missing = store.missing(run)
        basket.trained[run.run_id] = run.until - missing.epochs if missing.epochs else run.until
        if not store.run(run.run_id).config.exists():
            basket.trained[run.run_id] = 0
            continue
        evals = {f"evals/{e.eval_id}" for e in run.evals if e not in missing.evals}
        probes = {f"probes/{p.probe_id}" for p in run.probes if p not in missing.probes}
        basket.results |= {(run.run_id, what) for what in evals | probes}
    return basket


def headline_runs(plan: Plan) -> tuple[tuple[PlannedRun, ...], ...]:
    """R02 and R06, by seed in the plan's order: CARIS and CARIS+AML as the command reads it, on RefCOCO+. Empty where
    the plan has not both."""
    found: dict[tuple[str, int], PlannedRun] = {}
    for run in plan.runs.values():
        if (run.config.model.name, run.config.data.train) != ("caris", "refcoco+"):
            continue
        rows = {user.split("/")[2] for user in run.used_by if user.count("/") == 2}
        for row in ("caris", "caris_aml"):
            if row in rows and (row == "caris") == (run.config.strategy == "plain"):
                found.setdefault((row, run.config.seed), run)
    pairs = [tuple(found[row, seed] for row in ("caris", "caris_aml") if (row, seed) in found) for seed in plan.seeds]
    return tuple(pair for pair in pairs if len(pair) == 2)


def needs_of_run(run: PlannedRun, goals: Iterable[Goal]) -> tuple[Need, ...]:
    """A run to its end, and what claims ask of it."""
    asked = [need for goal in goals for arm in goal.arms for one in arm.needs for need in one]
    own = [need for need in asked if need.run_id == run.run_id]
    return tuple(dict.fromkeys([Need(run.run_id, run.until), *own]))


def needs_of_all(run: PlannedRun) -> tuple[Need, ...]:
    """A run to its end, and everything that is asked of it."""
    evals = [Need(run.run_id, epochs_for(run, e), f"evals/{e.eval_id}") for e in run.evals]
    probes = [Need(run.run_id, epochs_for(run, p), f"probes/{p.probe_id}") for p in run.probes]
    return Need(run.run_id, run.until), *evals, *probes


def _goal(reader: read.Arms, plan: Plan, cells: Mapping[CellRef, Cell], claim: Claim, ids: dict[Hashable, int]) -> Goal:
    comparisons = []
    for pair in reader.comparisons(claim):
        sides = [reader.arm(ref) for ref in pair.refs]
        arms = [None if side.constant is not None else _arm(side, plan, cells, ids) for side in sides]
        comparisons.append(Comparison(arms[0], arms[1], float(printed_effect(pair) or 0.0)))
    refs = [ref for pair in claim.pairs for ref in pair.refs]
    sigma, assumed = _sigma(reader, cells, [reader.arm(ref) for ref in refs])
    return Goal(claim.id, claim.family, claim.kind, tuple(comparisons), sigma, assumed, claim.margin)


def _sigma(reader: read.Arms, cells: Mapping[CellRef, Cell], sides: Sequence[read.Arm]) -> tuple[float | None, bool]:
    """The measured noise of what is compared, where there are degrees of freedom enough; else the prior, for metrics in
    points; and whether it is assumed. Seeds that all gave the same number (no mask met the strictest threshold, say)
    tell nothing of the noise: None, and not assumed."""
    noise = reader.noise([side for side in sides if side.constant is None], 10**6)
    if noise.known:
        return noise.sigma or None, False
    points = all(_in_points(side.cell, cells) for side in sides if side.constant is None)
    return (PRIOR_SIGMA if points else None), True


def _in_points(cell: Cell, cells: Mapping[CellRef, Cell]) -> bool:
    parts = [cells[CellRef(cell.experiment, *part)] for part in cell.parts]
    return cell.kind == "measured" or (cell.kind == "derived" and all(_in_points(part, cells) for part in parts))


def _arm(side: read.Arm, plan: Plan, cells: Mapping[CellRef, Cell], ids: dict[Hashable, int]) -> Arm:
    """ids: recipes and groups by number, since they are long and looked up often."""
    by_seed: dict[int, list[Need]] = {}
    for request in _requests(side.cell, cells):
        need = _need(plan.runs[request.run_id], request)
        by_seed.setdefault(plan.runs[request.run_id].config.seed, []).append(need)
    needs = tuple(tuple(dict.fromkeys(by_seed[seed])) for seed in plan.seeds if seed in by_seed)
    recipe, group = (ids.setdefault(each, len(ids)) for each in ((side.group, side.recipe), side.group))
    return Arm(recipe, group, needs)


def _requests(cell: Cell, cells: Mapping[CellRef, Cell]) -> list[AnyRequest]:
    """What a cell comes from; of a derived one, what its parts come from."""
    parts = [cells[CellRef(cell.experiment, *part)] for part in cell.parts]
    return [*cell.requests, *(request for part in parts for request in _requests(part, cells))]


def _need(run: PlannedRun, request: AnyRequest) -> Need:
    if isinstance(request, Request):
        return Need(run.run_id, epochs_for(run, request.eval), f"evals/{request.eval_id}")
    if isinstance(request, ProbeRequest):
        return Need(run.run_id, epochs_for(run, request.probe), f"probes/{request.probe_id}")
    assert isinstance(request, HistoryRequest)
    return Need(run.run_id, request.epoch)


def epochs_for(run: PlannedRun, wanted: EvalConfig | ProbeConfig) -> int:
    """How far a run is to be trained for an evaluation or a probe; time and memory are measured without training."""
    if isinstance(wanted, ProbeConfig) and wanted.kind == "cost":
        return 0
    return run.until if wanted.checkpoint == "last" else int(wanted.checkpoint.removeprefix("epoch"))


def _why_outside(reader: read.Arms, cells: Mapping[CellRef, Cell], claim: Claim, cited: bool) -> str | None:
    """Why no run of this plan decides a claim; None where some do. cited: whether printed numbers count, which are
    never set beside small models."""
    refs = [ref for pair in claim.pairs for ref in pair.refs]
    others = sorted({ref.experiment for ref in refs if not reader.has(ref)})
    if others:
        return f"needs {', '.join(others)}"
    for ref in refs:
        arm = reader.arm(ref)
        if arm.constant is not None and not cited:
            return f"{ref.row} is cited"
        if arm.constant is None and arm.cell.kind in ("unavailable", "printed"):
            return f"{ref}: {arm.cell.reason or 'not run here'}"
        if arm.constant is None and not _requests(arm.cell, cells):
            return f"{ref}: follows from the configuration, no run decides it"
    if any(printed_effect(pair) is None for pair in claim.pairs):
        return "nothing is printed to plan with"
    if all(reader.arm(ref).constant is not None for ref in refs):
        return "compares printed numbers only"
    return None


def _known(hours: float | None, run: PlannedRun) -> float:
    if hours is None:
        raise UserError(
            "nothing says what a training costs here",
            found=f"{run.config.model.name} of size {run.config.model.size}: the paper's rates are of other models",
            hint="train one first (amlris run table2, with the same --profile); its images/s then give the costs",
        )
    return hours
