"""`--executor slurm` on a machine without SLURM, and its options."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro.cli.main import main

SMOKE = ("run", "table1", "--profile", "smoke")


@pytest.fixture(autouse=True)
def without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, no settings of the user's, and no programs."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return work


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_dry_run_shows_each_array_and_what_is_missing(
    without_slurm: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cluster.yaml").write_text("partition: gpu\nsetup: [module load cuda]\njobs_at_once: 3\n")
    options = ["--cluster", str(tmp_path / "cluster.yaml"), "--time", "2:00:00", "--set", "exec.processes=2"]
    assert call(*SMOKE, "--executor", "slurm", "--dry-run", *options) == 0
    said = capsys.readouterr().out
    assert "20 jobs in 2 calls of sbatch" in said  # ten runs, each trained by two processes, then evaluated
    training, evaluation = [line for line in said.splitlines() if "sbatch --array" in line]
    for option in (
        "--array=0-9%3",
        "--partition=gpu",
        "--time=120",
        "--gres=gpu:2",
        "--ntasks-per-node=2",
        "--requeue",
    ):
        assert option in training
    assert "--gres=gpu:1" in evaluation
    assert "each waits for its run's training" in said
    assert "setup: module load cuda" in said
    for name in ("sbatch", "srun", "scontrol", "sacct"):
        assert f"{name} (" in said
    assert list(without_slurm.iterdir()) == []


def test_the_paper_s_bill_stands_beside_its_array(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    root = str(shared / "data" / "refcoco_mini")
    arguments = ["run", "table1", "--data-root", root, "--executor", "slurm", "--dry-run", "--device", "cpu"]
    assert call(*arguments) == 0
    said = capsys.readouterr().out
    assert "A800 hours" in said.partition("SLURM:")[2]
    assert "--gres" not in said


def test_without_dry_run_nothing_is_written(without_slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMOKE, "--executor", "slurm") == 2
    said = capsys.readouterr().err
    assert "SLURM is missing on this machine" in said
    assert "sbatch (submits jobs)" in said
    assert "--executor local" in said
    assert list(without_slurm.iterdir()) == []


def test_the_user_s_own_file_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cluster.yaml").write_text("account: lab\n")
    (tmp_path / "config.yaml").write_text(f"cluster: {tmp_path / 'cluster.yaml'}\n")
    assert call(*SMOKE, "--executor", "slurm", "--dry-run", "--qos", "low") == 0
    said = capsys.readouterr().out
    assert "--account=lab" in said
    assert "--qos=low" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--no-wait"], ["an option of SLURM", "--no-wait"]),
        (["--cluster", "x.yaml"], ["an option of SLURM", "--cluster"]),
        (["--executor", "slurm", "--cluster", "x.yaml"], ["no such file", "x.yaml"]),
        (["--executor", "slurm", "--time", "soon"], ["not a time limit", "--time"]),
        (["--executor", "slurm", "--gres", "gpu:"], ["not a gres", "--gres"]),
    ],
)
def test_mistakes(arguments: list[str], says: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMOKE, *arguments) == 2
    said = capsys.readouterr().err
    for text in says:
        assert text in said
