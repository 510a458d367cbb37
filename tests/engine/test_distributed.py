"""Several processes against one: gradients, order, draws, records; resuming with another number; how they end."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_refer import AML, make_grefs, make_refer, method_config, tiny_config
from torch import Tensor, nn

from amlrepro.aml.strategies import Plain
from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import open_training
from amlrepro.engine.checkpoint import read_meta
from amlrepro.engine.distributed import ALONE, TrainingStep, World
from amlrepro.engine.numerics import seed_torch
from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.launch.job import Job
from amlrepro.models import losses
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir

pytestmark = pytest.mark.xdist_group("processes")
DRIVER = Path(__file__).with_name("distributed_training.py")
TIMINGS = ("images_per_s", "eta_s", "memory_mb", "seconds")
KILLED, ASKED, USER, CRASHED = -9, 143, 2, 1
NO_DROPOUT: dict[str, dict[str, Any]] = {
    "caris": {"model.options.drop_path": 0.0, "model.options.text_dropout": 0.0},
    "detris": {"model.options.cross_dropout": 0.0, "model.options.decoder_dropout": 0.0},
    "rela": {"model.options.drop_path": 0.0, "model.options.text_dropout": 0.0},
}
# Float32 has 24 bits: a sum of n terms of like size is off by about sqrt(n) 2^-24 of itself, so two orders of summation
# of some thousand terms differ by some 1e-6. Seen: 3e-7 (CARIS, ReLA) and 3e-6 (DETRIS, through batch norm). With these
# class weights a mean over processes in place of the mean over the batch is off by 6e-3, with uneven shares by 8e-2.
ROUNDING = 1e-5
CLASS_WEIGHTS = (0.2, 5.0)


class Jobs:
    """Trainings of one module from one driver (one import of the libraries)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._listed, self.ended = folder, list[Any](), dict[str, list[int]]()
        self._names: list[str] = []

    def add(
        self,
        name: str,
        config: RunConfig,
        processes: int,
        mishap: list[Any] | None = None,
        *,
        folder: str | None = None,
        evaluate: str | None = None,
    ) -> None:
        """A training in `folder` (named like the job), or evaluations of another one's checkpoints."""
        evals = []
        if evaluate is not None:
            dataset = config.data.train
            evals = [EvalConfig(dataset=dataset, split="val", resolution=r) for r in ("resized", "original")]
        run = self.folder / (folder or name)
        job = Job(folder=str(run), config=config, train=evaluate is None, evals=evals)
        path = self.folder / f"{name}.json"
        write_json(path, job.model_dump(mode="json"))
        run.mkdir(exist_ok=True)
        self._names.append(name)
        self._listed.append([str(path), processes, mishap, str(self.folder / evaluate) if evaluate else None])

    def do(self) -> None:
        command = [sys.executable, str(DRIVER), json.dumps(self._listed)]
        environment = {**os.environ, "PYTHONPATH": str(DRIVER.parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
        assert done.returncode == 0, done.stderr
        self.ended = dict(zip(self._names, json.loads(done.stdout), strict=True))
        self.said = done.stderr

    def run(self, name: str) -> RunDir:
        return RunDir(self.folder / name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grefs(make_refer(tmp_path_factory.mktemp("refer") / "data", train=6, val=2))


@pytest.fixture(scope="module")
def jobs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """Two epochs of three updates of four samples; three processes have 1, 1 and 2 of them."""
    made = Jobs(tmp_path_factory.mktemp("jobs"))
    two: dict[str, Any] = {
        "train.class_weights": CLASS_WEIGHTS,
        "train.horizon": 2,
        "exec.milestones": (0,),
        "exec.eval_batch": 3,
        "exec.validate_at": (2,),
    }
    plain = tiny_config(root, **NO_DROPOUT["caris"], **two)
    aml = plain.with_changes(AML)
    for processes in (1, 2, 4):
        made.add(f"plain {processes}", plain, processes)
    for processes in (1, 2, 3):
        made.add(f"aml {processes}", aml, processes)
    for name in ("detris", "rela"):
        for processes in (1, 2):
            config = method_config(root, name, **NO_DROPOUT[name], **{**two, "exec.validate_at": ()})
            made.add(f"{name} {processes}", config, processes)
    made.add("dropout 2", tiny_config(root, **AML, **{**two, "train.horizon": 1, "exec.validate_at": ()}), 2)
    made.add("fast 2", aml.with_changes({"exec.deterministic": False}), 2, ["idle", -1, 0])

    half = aml.with_changes({"exec.until": 1})
    made.add("two", half, 2, folder="two then one")
    made.add("one", aml, 1, folder="two then one")
    made.add("three", half, 3, folder="three in pieces")
    made.add("three again", aml, 3, folder="three in pieces")
    made.add("asked", aml, 2, ["asked", 1, 2])
    made.add("after asked", aml, 2, folder="asked")
    made.add("replay", aml.with_changes({"exec.milestones": (0, 1)}), 2, folder="asked")
    for kind in ("killed", "crash", "user"):
        made.add(kind, plain, 2, [kind, 1, 2])
    for processes in (1, 2, 3):
        made.add(f"records {processes}", plain, processes, evaluate="plain 1")
    made.do()
    return made


def gradients(jobs: Jobs, name: str) -> dict[str, Tensor]:
    return load_file(jobs.folder / name / "gradients-0.safetensors")


def weights(jobs: Jobs, name: str, checkpoint: str = "last", part: str = "model/") -> dict[str, Tensor]:
    tensors = load_file(jobs.run(name).checkpoint(checkpoint))
    return {key: tensor for key, tensor in tensors.items() if key.startswith(part)}


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """L2 over all tensors together."""
    return math.sqrt(sum(float((one[key].double() - other[key].double()).square().sum()) for key in one))


def history(jobs: Jobs, name: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in jobs.run(name).history_rows()]


def assert_alike(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """Rows of two histories; a validation's score may differ by some pixels that are on the edge."""
    numbers = {key: value for key, value in expected.items() if isinstance(value, float)}
    rel = 1e-2 if row["kind"] == "validation" else 10 * ROUNDING
    assert {key: row[key] for key in numbers} == pytest.approx(numbers, rel=rel)
    assert {**row, **numbers} == expected


def seen(jobs: Jobs, name: str, what: str) -> list[dict[str, Any]]:
    """By process."""
    return [json.loads(path.read_text())[what] for path in sorted((jobs.folder / name).glob("seen-*.json"))]


PAIRS = [("plain", 2), ("plain", 4), ("aml", 2), ("aml", 3), ("detris", 2), ("rela", 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "processes"), PAIRS)
def test_gradients_are_those_of_one_process(jobs: Jobs, method: str, processes: int) -> None:
    one, several = gradients(jobs, f"{method} 1"), gradients(jobs, f"{method} {processes}")
    assert one.keys() == several.keys()
    size = distance(one, {key: torch.zeros_like(tensor) for key, tensor in one.items()})
    assert distance(one, several) < ROUNDING * size
    for rank in range(1, processes):
        others = load_file(jobs.folder / f"{method} {processes}" / f"gradients-{rank}.safetensors")
        assert all(torch.equal(several[key], others[key]) for key in several), "all processes clip and step alike"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "processes"), PAIRS)
def test_weights_after_some_updates_are_those_of_one_process(jobs: Jobs, method: str, processes: int) -> None:
    """Adam with a large epsilon, so that a rounding error does not become a whole step (`distributed_training.EPS`);
    then errors stay in proportion to the way that the weights have gone. DETRIS's batch norm statistics are among them.
    """
    one, several = weights(jobs, f"{method} 1"), weights(jobs, f"{method} {processes}")
    start = weights(jobs, f"{method} 1", "epoch0")
    assert distance(one, several) < 10 * ROUNDING * distance(one, start)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "processes"), PAIRS)
