"""A suite under SLURM by looks: what seeds can decide no more is never submitted, and that is told."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from real_runs import amlris
from until_decided import chance_by_simulation, choose

from amlrepro.launch.submissions import read_submissions

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


def test_further_seeds_are_submitted_only_where_they_may_decide(cluster: Path, tmp_path: Path) -> None:
    """Seven runs in the first array, and nothing more by a command that does not wait. One that does finds them, and
    when all have ended submits one more, CARIS's seed 3, which no claim is about. DETRIS's two never reach SLURM."""
    command = ("run", *choose(tmp_path), "--until-decided", "--executor", "slurm", "--gres", "none")
    store = tmp_path / "results" / "smoke"
    assert "3 runs wait for the first look" in amlris(tmp_path, *command, "--no-wait")
    amlris(tmp_path, *command, "--no-wait")
    (alone,) = read_submissions(store / "slurm")
    said = amlris(tmp_path, *command)
    first, second = read_submissions(store / "slurm")
    assert first == alone
    assert len(first.runs) == 7
    assert not any(name.endswith("-s3") for name in first.runs)
    (name,) = second.runs
    assert name.startswith("caris_plain")
    assert name.endswith("-s3")

    asked = ["sacct", "-n", "-X", "-P", "-o", "JobName,Submit,End,State", "-j", f"{first.job_id},{second.job_id}"]
    rows = [line.split("|") for line in subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()]
    assert [row[3] for row in rows] == ["COMPLETED"] * 8
    submitted = sorted(row[1] for row in rows)
    assert submitted[-1] >= sorted(row[2] for row in rows)[-2]  # ISO times: the second look waits for all of the first

    stopped = json.loads((store / "stopped.json").read_text())
    runs = {run.name: run for run in (store / "runs").iterdir()}
    assert set(runs) == {*first.runs, name}
    assert sorted(run[:10] + run[-3:] for run in stopped) == ["detris_aml-s3", "detris_pla-s3"]
    assert re.search(r"until decided: 2 runs are not started, which saves [0-9.]+ CPU hours", said)
    assert "3 of 4 seeds (not started: T2-B-val undecided" in said
    assert chance_by_simulation(runs) < 0.05
