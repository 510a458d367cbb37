"""`amlris` in a process of its own, on a store whose runs are really trained; and what their records say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

TIMEOUT = 540.0


def amlris(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command said that ended well; `folder` is where it was given."""
    values = {**os.environ, "OMP_NUM_THREADS": "1", "AMLRIS_CONFIG": str(folder / "none.yaml"), **environment}
    values.pop("AMLRIS_DATA", None)
    command = [sys.executable, "-c", "from amlrepro.cli.main import main; main()", *arguments]
    done = subprocess.run(command, cwd=folder, env=values, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def plan_of(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The runs of a plan, as `amlris plan --json` tells them."""
    return list(json.loads(amlris(folder, "plan", *arguments, "--json"))["runs"])


def overall_iou(run: Path, dataset: str, split: str, checkpoint: str) -> float:
    """oIoU in points, from the records: the sum of intersections over the sum of unions."""
    (path,) = (run / "evals").glob(f"{dataset}-{split}-{checkpoint}-*.parquet")
    table = pq.read_table(path, columns=["intersection", "union"]).to_pydict()
    return 100 * sum(table["intersection"]) / sum(table["union"])


def results(run: Path, kind: str, suffix: str) -> set[str]:
    """Names of a run's evaluations or probes."""
    return {path.stem for path in (run / kind).glob(f"*{suffix}")}


def cells(store: Path, experiment: str) -> dict[tuple[str, int], Any]:
    """The numbers of our lines in a written table of one block, by row and column."""
    (path,) = (store / "report").rglob(f"{experiment}.json")
    (block,) = json.loads(path.read_text())["blocks"]
    lines = [line for line in block["lines"] if line["kind"] == "here"]
    return {(line["row"], k): entry for line in lines for k, entry in enumerate(line["entries"])}


def chosen_file(path: Path, profile: str, runs: Sequence[dict[str, Any]], evaluation: str) -> None:
    """A choice of runs to their end, of each only the evaluations whose names begin so."""
    values = {
        run["run_id"]: {
            "until": run["until"],
            "evals": [name for name in run["evaluations"] if name.startswith(evaluation)],
            "probes": [],
        }
        for run in runs
    }
    path.write_text(json.dumps({"format": 1, "profile": profile, "preset": "inferred", "runs": values}))