def test_histories_are_those_of_one_process(jobs: Jobs, method: str, processes: int) -> None:
    """Losses, gradient norms, shares of masked blocks, validation: of all processes' samples."""
    one, several = history(jobs, f"{method} 1"), history(jobs, f"{method} {processes}")
    assert [row["kind"] for row in one] == [row["kind"] for row in several]
    for expected, row in zip(one, several, strict=True):
        assert_alike(row, expected)


@pytest.mark.slow
def test_order_sentences_and_masks_do_not_depend_on_the_number(jobs: Jobs) -> None:
    for method, several in (("plain", (2, 4)), ("aml", (2, 3))):
        for what in ("texts", "blank"):
            (one,) = seen(jobs, f"{method} 1", what)
            for processes in several:
                shares = seen(jobs, f"{method} {processes}", what)
                assert len(shares) == processes
                assert sum(map(len, shares)) == len(one), "no sample twice"
                assert {key: value for share in shares for key, value in share.items()} == one
    (masks,) = seen(jobs, "aml 1", "blank")
    assert len(masks) == 24
    assert 0 < np.mean(list(masks.values())) < 1


@pytest.mark.slow
def test_dropout_differs_between_processes(jobs: Jobs) -> None:
    first, second = seen(jobs, "dropout 2", "draws")
    assert first.keys() == second.keys()
    assert set(first.values()).isdisjoint(second.values())
    assert jobs.ended["dropout 2"] == [0, 0]


