"""Comparisons that are the very same numbers, as on a schedule so short that printed epochs coincide, count once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_store import make_plan
from scipy import stats

from amlrepro.config import dump_config
from amlrepro.files import write_text
from amlrepro.suite.store import Store
from amlrepro.verdicts.arms import Arms
from amlrepro.verdicts.budget.gather import gather
from amlrepro.verdicts.claims import load_claims
from amlrepro.verdicts.evaluate import evaluate_claims

# Losses after epochs 1 and 2, by seed: AML is below in the first and above in the second.
CARIS = ((1.00, 0.50), (1.04, 0.53), (0.97, 0.48))
AML = ((0.90, 0.80), (0.93, 0.84), (0.88, 0.79))


def test_27_epochs_on_a_schedule_of_two_are_two_comparisons(tmp_path: Path) -> None:
    """T14-B: each of the 27 printed epochs of 50 is epoch 1 or 2 of 2. What fails does so in one of two comparisons:
    p is twice that of Student's test of the second epoch, not 27 times."""
    store, plan = Store(tmp_path, "smoke"), make_plan("smoke", (0, 1, 2), ("table14",))
    for run in plan.runs.values():
        folder, losses = store.run(run.run_id), AML if run.config.strategy == "aml" else CARIS
        write_text(folder.config, dump_config(run.config))
        folder.write_state("done", epoch=run.until)
        rows = [{"kind": "epoch", "epoch": k, "loss": x} for k, x in enumerate(losses[run.config.seed], 1)]
        write_text(folder.history, "".join(json.dumps(row) + "\n" for row in rows))
    (claim,) = (claim for claim in load_claims() if claim.id == "T14-B")
    (verdict,) = evaluate_claims(store, plan, [claim]).verdicts
    assert len(claim.pairs) == 27
    assert [pair.first.column for pair in verdict.pairs] == [
        "ep1",
        "ep39",
    ]  # round(39 * 2 / 50) is 2, round(37 ...) is 1
    assert verdict.repeated == 25
    second = stats.ttest_ind([x[1] for x in AML], [x[1] for x in CARIS])
    assert verdict.p == pytest.approx(2 * float(second.pvalue), rel=1e-9)
    assert "Of 27 comparisons 2 differ here; the others are the same numbers again, and count once." in verdict.text
    (goal,) = gather(store, plan, [claim]).goals
    assert len(goal.comparisons) == 2


def test_on_the_schedule_of_the_paper_all_are_different() -> None:
    """50 epochs: nothing coincides, whatever the claim."""
    plan = make_plan("paper", (0,), ("table10", "table14"))
    claims = [claim for claim in load_claims() if set(claim.experiments) <= {"table10", "table14"}]
    arms = Arms(Store(Path("/nowhere"), "paper"), plan)
    assert {claim.id for claim in claims} >= {"T14-B", "T10-equal-time"}
    assert all(arms.comparisons(claim) == claim.pairs for claim in claims)
