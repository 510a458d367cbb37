"""One training on two nodes under SLURM, a process on each, and its evaluation in a smaller job that waits for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from slurm_jobs import PATIENCE, smoke_tasks, until

from amlrepro.launch.cluster import ClusterSettings
from amlrepro.launch.executors import Executor
from amlrepro.launch.local import LocalExecutor
from amlrepro.launch.slots import Slot
from amlrepro.launch.slurm import SlurmExecutor
from amlrepro.launch.submissions import read_submissions

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


def finish(executor: Executor) -> None:
    until(lambda: executor.step() or executor.finished, 2 * PATIENCE)
    assert [outcome.reason for outcome in executor.outcomes] == [None]


def test_two_nodes_train_together(cluster: Path, tmp_path: Path) -> None:
    (together,) = smoke_tasks(tmp_path / "two", 1, "exec.processes=2", "exec.device=cpu")
    (alone,) = smoke_tasks(tmp_path / "one", 1, "exec.device=cpu")
    assert together.run_id == alone.run_id
    executor = SlurmExecutor([together], ClusterSettings(time="30", processes_per_node=1), tmp_path / "two" / "smoke")
    executor.step()
    finish(LocalExecutor([alone], [Slot("only", {"OMP_NUM_THREADS": "1"})]))
    finish(executor)
    training, evaluation = read_submissions(tmp_path / "two" / "smoke" / "slurm")
    assert (training.kind, evaluation.kind) == ("training", "evaluation")
    script = (tmp_path / "two" / "smoke" / "slurm" / f"{training.job_id}_submission.sh").read_text()
    assert "--nodes=2" in script
    assert "--ntasks-per-node=1" in script

    run = together.job.run
    started = json.loads(run.provenance.read_text())
    assert "world_size" in json.dumps(started)
    assert f"SLURM job {training.job_id} on" in run.log.read_text()
    assert f"SLURM job {evaluation.job_id} on" in run.log.read_text()
    ours, expected = load_file(run.checkpoint("last")), load_file(alone.job.run.checkpoint("last"))
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    (planned,) = together.planned.evals
    records = [pq.read_table(each.eval_records(planned.eval_id)) for each in (run, alone.job.run)]
    assert records[0].num_rows == records[1].num_rows
