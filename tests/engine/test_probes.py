"""Probes against plain loops: S from features and matrices, patches from masks, errors from inner products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_refer import AML, make_grefs, make_refer, method_config, tiny_config

from amlrepro.aml.masking import ForwardOnly
from amlrepro.config import EvalConfig, ProbeConfig, RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.loader import Sample, open_evaluation
from amlrepro.engine.checkpoint import load_for_evaluation, read, weights_digest
from amlrepro.engine.probes import run_probe
from amlrepro.engine.probes.alignment import patch_share
from amlrepro.engine.probes.distortion import Spread
from amlrepro.engine.train import train
from amlrepro.errors import UserError
from amlrepro.metrics.alignment import PatchScores, statistics
from amlrepro.metrics.probes import read_probe, read_record
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir
from amlrepro.sections import AFMConfig, PMMEConfig

SHORT: dict[str, Any] = {"train.horizon": 1, "exec.validate_at": (), "exec.milestones": (0,)}
WIDE: dict[str, Any] = {"model.options": {"text_width": 32}}  # text as wide as the deepest map
ALIGNMENT = ProbeConfig(kind="alignment", dataset="refcoco", split="val")
MEASURE: dict[str, Any] = {"pmme": PMMEConfig(dim=32), "afm": AFMConfig(tau=0.6, block=16)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grefs(make_refer(tmp_path_factory.mktemp("refer") / "data", train=4, val=5))


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[str, tuple[RunDir, RunConfig]]:
    configs = {
        "plain": tiny_config(root, **SHORT),
        "aml": tiny_config(root, **AML, **SHORT, **WIDE),
        "rela": method_config(root, "rela", **AML, **{**SHORT, "data.train": "refcoco"}),
        "detris": method_config(root, "detris", **AML, **SHORT),
    }
    out = {name: (RunDir(root.parent / name), config) for name, config in configs.items()}
    for run, config in out.values():
        train(config, run)
    return out


def probed(of: tuple[RunDir, RunConfig], probe: ProbeConfig) -> dict[str, Any]:
    run, config = of
    run_probe(run, config, probe)
    return read_record(run.probes / f"{probe.probe_id}.json")


def patches(of: tuple[RunDir, RunConfig], probe: ProbeConfig) -> PatchScores:
    run, config = of
    run_probe(run, config, probe)
    return PatchScores.read(run.probes / f"{probe.probe_id}.parquet")


def one_batch(path: Path, root: Path) -> tuple[Any, Any, RunConfig, list[Sample], Batch]:
    """A checkpoint, and all val samples as one training batch, each with a picture of its own."""
    model, tokenizer, config = load_for_evaluation(path)
    config = config.with_changes({"exec.data_root": str(root), "exec.eval_batch": 1000})
    data = open_evaluation(
        config, EvalConfig(dataset="refcoco", split="val"), tokenizer, get_spec(config.model.name).protocol
    )
    (found,) = data.batches()
    assert found.target is not None
    order = np.argsort(found.positions)
    image = found.image[found.image_index][order]
    ids, mask, target = found.input_ids[order], found.attention_mask[order], found.target[order]
    batch = Batch(image, ids, mask, target.long(), torch.arange(len(ids)), 0)
    return model, tokenizer, config, data.samples, batch


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exact = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exact / exact.sum(-1, keepdims=True))


@pytest.mark.parametrize("name", ["aml", "rela", "detris"])
def test_scores_are_the_strategys_own(runs: dict[str, tuple[RunDir, RunConfig]], root: Path, name: str) -> None:
    run, _ = runs[name]
    found = patches(runs[name], ALIGNMENT)
    model, tokenizer, config, samples, batch = one_batch(run.checkpoint("last"), root)
    strategy = ForwardOnly(config.with_changes({"pmme.mode": "eval"}), model, tokenizer)
    similarity = strategy.stage_one(model, batch)
    np.testing.assert_allclose(found.similarity, similarity.flatten().numpy(), rtol=1e-4, atol=1e-5)
    m = similarity[0].numel()
    assert found.ids["sent_id"][::m].tolist() == [sample.sentence.sent_id for sample in samples]
    assert found.ids["ref_id"][::m].tolist() == [sample.ref.ref_id for sample in samples]
    assert found.ids["patch"].tolist() == list(range(m)) * len(samples)
    assert found.ids["pair"].tolist() == [pair for pair in range(len(samples)) for _ in range(m)]
    grid = tuple(similarity.shape[1:])
    rows, columns = 112 // grid[0], 112 // grid[1]
    share = batch.target.numpy().reshape(-1, grid[0], rows, grid[1], columns).mean((2, 4))
    np.testing.assert_allclose(found.target, share.ravel(), atol=1e-6)


def test_a_baseline_is_measured_with_the_matrices_of_aml(runs: dict[str, tuple[RunDir, RunConfig]], root: Path) -> None:
    """Eqs. 4 to 7 in plain numpy, with the matrices that the AML run of the seed has saved."""
    run, config = runs["plain"]
    with pytest.raises(UserError, match="no similarity map of its own"):
        run_probe(run, config, ALIGNMENT)
    aml = RunDir(root.parent / "aml of equal widths")
    train(tiny_config(root, **AML, **SHORT), aml)
    matrices = {name: t.numpy().astype(np.float64) for name, t in read(aml.checkpoint("last"), "strategy").items()}
    found = patches(runs["plain"], ALIGNMENT.model_copy(update=MEASURE))
    model, _, _, _, batch = one_batch(run.checkpoint("last"), root)
    with torch.no_grad():
        vision, text = model.pmme_features(model.encode(batch.image, batch.input_ids, batch.attention_mask))
    projected_vision = vision.double().numpy() @ matrices["pmme.projection.vision"]
    projected_text = text.double().numpy() @ matrices["pmme.projection.text"]
    expected = softmax(np.einsum("bmd,bld->bml", projected_vision, projected_text)).max(-1)
    np.testing.assert_allclose(found.similarity, expected.ravel(), rtol=1e-4, atol=1e-5)
    values = statistics(found)
    assert values["lt_020"] == np.mean(found.similarity < 0.2)
    assert values["std"] == pytest.approx(expected.std(), rel=1e-3)


def test_masks_are_drawn_by_sample(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    """Patches and blocks coincide here: a blanked one is weak, one that is blanked at tau is so at any larger tau;
    with rho 1 all weak ones are blanked, with rho 0 none is; other samples beside it change nothing."""
    found = patches(runs["aml"], ALIGNMENT)
    weak = {tau: found.similarity < tau / 100 for tau in found.blanked}
    assert list(found.blanked) == [20, 30, 40, 60]
    blanked = {tau: share.astype(bool) for tau, share in found.blanked.items()}
    assert 0 < blanked[60].sum() < weak[60].sum()
    for tau, larger in zip((20, 30, 40, 60), (30, 40, 60, 60), strict=True):
        assert not (blanked[tau] & ~weak[tau]).any()
        assert not (blanked[tau] & ~blanked[larger]).any()
        assert not (blanked[larger] & weak[tau] & ~blanked[tau]).any()
    for rho, share in ((1.0, weak), (0.0, {tau: np.zeros(len(found), bool) for tau in weak})):
        afm = AFMConfig(tau=0.6, block=16, rho=rho)
        other = patches(runs["aml"], ALIGNMENT.model_copy(update={"afm": afm, "pmme": PMMEConfig(dim=32)}))
        assert all(np.array_equal(other.blanked[tau].astype(bool), share[tau]) for tau in weak)
    few = patches(runs["aml"], ALIGNMENT.model_copy(update={"pairs": 5}))
    chosen = np.isin(found.ids["sent_id"], few.ids["sent_id"])
    assert all(np.array_equal(few.blanked[tau], found.blanked[tau][chosen]) for tau in weak)


def test_masks_in_feature_space_blank_no_pixels(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    afm = AFMConfig(tau=0.6, block=16, level="feature")
    values = probed(runs["aml"], ALIGNMENT.model_copy(update={"pmme": PMMEConfig(dim=32), "afm": afm}))["values"]
    assert values["coverage_tau060"] > 0
    assert {values[name] for name in values if name.startswith("blanked")} == {None}


def test_blocks_across_patches_are_shared_by_area(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    """DETRIS's 8 x 8 patches of 14 pixels and 7 x 7 blocks of 16: the blanked area is the same on both grids."""
    found = patches(
        runs["detris"], ALIGNMENT.model_copy(update={**MEASURE, "afm": AFMConfig(tau=0.6, block=16, rho=1)})
    )
    area = found.blanked[60].reshape(-1, 64).mean(1) * 49
    assert area.max() > 1
    np.testing.assert_allclose(area, area.round(), atol=1e-4)
    fractions = np.unique(found.blanked[60].round(4))
    assert len(fractions) > 2


