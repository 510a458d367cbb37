"""A model from an installed package is trained, masked, evaluated and reported without a change of this one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "plugin_model"
INSTALL = ("--no-deps", "--no-build-isolation", "--quiet", "--target")


def install(source: Path, target: Path) -> None:
    """Install a package into a folder, without a network."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--offline", "--python", sys.executable] if uv.exists() else []
    command = command or [sys.executable, "-m", "pip", "install", "--no-index"]
    done = subprocess.run([*command, *INSTALL, str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_example_fills_its_row(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    shutil.copytree(EXAMPLE, tmp_path / "source")  # building leaves files behind
    install(tmp_path / "source", tmp_path / "site")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)]),
        "AMLRIS_EXPERIMENTS": str(EXAMPLE / "experiments"),
        "AMLRIS_CONFIG": str(tmp_path / "no-settings.yaml"),
        "OMP_NUM_THREADS": "1",
    }

    def amlris(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "amlrepro.cli.main", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = amlris("run", "wordpatch", "--profile", "smoke", "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ours: WordPatch+AML" in done.stdout

    table = (tmp_path / "results/smoke/report/wordpatch/wordpatch.csv").read_text().splitlines()
    rows = [row for row in csv.DictReader(line for line in table if not line.startswith("#")) if row["ours"]]
    assert {row["row"] for row in rows} == {"wordpatch", "wordpatch_aml"}
    assert {row["column"] for row in rows} == {"refcoco.val", "refcoco.testA", "refcoco.testB", "avg"}
    assert all(0 <= float(row["ours"]) <= 100 for row in rows)

    runs = {path.name.split("_")[1]: path for path in (tmp_path / "results/smoke/runs").iterdir()}
    assert set(runs) == {"plain", "aml"}
    history = [json.loads(line) for line in (runs["aml"] / "history.jsonl").read_text().splitlines()]
    assert any("weak_blocks" in json.dumps(row) for row in history)

    weights = runs["aml"] / "checkpoints" / "last.safetensors"
    assert amlris("weights", "check", weights, "--model", "wordpatch").returncode == 0
    (data,) = (tmp_path / "results" / "data").glob("synth-*")
    options = ("--model", "wordpatch", "--data", "refcoco:val", "--data-root", data, "--device", "cpu", "--json")
    scored = json.loads(amlris("evaluate", weights, *options).stdout)
    own = next(row for row in rows if (row["row"], row["column"]) == ("wordpatch_aml", "refcoco.val"))
    assert scored["summary"]["metrics"]["oiou"]["value"] == pytest.approx(float(own["ours"]), abs=0.01)
