"""When a suite stops spending on a claim: by hand, by simulation, and from a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_store import finish_run, make_plan, make_records, write_records

from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store
from amlrepro.verdicts.budget.stopping import FUTILE, Stopping, last_chance, later_seeds, settle
from amlrepro.verdicts.claims import Claim, Pair, parse_ref
from amlrepro.verdicts.verdict import PairResult

REF = parse_ref("table2/oiou/caris_aml/refcoco+.val")


def pair(estimate: float, sigma: float = 0.45, printed: float | None = 1.83, nu: int = 4) -> PairResult:
    return PairResult(REF, REF, (0.0,) * 3, (0.0,) * 3, printed, estimate, sigma=sigma, nu=nu)


def test_seeds_after_the_first_three_wait() -> None:
    assert later_seeds((4, 0, 2, 1, 3)) == (3, 4)
    assert later_seeds((0, 1, 2)) == ()


def test_a_tiny_noise_far_from_both_bounds_is_open_and_a_huge_one_is_futile() -> None:
    """Half an interval at the last look is 2.75 sqrt(2/5) s (t at nu 8, 2.5 %): 0.8 for s 0.45, so that an estimate of
    0.9 may still come out above 0 and below d/2; with s 4.5 it is 7.8, ten times the distance."""
    assert last_chance([pair(0.9)], "effect") > 0.3
    assert last_chance([pair(0.9, sigma=4.5)], "effect") < FUTILE


def test_the_chance_by_simulation() -> None:
    """s 0.9, estimate 0.9, d 1.83: two more seeds an arm under the truth that is best for a decision, 200,000 times."""
    s, estimate, printed, t = 0.9, 0.9, 1.83, 2.7515
    random = np.random.default_rng(0)
    half = t * s * (2 / 5) ** 0.5
    won, lost = [], []
    for truth in (0.0, estimate, printed):
        new = truth + s * (2 / 2) ** 0.5 * random.standard_normal(200_000)
        last = (3 * estimate + 2 * new) / 5
        won.append(np.mean(last - half > 0))
        lost.append(np.mean(last + half < printed / 2))
    assert last_chance([pair(estimate, s)], "effect") == pytest.approx(max(won) + max(lost), abs=0.005)


def test_every_pair_must_be_won() -> None:
    clear, hopeless = pair(5.0, printed=None), pair(0.0, sigma=4.5, printed=None)
    assert last_chance([clear], "all_splits") == pytest.approx(1.0)
    assert last_chance([clear, hopeless], "all_splits") < FUTILE
    assert last_chance([PairResult(REF, REF)], "effect") == 1.0  # nothing is known: nothing is given up


def test_an_equivalence_inside_a_wide_noise_is_futile() -> None:
    assert last_chance([pair(0.0, sigma=0.1)], "equivalence", 0.5) > 0.9
    assert last_chance([pair(0.0, sigma=2.0)], "equivalence", 0.5) < FUTILE


def claim(row: str = "caris_aml", second: str = "caris", name: str = "C") -> Claim:
    cells = Pair(first=f"table2/oiou/{row}/refcoco+.val", second=f"table2/oiou/{second}/refcoco+.val")
    return Claim(id=name, where="here", says="it is better", kind="effect", family="f", pairs=[cells])


def fill(store: Store, plan: Plan, qualities: dict[str, list[float]]) -> None:
    """Finish the first three seeds of CARIS, CARIS+AML and of DETRIS's two, with these qualities by seed."""
    for run in plan.runs.values():
        key = f"{run.config.model.name}{'+' if run.config.strategy == 'aml' else ''}"
        if run.config.seed > 2 or key not in qualities:
            continue
        finish_run(store, run)
        for evaluation in run.evals:
            write_records(store, run, evaluation, make_records(qualities[key][run.config.seed], 300, 60, seed=1))


def settled(store: Store, plan: Plan, claims: list[Claim], patch: pytest.MonkeyPatch) -> Stopping:
    """`settle` with a claims file of these."""
    patch.setattr("amlrepro.verdicts.evaluate.load_claims", lambda: tuple(claims))
    return settle(store, plan, claims)


def run_seeds(plan: Plan, ids: set[str]) -> set[tuple[str, str, int]]:
    return {(plan.runs[i].config.model.name, plan.runs[i].config.strategy, plan.runs[i].config.seed) for i in ids}


def test_runs_of_decided_claims_are_left_out_and_shared_ones_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CARIS+AML is 10 points above CARIS in all three seeds: decided. DETRIS has not run: its claim, and all that
    serves it, goes on."""
    plan, store = make_plan("paper", (0, 1, 2, 3, 4), ("table2",)), Store(tmp_path, "paper")
    fill(store, plan, {"caris": [0.60, 0.601, 0.599], "caris+": [0.70, 0.701, 0.699]})
    claims = [claim(), claim("detris_aml", "detris", "D")]
    stopping = settled(store, plan, claims, monkeypatch)
    assert stopping.settled["C"].decided
    assert stopping.open == ("D",)
    assert run_seeds(plan, set(stopping.skipped)) == {("caris", s, n) for s in ("plain", "aml") for n in (3, 4)}
    assert set(stopping.skipped.values()) == {"C decided at 3 seeds"}
    shared = settled(store, plan, [*claims, claim("caris_aml", "detris", "E")], monkeypatch)
    assert run_seeds(plan, set(shared.skipped)) == {("caris", "plain", 3), ("caris", "plain", 4)}


def test_a_claim_without_its_first_look_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two seeds of one arm: a run failed, say."""
    plan, store = make_plan("paper", (0, 1, 2, 3, 4), ("table2",)), Store(tmp_path, "paper")
    fill(store, plan, {"caris": [0.60, 0.601, 0.599], "caris+": [0.70, 0.701, 0.699]})
    gone = next(r for r in plan.runs.values() if (r.config.strategy, r.config.seed) == ("aml", 1))
    for evaluation in gone.evals:
        store.run(gone.run_id).eval_records(evaluation.eval_id).unlink(missing_ok=True)
    assert settled(store, plan, [claim()], monkeypatch).skipped == {}


def test_a_hopeless_claim_is_given_up_with_its_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that differ by 20 points, arms that do not."""
    plan, store = make_plan("paper", (0, 1, 2, 3, 4), ("table2",)), Store(tmp_path, "paper")
    fill(store, plan, {"caris": [0.40, 0.60, 0.80], "caris+": [0.41, 0.61, 0.81]})
    stopping = settled(store, plan, [claim()], monkeypatch)
    assert not stopping.settled["C"].decided
    assert (stopping.settled["C"].chance or 0) < FUTILE
    assert len(stopping.skipped) == 4
