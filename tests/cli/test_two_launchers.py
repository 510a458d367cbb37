"""Two commands at once on one store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_both_succeed_and_every_run_is_trained_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "amlrepro.cli.main", "run", "table5", "--profile", "smoke", "--device", "cpu"]
    command += ["--jobs", "1", "--store", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launchers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        for _ in range(2)
    ]
    said = [launcher.communicate(timeout=500)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], said
    runs = sorted((tmp_path / "smoke" / "runs").iterdir())
    assert len(runs) == 3
    for run in runs:
        (session,) = json.loads((run / "provenance.json").read_text())["sessions"]  # one process trained it
        rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        steps = [row["step"] for row in rows if row["kind"] == "step"]
        assert steps == list(range(1, session["to_step"] + 1))
        assert len([row for row in rows if row["kind"] == "epoch"]) == 2
        assert not list(run.glob(".*.tmp"))
    assert all("Table 5" in text for text in said)