@pytest.mark.slow
def test_without_a_fixed_order_and_with_an_idle_parameter(jobs: Jobs) -> None:
    """What DistributedDataParallel does outside deterministic mode; what has no gradient is not decayed either."""
    one, several = weights(jobs, "aml 1"), weights(jobs, "fast 2")
    idle = several.pop("model/idle")
    assert torch.equal(idle, torch.ones(3))
    assert distance(one, several) < 10 * ROUNDING * distance(one, weights(jobs, "aml 1", "epoch0"))


@pytest.mark.slow
def test_records_do_not_depend_on_the_number(jobs: Jobs) -> None:
    """Byte for byte, with batches of at least three samples of eight."""
    files = {n: sorted((jobs.folder / f"records {n}" / "evals").iterdir()) for n in (1, 2, 3)}
    assert sorted(path.suffix for path in files[1] if path.suffix != ".npz") == [".json"] * 2 + [".parquet"] * 2
    for processes in (2, 3):
        assert [path.name for path in files[processes]] == [path.name for path in files[1]]
        assert [path.read_bytes() for path in files[processes]] == [path.read_bytes() for path in files[1]]
        assert jobs.ended[f"records {processes}"] == [0] * processes
    assert {read_json(path)["samples"] for path in files[1] if path.suffix == ".json"} == {8}


@pytest.mark.slow
def test_two_processes_then_one(jobs: Jobs) -> None:
    assert jobs.ended["two"] == [0, 0]
    whole, pieces = weights(jobs, "aml 1"), weights(jobs, "two then one")
    assert distance(whole, pieces) < 10 * ROUNDING * distance(whole, weights(jobs, "aml 1", "epoch0"))
    for expected, row in zip(history(jobs, "aml 1"), history(jobs, "two then one"), strict=True):
        assert_alike(row, expected)
    sessions = read_json(jobs.run("two then one").provenance)["sessions"]
    assert [(s["world_size"], s["backend"], s["devices"], s["hosts"]) for s in sessions] == [
        (2, "gloo", ["cpu", "cpu"], 1),
        (1, None, ["cpu"], 1),
    ]


@pytest.mark.slow
def test_the_same_number_resumes_to_the_same_bits(jobs: Jobs) -> None:
    """In deterministic mode, statistics of masks and the optimiser's state included."""
    for whole, pieces in (("aml 3", "three in pieces"), ("aml 2", "asked")):
        one, other = weights(jobs, whole, part=""), weights(jobs, pieces, part="")
        assert one.keys() == other.keys()
        assert [key for key in one if not torch.equal(one[key], other[key])] == []
        assert history(jobs, whole) == history(jobs, pieces)


@pytest.mark.slow
def test_a_signal_to_one_stops_all_after_the_same_update(jobs: Jobs) -> None:
    assert jobs.ended["asked"] == [ASKED, ASKED]
    sessions = read_json(jobs.run("asked").provenance)["sessions"]
    assert [(s["from_step"], s["to_step"]) for s in sessions[:2]] == [(0, 2), (2, 6)]
    assert jobs.ended["after asked"] == [0, 0]
    assert jobs.run("asked").read_state()["state"] == "done"


@pytest.mark.slow
def test_a_milestone_that_was_asked_for_later(jobs: Jobs) -> None:
    assert jobs.ended["replay"] == [0, 0]
    run = jobs.run("asked")
    assert read_meta(run.milestone(1))["step"] == 3
    assert not (run.path / "replay").exists()


@pytest.mark.slow
def test_when_one_fails_all_end_and_say_why(jobs: Jobs) -> None:
    ended = {kind: jobs.ended[kind] for kind in ("killed", "crash", "user")}
    assert ended == {"killed": [CRASHED, KILLED], "crash": [CRASHED, CRASHED], "user": [USER, USER]}
    states = {kind: jobs.run(kind).read_state() for kind in ended}
    assert {state["state"] for state in states.values()} == {"failed"}
    assert "may have been killed" in states["killed"]["reason"]
    assert states["crash"]["reason"] == "process 1: ValueError: a bug"
    assert states["user"]["reason"] == "this picture is broken\n  where:    a.jpg"
    assert jobs.said.count("Traceback") == 1, "only the process that failed tells where"


# Without processes


def test_a_batch_is_cut_into_shares_of_the_same_samples(root: Path) -> None:
    config = tiny_config(root)
    data = open_training(config, get_spec("caris").protocol)
    whole = data.batch(2)
    for world in (2, 3, 4):
        shares = [data.batch(2, rank, world) for rank in range(world)]
        for part in ("image", "input_ids", "attention_mask", "target", "index"):
            assert torch.equal(torch.cat([getattr(share, part) for share in shares]), getattr(whole, part))


