"""Commands as typed: what they print, what they write, and what they say of mistakes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from amlrepro import cli
from amlrepro.cli.main import COMMANDS, main
from amlrepro.config import RunConfig, dump_config
from amlrepro.files import write_text
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.store import Store

OWN_TABLE = """# Table 2 without DETRIS.
id: own
title: "AML on CARIS"
blocks:
  - id: oiou
    title: "RefCOCO+ oIoU"
    printed: table2
    metric: oiou
    rows:
      caris: {preset: baseline}
      caris_aml: {preset: aml}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no settings of the user's."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    return work


def call(*arguments: str) -> int:
    """Exit code of `amlris ...`."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_help_and_plan_load_neither_torch_nor_pandas(elsewhere: Path) -> None:
    code = """
import sys
from amlrepro import cli
from amlrepro.cli.main import COMMANDS, main
for arguments in (["--help"], ["run", "--help"], ["plan", "table1", "--profile", "demo"], ["status"]):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, end.code
heavy = {"torch", "pandas", "numpy", "transformers", "timm", "torchvision", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=elsewhere, timeout=60)
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "table1"], ["no data root", "--data-root", "AMLRIS_DATA", "--profile demo"]),
        (["plan", "table1", "--profile", "pilot"], ["no data root", "--assume-data"]),
        (["run", "tabel1", "--profile", "demo"], ["unknown experiment 'tabel1'", "'table1'"]),
        (["run", "table1", "--profile", "dmeo"], ["unknown profile 'dmeo'", "'demo'"]),
        (["run", "table1", "--profile", "demo", "--set", "afm.tua=0.3"], ["unknown key 'afm.tua'", "'afm.tau'"]),
        (["run", "table1", "--profile", "demo", "--set", "afm.tau=high"], ["afm.tau", "'high'"]),
        (["run", "table1", "--profile", "demo", "--set", "train.horizon=2.5"], ["train.horizon", "2.5"]),
        (["run", "table1", "--profile", "demo", "--set", "model.options.layrs=2"], ["layrs", "layers"]),
        (["run", "table1", "--profile", "demo", "--preset", "infered"], ["unknown preset", "'inferred'"]),
        (["run", "table1", "--profile", "demo", "--seeds", "x"], ["seeds are whole numbers"]),
        (["run", "table1", "--profile", "demo", "--device", "gpu"], ["--device", "auto, cpu, cuda"]),
        (["run", "table1", "--profile", "demo", "--partition", "main"], ["an option of SLURM", "--executor slurm"]),
        (["run", "table1", "--profile", "demo", "--executor", "loacl"], ["unknown executor", "'local'"]),
        (["run", "table1", "--profile", "demo", "--data-root", "nowhere"], ["not a folder", "nowhere"]),
        (["run", "table1", "--data-root", "nowhere"], ["not a folder", "nowhere"]),
        (["status", "--profile", "papr"], ["unknown profile 'papr'", "'paper'"]),
        (["logs", "nothing"], ["unknown run 'nothing'"]),
    ],
)
def test_mistakes_exit_with_2_and_one_message_and_write_nothing(
    arguments: list[str], says: list[str], elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    output = capsys.readouterr()
    assert output.err.count("error:") == 1
    assert "Traceback" not in output.err
    for text in says:
        assert text in output.err
    assert list(elsewhere.iterdir()) == []


def test_a_variable_or_a_settings_file_cannot_turn_the_demo_into_real_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AMLRIS_DATA", str(tmp_path))
    assert call("plan", "table1", "--profile", "demo") == 0
    assert capsys.readouterr().out.startswith("profile demo (small models, synthetic data) | synthetic data")


def test_first_line_says_profile_data_and_preset(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shared / "data" / "refcoco_mini"
    arguments = ["--data-root", str(root), "--preset", "literal", "--seeds", "0", "1"]
    assert call("run", "table1", "--profile", "demo", "--dry-run", *arguments) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"profile demo | real data in {root} | AML preset literal | seeds 0, 1"


def test_plan_of_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "table1", "--assume-data") == 0
    text = capsys.readouterr().out
    assert "10 unique trainings" in text
    assert "for 18 rows that are trained" in text
    # 25.2 + 25.1 + 25.1 + 75.4 + 29.5 + 29.5 + 29.4 + 88.4 + 22.6 + 22.5, unrounded
    assert "372.9 A800 hours" in text
    assert "provisional" in text


def test_plan_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's whole bill: 30 trainings, 939 A800 hours; scoring beside it."""
    assert call("plan", "all", "--assume-data") == 0
    text = capsys.readouterr().out
    assert "30 unique trainings" in text
    assert "938.7 A800 hours" in text
    for words in ("for evaluations", "for validation while training", "table15", "Robustness"):
        assert words in text
    assert "Shows" not in text  # what each is about in its own words is for few of them


def test_plan_of_many_seeds_is_free_of_torch_and_one_line_a_recipe(elsewhere: Path) -> None:
    code = """
import sys
from amlrepro import cli
from amlrepro.cli.main import COMMANDS, main
try:
    main(["plan", "all", "--assume-data", "--seeds", *map(str, range(17))])
except SystemExit:
    pass
heavy = {"torch", "pandas", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=elsewhere, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "510 unique trainings" in done.stdout
    names = [line.split()[0] for line in done.stdout.splitlines() if "..16}" in line]
    assert len({name.rpartition("-s")[0] for name in names}) == len(names) == 30  # for some, seed 0 is probed more


def test_seeds_of_which_something_else_is_to_be_said_have_a_line_of_their_own(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", "table5", "--profile", "smoke", "--seeds", "0", "1", "2", "3", "--json") == 0
    names = [run["run_id"] for run in json.loads(capsys.readouterr().out)["runs"]]
    first = names[0].removesuffix("-s0")
    run = Store(elsewhere / "results", "smoke").run(f"{first}-s1")
    write_text(run.config, "{}")
    run.write_state("preempted", epoch=1)
    assert call("plan", "table5", "--profile", "smoke", "--seeds", "0", "1", "2", "3") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(first)]
    assert [line.split()[0] for line in lines] == [f"{first}-s{{0,2,3}}", f"{first}-s1"]
    assert "preempted, epoch 1" in lines[1]


def test_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "table1", "--profile", "demo", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["runs"]) == 10
    assert plan["gpu_hours"] is None
    assert plan["evaluations"] == sum(len(run["evaluations"]) for run in plan["runs"]) == 33 + 6
    assert {run["state"] for run in plan["runs"]} == {"absent"}


def test_status_and_logs(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = RunConfig().run_id
    run = Store(elsewhere / "results", "paper").run(run_id)
    write_text(run.config, dump_config(RunConfig()))
    run.write_state("failed", epoch=7, horizon=50, reason="image missing\n  where: a.jpg")
    write_text(run.log, "first\nsecond\nthird\n")
    assert call("status", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["run_id"], row["state"], row["epoch"], row["stale"]) == (run_id, "failed", 7, False)
    assert call("status") == 0
    assert "image missing" in capsys.readouterr().out
    assert call("logs", run_id[:12], "--lines", "2") == 0
    assert capsys.readouterr().out == "second\nthird\n"


def test_a_full_disk(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("amlrepro.data.synth.ensure_synth", lambda *_, **__: None)
    monkeypatch.setattr(os, "replace", full)
    assert call("run", "table1", "--profile", "smoke") == 2
    error = capsys.readouterr().err
    assert error.count("error:") == 1
    assert "the disk is full" in error
    assert not [path for path in elsewhere.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_new_table_is_one_file_and_runs_from_end_to_end(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Trains, evaluates, reports; then does nothing but report; then evaluates only what was lost."""
    folder = tmp_path / "experiments"
    shutil.copytree(experiments_folder(), folder)
    (folder / "own.yaml").write_text(OWN_TABLE, "utf-8")
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(folder))
    command = ["run", "own", "--profile", "smoke", "--device", "cpu", "--jobs", "2"]
    assert call(*command) == 0
    first = capfd.readouterr().out
    assert "2 of 2 runs to do, 2 at a time" in first
    runs = elsewhere / "results" / "smoke" / "runs"
    weights = {path: path.stat().st_mtime_ns for path in runs.glob("*/checkpoints/last.safetensors")}
    assert len(weights) == 2
    assert len(list(runs.glob("*/evals/*.parquet"))) == 2 * 3

    assert call(*command) == 0
    second = capfd.readouterr().out
    assert "to do" not in second
    assert table_of(second) == table_of(first)

    lost = next(iter(runs.glob("*/evals/*testA*.parquet")))
    lost.unlink()
    assert call(*command) == 0
    assert "1 of 2 runs to do, 1 at a time" in capfd.readouterr().out
    assert lost.exists()
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


