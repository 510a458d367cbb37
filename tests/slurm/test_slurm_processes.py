"""One training on two nodes under SLURM, a process on each, and its evaluation in a smaller job that waits for it."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_two_nodes_train_as_two_processes_of_one_machine_do(cluster: Path, tmp_path: Path) -> None:
    changes = ("exec.processes=2", "exec.device=cpu", "exec.deterministic=true")
    (apart,), (beside,) = smoke_tasks(tmp_path / "slurm", 1, *changes), smoke_tasks(tmp_path / "local", 1, *changes)
    folder = tmp_path / "slurm" / "smoke"
    executor = SlurmExecutor([apart], ClusterSettings(time="30", processes_per_node=1), folder)
    executor.step()
    threads = {"OMP_NUM_THREADS": "1"}
    finish(LocalExecutor([beside], [Slot("first", threads), Slot("second", threads)]))
    finish(executor)

    training, evaluation = read_submissions(folder / "slurm")
    assert (training.kind, evaluation.kind) == ("training", "evaluation")
    script = (folder / "slurm" / f"{training.job_id}_submission.sh").read_text()
    for option in ("--nodes=2", "--ntasks-per-node=1", "--gres"):
        assert (option in script) == (option != "--gres")
    later = (folder / "slurm" / f"{evaluation.job_id}_submission.sh").read_text()
    assert f"--dependency=afterok:{training.job_id}" in later
    said = apart.job.run.log.read_text()
    assert said.index(f"SLURM job {training.job_id} on") < said.index(f"SLURM job {evaluation.job_id} on")

    for task in (apart, beside):
        (session,) = json.loads(task.job.run.provenance.read_text())["sessions"]
        assert '"world_size": 2' in json.dumps(session)
    ours, expected = (load_file(task.job.run.checkpoint("last")) for task in (apart, beside))
    assert {name: each.tobytes() for name, each in ours.items()} == {n: e.tobytes() for n, e in expected.items()}
    (scored,) = apart.planned.evals
    records = [pq.read_table(task.job.run.eval_records(scored.eval_id)) for task in (apart, beside)]
    assert records[0].equals(records[1])