def test_shares_are_exact() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 0, :2] = True
    mask[0, 1, :1] = True
    mask[0, 4:6, 4:6] = True
    assert patch_share(mask, (4, 4))[0, 0, 0] == 0.75
    assert patch_share(mask, (2, 2)).tolist() == [[[3 / 16, 0], [0, 4 / 16]]]
    thirds = patch_share(mask, (3, 3))
    assert float(thirds.mean()) == pytest.approx(float(mask.float().mean()))


def test_pairs_are_drawn_once_for_all(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    """Without replacement, the same for every run, fewer among more, and not simply the first ones."""
    draws = {}
    for name in ("aml", "detris"):
        for pairs in (4, 9):
            found = patches(runs[name], ALIGNMENT.model_copy(update={"pairs": pairs}))
            draws[name, pairs] = list(dict.fromkeys(found.ids["sent_id"].tolist()))
            assert (len(draws[name, pairs]), found.pairs) == (pairs, pairs)
    assert draws["aml", 9] == draws["detris", 9]
    assert set(draws["aml", 4]) < set(draws["aml", 9])
    everything = patches(runs["aml"], ALIGNMENT)
    sentences = list(dict.fromkeys(everything.ids["sent_id"].tolist()))
    assert len(sentences) == 20, "1,552 are asked for, a smaller split gives all it has"
    assert draws["aml", 9] != sentences[:9]
    assert draws["aml", 9] == [sentence for sentence in sentences if sentence in draws["aml", 9]]


def test_what_the_json_says(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    run, config = runs["aml"]
    for checkpoint, epoch, step in (("epoch0", 0, 0), ("last", 1, 2)):
        probe = ALIGNMENT.model_copy(update={"checkpoint": checkpoint, "pairs": 3})
        record = probed(runs["aml"], probe)
        assert record["probe"] == probe.model_dump(mode="json")
        head = (record["probe_id"], record["run_id"], record["checkpoint"], record["epoch"], record["step"])
        assert head == (probe.probe_id, config.run_id, checkpoint, epoch, step)
        assert record["weights_sha256"] == weights_digest(run.checkpoint(checkpoint))
        assert (record["values"]["pairs"], record["values"]["scores"]) == (3, 3 * 49)
        assert record["device"].startswith("CPU")


def test_nothing_else_changes(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    run, config = runs["aml"]
    files = [path for path in run.path.rglob("*") if path.is_file() and "probes" not in path.parts]
    before = {path: path.read_bytes() for path in files}
    state = torch.get_rng_state()
    seen: list[tuple[int, int]] = []
    for kind in ("alignment", "distortion", "maps"):
        probe = ProbeConfig.model_validate({"kind": kind, "dataset": "refcoco", "split": "val", "pairs": 4})
        run_probe(run, config, probe, lambda done, total: seen.append((done, total)))
    assert torch.equal(torch.get_rng_state(), state)
    assert {path: path.read_bytes() for path in files} == before
    assert [pair for pair in seen if pair[0] == pair[1]] == [(4, 4)] * 3


def test_user_errors_leave_nothing(runs: dict[str, tuple[RunDir, RunConfig]], tmp_path: Path) -> None:
    run, config = runs["aml"]
    absent = RunDir(tmp_path / "absent")
    with pytest.raises(UserError, match="no such checkpoint"):
        run_probe(absent, config, ALIGNMENT)
    with pytest.raises(UserError, match="needs a data set and a split"):
        run_probe(run, config, ProbeConfig(kind="distortion"))
    wrong = ProbeConfig(kind="maps", dataset="refcoco", split="tset")
    with pytest.raises(UserError, match="tset"):
        run_probe(run, config, wrong)
    assert not absent.path.exists()
    assert not list(run.probes.glob(f"{wrong.probe_id}*"))


def test_a_trained_projection_is_read_from_the_checkpoint(root: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "learnable")
    config = tiny_config(root, **AML, **SHORT, **{"pmme.projection": "learnable"})
    train(config, run)
    with pytest.raises(UserError, match="no trained projection"):
        run_probe(run, config, ALIGNMENT.model_copy(update={"checkpoint": "epoch0"}))
    found = patches((run, config), ALIGNMENT)
    model, _, _, _, batch = one_batch(run.checkpoint("last"), root)
    matrices = {name: t.double().numpy() for name, t in read(run.checkpoint("last"), "strategy").items()}
    with torch.no_grad():
        vision, text = model.pmme_features(model.encode(batch.image, batch.input_ids, batch.attention_mask))
    left = vision.double().numpy() @ matrices["pmme.projection.vision"]
    right = text.double().numpy() @ matrices["pmme.projection.text"]
    expected = softmax(np.einsum("bmd,bld->bml", left, right)).max(-1)
    np.testing.assert_allclose(found.similarity, expected.ravel(), rtol=1e-4, atol=1e-5)


def test_distortion_against_numpy(runs: dict[str, tuple[RunDir, RunConfig]], root: Path) -> None:
    """Every pair of patches, of tokens, and of patch and token, by plain loops in double precision."""
    run, config = runs["aml"]
    probe = ProbeConfig(kind="distortion", dataset="refcoco", split="val")
    run_probe(run, config, probe)
    values: dict[str, Any] = read_probe(run.probes / f"{probe.probe_id}.json")
    matrices = {name: t.numpy().astype(np.float64) for name, t in read(run.checkpoint("last"), "strategy").items()}
    model, _, _, _, batch = one_batch(run.checkpoint("last"), root)
    with torch.no_grad():
        features = model.pmme_features(model.encode(batch.image, batch.input_ids, batch.attention_mask))
    errors: dict[str, list[float]] = {"vision": [], "text": []}
    cosines: dict[str, list[float]] = {"vision": [], "text": []}
    units = {}
    for name, feature in zip(("vision", "text"), features, strict=True):
        original = feature.double().numpy()
        norm = np.linalg.norm(original, axis=-1, keepdims=True)
        units[name] = original / norm, original @ matrices[f"pmme.projection.{name}"] / norm
        unit, image = units[name]
        for sample in range(len(unit)):
            for i in range(unit.shape[1]):
                for j in range(i):
                    before = float(unit[sample, i] @ unit[sample, j])
                    errors[name].append(abs(float(image[sample, i] @ image[sample, j]) - before))
                    cosines[name].append(before)
    for name in ("vision", "text"):
        assert values[f"{name}_mean"] == pytest.approx(np.mean(errors[name]), rel=1e-4)
        assert values[f"{name}_max"] == pytest.approx(np.max(errors[name]), rel=1e-4)
        assert values[f"{name}_p95"] == pytest.approx(np.percentile(errors[name], 95), abs=2e-4 + 1e-3)
        assert values[f"{name}_within_bound"] == pytest.approx(np.mean(np.array(errors[name]) <= values["bound"]))
        assert values[f"{name}_cosine"] == pytest.approx(np.mean(cosines[name]), rel=1e-4)
    both = np.array(errors["vision"] + errors["text"])
    assert values["mean_abs_error"] == pytest.approx(both.mean(), rel=1e-4)
    assert values["max_abs_error"] == pytest.approx(both.max(), rel=1e-4)
    across = np.einsum("bmd,bld->bml", units["vision"][1], units["text"][1])
    assert values["cross_std"] == pytest.approx(np.sqrt(np.mean(across**2)), rel=1e-4)
    assert values["cross_max"] == pytest.approx(np.abs(across).max(), rel=1e-4)
    wrong = across - np.einsum("bmd,bld->bml", units["vision"][0], units["text"][0])
    assert values["cross_error_mean"] == pytest.approx(np.abs(wrong).mean(), rel=1e-4)
    assert (values["patches"], values["tokens"], values["dim"], values["sigma"]) == (49, 8, 32, 0.05)
    assert values["bound"] == pytest.approx(np.sqrt(8 * np.log(49 * 8 / 0.05) / 32))


def test_unequal_widths_have_no_original_across_modalities(runs: dict[str, tuple[RunDir, RunConfig]]) -> None:
    """THM1. Real words only: the number of tokens is that of the longest sentence."""
    probe = ProbeConfig(kind="distortion", dataset="refcoco", split="val", pmme=PMMEConfig(dim=32, tokens="real"))
    probe = probe.model_copy(update={"afm": MEASURE["afm"]})
    values = probed(runs["plain"], probe)["values"]
    assert not any(name.startswith("cross_error") for name in values)
    assert values["cross_std"] > 0
    assert values["tokens"] == 7  # the box on the left, with two marks
    released = probe.model_copy(update={"pmme": PMMEConfig(projection="text_linear")})
    values = probed(runs["plain"], released)["values"]
    assert values["vision_max"] == 0, "vision stays as it is"
    assert "bound" not in values


def test_spread_percentiles() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(0, 0.2, 30_000)
    spread = Spread(0.3)
    for part in np.array_split(numbers, 7):
        spread.add(torch.from_numpy(part))
    values = spread.values(bounded=True)
    size = np.abs(numbers)
    for name, percent in (("p95", 95), ("p99", 99)):
        assert values[name] == pytest.approx(np.percentile(size, percent), abs=3e-4)
    assert values["mean"] == pytest.approx(size.mean())
    assert values["max"] == size.max()
    assert values["within_bound"] == pytest.approx(np.mean(size <= 0.3))
    assert set(Spread(1).values(bounded=False).values()) == {None}
    far = Spread(1)
    far.add(torch.tensor([0.5, 20.0]))
    assert far.percentile(99) == 20.0