@pytest.mark.slow
def test_early_and_late_weights_come_from_one_run(elsewhere: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Table 3 stops its runs early; Table 11 goes on with ReLA's, and Table 3 is then there without training."""
    command = ["--profile", "smoke", "--device", "cpu", "--jobs", "2"]
    assert call("run", "table3", *command) == 0
    assert "4 of 4 runs to do" in capfd.readouterr().out
    states = elsewhere.glob("results/smoke/runs/*/state.json")
    assert {json.loads(path.read_text("utf-8"))["epoch"] for path in states} == {1}

    assert call("run", "table11", *command) == 0
    second = capfd.readouterr().out
    assert "2 of 2 runs to do" in second
    rela = list(elsewhere.glob("results/smoke/runs/rela_*"))
    assert len(rela) == 2
    for run in rela:
        assert {p.stem for p in run.glob("checkpoints/*.safetensors")} >= {"epoch1", "last"}
        assert len(list(run.glob("evals/*.parquet"))) == 2
    columns = json.loads((elsewhere / "results/smoke/report/table11/table11.json").read_text("utf-8"))["blocks"][0]
    measured = {cell["column"]: cell["epochs"] for cell in columns["cells"] if cell["row"] == "rela"}
    assert measured == {"ciou.5k": [1], "giou.5k": [1], "ciou.150k": [2], "giou.150k": [2]}

    assert call("run", "table3", *command) == 0
    assert "to do" not in capfd.readouterr().out


def table_of(output: str) -> str:
    """What was printed from the table's watermark on."""
    return output[output.index("SYNTHETIC DATA") :]


def test_the_list_of_commands_imports_none_of_them_and_every_one_is_there(elsewhere: Path) -> None:
    """`amlris --help` loads only the modules of the group itself; each entry then loads as a command with help."""
    code = (
        "import sys\n"
        "from amlrepro.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('amlrepro')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ["", ".cli", ".cli.arguments", ".cli.lazy", ".cli.main", ".errors"]
    assert done.stdout.splitlines()[-1] == str([f"amlrepro{name}" for name in loaded])
    for entry in COMMANDS:
        command = entry.load()
        assert command.name == entry.name
        assert command.help
        assert f"│ {entry.name} " in done.stdout
    files = {path.stem for path in Path(cli.__path__[0]).glob("*.py")}
    assert {entry.target.partition(":")[0].rpartition(".")[2] for entry in COMMANDS} <= files
