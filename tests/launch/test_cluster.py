"""Cluster settings: times and options as SLURM writes them, sums over a node's processes, mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from amlrepro.errors import UserError
from amlrepro.launch.cluster import (
    ClusterSettings,
    JobClass,
    load_cluster,
    minutes,
    sbatch_options,
    submission,
    with_flags,
)

FILE = """
partition: gpu
account: lab
constraint: a100|h100
time: 12:00:00
gres: gpu:a100:1
cpus: 6
memory: 48G
jobs_at_once: 16
exclude: bad[1-2]
setup: [module load cuda]
processes_per_node: 4
options: {mail-type: END, begin: 16:00, overcommit: true, nice: 100}
evaluation: {time: 2:00:00, partition: short}
measurement: {options: {nice: 0}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> ClusterSettings:
    path = tmp_path / "cluster.yaml"
    path.write_text(FILE)
    return load_cluster(path)


# The formats of sbatch's manual, and what they come to.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("1:30", 2),
        ("12:00:00", 720),
        ("0:00:01", 1),
        ("1-0", 1440),
        ("1-12:30", 2190),
        ("2-01:02:03", 2943),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert minutes(text, "time") == expected


def test_yaml_reads_no_clock_as_a_number(settings: ClusterSettings) -> None:
    assert submission(JobClass("training"), settings)["time"] == 720
    assert submission(JobClass("evaluation"), settings)["time"] == 120
    assert settings.options["begin"] == "16:00"
    assert settings.options["nice"] == "100"


def test_a_node_gets_what_its_processes_need(settings: ClusterSettings) -> None:
    said = sbatch_options(submission(JobClass("training", 8), settings))
    for option in ("--nodes=2", "--ntasks-per-node=4", "--gres=gpu:a100:4", "--mem=192G", "--cpus-per-task=6"):
        assert option in said
    alone = sbatch_options(submission(JobClass("evaluation", 1), settings))
    for option in ("--nodes=1", "--gres=gpu:a100:1", "--mem=48G", "--partition=short", "--requeue"):
        assert option in alone
    with pytest.raises(UserError, match="evenly"):
        submission(JobClass("training", 5), settings)


def test_srun_is_told_the_cpus_too(settings: ClusterSettings) -> None:
    assert submission(JobClass("training"), settings)["srun_args"] == ["--cpus-per-task=6"]


def test_kinds_of_jobs_differ(settings: ClusterSettings) -> None:
    measurement = submission(JobClass("measurement"), settings)
    assert measurement["exclusive"] is True
    assert measurement["additional_parameters"]["nice"] == "0"
    assert measurement["additional_parameters"]["mail-type"] == "END"
    training = submission(JobClass("training"), settings)
    assert "exclusive" not in training
    assert training["additional_parameters"]["nice"] == "100"


def test_a_gpu_for_each_process_unless_said_otherwise() -> None:
    plain = ClusterSettings()
    assert submission(JobClass("training", 2), plain)["gres"] == "gpu:2"
    assert "gres" not in submission(JobClass("training", 1, gpu=False), plain)
    assert "gres" not in submission(JobClass("training"), plain.model_copy(update={"gres": "none"}))


def test_options_of_the_command_win(settings: ClusterSettings) -> None:
    changed = with_flags(settings, {"time": "30", "partition": "debug", "qos": None})
    for kind in ("training", "evaluation"):
        parameters = submission(JobClass(kind), changed)  # type: ignore[arg-type]
        assert (parameters["time"], parameters["partition"], parameters["account"]) == (30, "debug", "lab")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("partitoin: x", ["unknown key 'partitoin'", "'partition'"]),
        ("measurement: {tme: '3'}", ["unknown key 'measurement.tme'", "'measurement.time'"]),
        ("time: soon", ["not a time limit", "'soon'", "12:00:00"]),
        ("time: 0", ["zero"]),
        ("gres: a b", ["not a gres"]),
        ("memory: much", ["not an amount of memory"]),
        ("cpus: 0", ["cpus"]),
        ("options: {partition: x}", ["a setting of its own", "'partition'"]),
        ("options: {array: 0-3}", ["belongs to the suite"]),
        ("options: {--nice: '3'}", ["long names without dashes"]),
        ("- partition", ["a mapping"]),
    ],
)
def test_mistakes_name_the_file_and_the_way_on(tmp_path: Path, text: str, says: list[str]) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_cluster(path)
    for part in [*says, str(path)]:
        assert part in str(caught.value)
