"""A table through SLURM is the table of the local executor, cell for cell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slurm_jobs import calls, wrapped

from amlrepro.launch.submissions import read_submissions
from amlrepro.suite.overview import look
from amlrepro.suite.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


def amlris(store: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from amlrepro.cli.main import main; main()", "run", "table1"]
    return subprocess.Popen(
        [*command, "--profile", "smoke", "--store", str(store), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def cells(store: Path) -> list[Any]:
    """All cells of the written table, without the names of folders."""
    (path,) = (store / "smoke" / "report").rglob("table1.json")
    return json.loads(path.read_text().replace(str(store), "STORE"))


SETTINGS = """
time: 30:00
partition: main
account: test
qos: normal
constraint: fake
memory: 500M
options: {comment: a test}
"""


def test_the_same_table_as_the_local_executor(cluster: Path, tmp_path: Path) -> None:
    """Submitted by a command that returns at once; another one finds the jobs in the store, waits and reports."""
    counted = wrapped(tmp_path / "bin", "sbatch", "sacct", "squeue")
    (tmp_path / "cluster.yaml").write_text(SETTINGS)
    arguments = ["--executor", "slurm", "--cluster", str(tmp_path / "cluster.yaml"), "--gres", "gpu:1"]
    submitted = amlris(tmp_path / "slurm", *arguments, "--no-wait", **counted)
    said, _ = submitted.communicate(timeout=540)
    assert submitted.returncode == 0, said
    (submission,) = read_submissions(tmp_path / "slurm" / "smoke" / "slurm")
    assert len(set(submission.runs)) == 10
    assert f"submitted as {submission.job_id}" in said
    assert "Table 1" not in said
    overview = look(Store(tmp_path / "slurm", "smoke"))
    assert {run.run_id for run in overview.runs} == set(submission.runs)
    assert all(run.state in ("queued", "running", "done") for run in overview.runs)

    by_slurm = amlris(tmp_path / "slurm", *arguments, **counted)
    local = amlris(tmp_path / "local", "--jobs", "1")
    said, _ = by_slurm.communicate(timeout=540)
    assert by_slurm.returncode == 0, said
    said_locally, _ = local.communicate(timeout=540)
    assert local.returncode == 0, said_locally
    assert cells(tmp_path / "slurm") == cells(tmp_path / "local")
    assert "submitted as" not in said
    assert calls(tmp_path / "bin", "sbatch") == 1
    assert calls(tmp_path / "bin", "squeue") == 0
    assert calls(tmp_path / "bin", "sacct") <= 8  # one a minute
    log = next((tmp_path / "slurm" / "smoke" / "runs").iterdir()) / "log.txt"
    assert f"SLURM job {submission.job_id}_" in log.read_text()
    asked = ["sacct", "-n", "-X", "-P", "-o", "Account,QOS,Constraints,Partition", "-j", submission.job_id]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert set(told.split()) == {"test|normal|fake|main"}