def joined_sums(monkeypatch: pytest.MonkeyPatch, others: float) -> None:
    """Two processes, the other of which adds `others` to every sum."""
    monkeypatch.setattr(losses, "processes", lambda: 2)
    monkeypatch.setattr(losses.dist, "all_reduce", lambda tensor: tensor.add_(others))


def test_weighted_loss_of_uneven_shares_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one pixel of the referent (weight 1.1) with logits (0, 0), so ln 2; there three pixels of background (0.9)
    with logits (0, ln 3), so ln 4 each. Together (1.1 ln 2 + 2.7 ln 4) / 3.8; the mean of means would be (ln 2 + ln 4)
    / 2."""
    weight = torch.tensor([0.9, 1.1])
    here = torch.zeros(1, 2, 1, requires_grad=True), torch.ones(1, 1, dtype=torch.int64)
    there = torch.tensor([[[0.0] * 3, [math.log(3)] * 3]]), torch.zeros(1, 3, dtype=torch.int64)
    joined_sums(monkeypatch, 2.7)
    first = losses.cross_entropy(*here, weight)
    joined_sums(monkeypatch, 1.1)
    second = losses.cross_entropy(*there, weight)
    expected = (1.1 * math.log(2) + 2.7 * math.log(4)) / 3.8
    assert (first + second).item() / 2 == pytest.approx(expected, rel=1e-6)
    # d/dz of the whole loss at the referent's channel: 1.1 (softmax - 1) / 3.8; a process's is doubled, then averaged
    first.backward()
    assert here[0].grad is not None
    assert here[0].grad.flatten().tolist() == pytest.approx([2 * 1.1 * 0.5 / 3.8, -2 * 1.1 * 0.5 / 3.8])


def test_means_over_pixels_of_uneven_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value of ln 2 here, three of ln 4 there: 7/4 ln 2. Probabilities count positions, whatever the weights."""
    joined_sums(monkeypatch, 3)
    half = torch.tensor([[0.5], [0.5]])[None]
    binary = losses.binary_cross_entropy(torch.zeros(1, 1), torch.ones(1, 1))
    soft = losses.cross_entropy(torch.zeros(1, 2, 1), half, torch.tensor([1.0, 1.0]))
    for value in (binary, soft):
        assert (float(value) + 2 * 3 * math.log(4) / 4) / 2 == pytest.approx(7 / 4 * math.log(2), rel=1e-6)


class OneLoss(Plain):
    def losses(self, model: Any, batch: Any) -> dict[str, Tensor]:
        return {"loss": torch.ones(())}


def test_a_plain_mean_counts_by_its_share(root: Path) -> None:
    """A model that does not know of other processes: shares of 1 and 3 of 4 weigh 1/2 and 3/2, whose mean is 1."""
    data = open_training(tiny_config(root), get_spec("caris").protocol)
    batch = data.batch(0)
    model: Any = nn.Module()
    model.protocol = get_spec("caris").protocol
    for global_loss, expected in ((True, [1, 1]), (False, [0.5, 1.5])):
        model.protocol = type(model.protocol)(**{**vars(model.protocol), "global_loss": global_loss})
        step = TrainingStep(model, OneLoss(), World(0, 2), 4)
        parts = [type(batch)(**{**vars(batch), "image": batch.image[rows]}) for rows in (slice(0, 1), slice(1, 4))]
        assert [float(step(part)) for part in parts] == expected
    assert float(TrainingStep(model, OneLoss())(batch)) == 1


def test_the_place_among_processes() -> None:
    place = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    world = World.from_environment(place)
    assert (world.rank, world.size, world.local_rank, world.alone, world.is_main) == (3, 4, 1, False, False)
    assert World.from_environment({}) is ALONE
    assert World.from_environment({"RANK": "0", "WORLD_SIZE": "1"}) is ALONE
    for wrong in ({"RANK": "4"}, {"RANK": "one"}, {"WORLD_SIZE": ""}, {"LOCAL_RANK": "-1"}):
        with pytest.raises(UserError, match="no place among processes"):
            World.from_environment({**place, **wrong})


def test_each_process_has_a_generator_of_its_own() -> None:
    draws = []
    for rank in (0, 1, 2):
        seed_torch(3, "update", 5, rank)
        draws.append(float(torch.rand(())))
    assert len(set(draws)) == 3
    seed_torch(3, "update", 5)
    assert float(torch.rand(())) == draws[0], "the first one draws as a single process does"
