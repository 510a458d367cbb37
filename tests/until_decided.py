"""A small suite for `--until-decided`: DETRIS and DETRIS+AML of Table 2 on RefCOCO+ val, four seeds, and CARIS beside
them; and an independent answer to whether five seeds can decide the claim about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from real_runs import chosen_file, overall_iou, plan_of
from scipy import stats

PRINTED = 66.20 - 65.39  # Table 2, RefCOCO+ val
LEVEL = 0.025  # half of 5 %: there are two looks


def choose(folder: Path) -> tuple[str, ...]:
    """Write the choice; what to type after `amlris run`."""
    tables = ("table2", "--profile", "smoke", "--seeds", "0", "1", "2", "3")
    wanted = [
        run
        for run in plan_of(folder, *tables)
        if run["run_id"].startswith("detris") or (run["run_id"].startswith("caris_plain") and run["seed"] in (0, 3))
    ]
    assert len(wanted) == 10
    chosen_file(folder / "chosen.json", "smoke", wanted, "refcoco+-val")
    return *tables, "--chosen", "chosen.json"


def chance_by_simulation(runs: Mapping[str, Path], draws: int = 20_000) -> float:
    """How often five seeds decide T2-B-val either way, given the three there are: two further seeds an arm are drawn
    with the noise of those, around the likeliest to help of three truths: the estimate, the printed effect, none."""
    arms = [
        np.array([overall_iou(run, "refcoco+", "val", "last") for name, run in sorted(runs.items()) if mark in name])
        for mark in ("detris_aml", "detris_plain")
    ]
    assert [len(arm) for arm in arms] == [3, 3]
    sigma = float(np.sqrt(np.mean([arm.var(ddof=1) for arm in arms])))
    estimate = float(arms[0].mean() - arms[1].mean())
    half = float(stats.t.ppf(1 - LEVEL / 2, 8)) * sigma * np.sqrt(2 / 5)
    random = np.random.default_rng(0)
    chances = []
    for truth in (estimate, PRINTED, 0.0):
        drawn = [random.normal(truth, sigma, (draws, 2)), random.normal(0.0, sigma, (draws, 2))]
        second = drawn[0].mean(1) - drawn[1].mean(1)
        final = (3 * estimate + 2 * second) / 5
        chances.append(float(np.mean((final > half) | (final < PRINTED / 2 - half))))
    return max(chances)
