"""The readings of the method on given features, against a calculation with numpy and bounds worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from amlrepro.engine.probes.given import Given, file_features
from amlrepro.engine.probes.method import count_passes, measure_cross, measure_readings
from amlrepro.engine.probes.simulated import simulated_features
from amlrepro.errors import UserError
from amlrepro.suite.profile import step_configs
from amlrepro.verdicts.audit.method import CrossPairs, Distortion, Passes, Reading


def features(samples: int = 3, norm: float = 6.0) -> Given:
    """4 x 4 patches of 8, 5 positions of 6, of which 4 are real; images of 16 x 32 pixels a side."""
    generator = torch.Generator().manual_seed(1)
    vision = norm * torch.randn(samples, 16, 8, generator=generator)
    text = torch.randn(samples, 5, 6, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 0]]).repeat(samples, 1)
    return Given(vision, text, mask, (4, 4), (128, 128))


def rows(*batches: Given) -> dict[str, Reading]:
    found, _, _ = measure_readings(batches)
    return {row["name"]: Reading(**row) for row in found}


def test_literal_reading_masks_everything_with_three_tokens_or_more() -> None:
    """Unit vectors and two independent matrices: logits of deviation below 1 / sqrt(2048), so S is near 1 / 4."""
    literal = rows(features())["literal"]
    assert literal.tokens == 4
    assert literal.mean == pytest.approx(0.25, abs=0.01)
    assert literal.logits < 0.03
    assert (literal.weak_blocks, literal.masked, literal.blank, literal.whole) == (1, 1, 1, 0)
    assert sum(literal.histogram) == 3 * 16


def test_s_of_the_released_projection_against_numpy() -> None:
    from amlrepro.aml.projection import build_projection
    from amlrepro.sections import PMMEConfig

    given = features()
    linear = build_projection(8, 6, PMMEConfig(projection="text_linear"), 0)
    weight, bias = (buffer.double().numpy() for buffer in (linear.weight, linear.bias))
    logits = np.einsum("nmd,nld->nml", given.vision.double().numpy(), given.text.double().numpy() @ weight.T + bias)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    s = (shares / shares.sum(-1, keepdims=True)).max(-1)
    released = rows(given)["released"]
    assert (released.mean, released.std) == pytest.approx((s.mean(), s.std()), abs=1e-5)
    assert (released.least, released.most) == pytest.approx((s.min(), s.max()), abs=1e-5)
    assert released.below_tau == pytest.approx((s < 0.4).mean())
    assert released.from_090 == pytest.approx((s >= 0.9).mean())
    assert released.logits == pytest.approx(math.sqrt(logits.var(-1).mean()), rel=1e-4)
    assert released.tokens == 5


def test_small_images_have_blocks_of_a_patch() -> None:
    """Images of 48 pixels do not divide into blocks of 32; patches of 12 do. rho of the weak blocks goes."""
    given = features(40)
    small = Given(given.vision, given.text, given.mask, (4, 4), (48, 48))
    found, _, _ = measure_readings([small], dim=64)
    inferred = {row["name"]: Reading(**row) for row in found}["inferred"]
    assert inferred.masked == pytest.approx(0.25 * inferred.weak_blocks, abs=0.03)
    assert inferred.weak_blocks == inferred.below_tau


def test_batches_are_one_measurement() -> None:
    whole = features(4)
    halves = [
        Given(whole.vision[k : k + 2], whole.text[k : k + 2], whole.mask[k : k + 2], (4, 4), (128, 128)) for k in (0, 2)
    ]
    one, two = rows(whole), rows(*halves)
    for name in one:
        assert two[name].histogram == one[name].histogram
        assert two[name].masked == one[name].masked


def test_simulated_features_are_what_is_assumed() -> None:
    """Patches of norm 32, tokens of norm 15 and cosine 0.5, padding more alike; 3.53 words and two marks on average."""
    given = list(simulated_features())
    vision, text, mask = (torch.cat([getattr(g, name) for g in given]) for name in ("vision", "text", "mask"))
    assert vision.shape == (48, 196, 1024)
    assert vision.norm(dim=-1).mean().item() == pytest.approx(32, abs=0.05)
    assert text.norm(dim=-1).std().item() < 1e-3
    assert mask.sum(1).float().mean().item() == pytest.approx(5.53, abs=0.5)
    unit = text[0] / 15
    assert (unit[0] @ unit[1]).item() == pytest.approx(0.5, abs=0.06)
    assert (unit[-1] @ unit[-2]).item() == pytest.approx(0.95, abs=0.03)
    again = next(iter(simulated_features()))
    assert torch.equal(again.vision, given[0].vision)


def test_distortion_stays_within_the_bound_inside_a_modality() -> None:
    found, distortion, sizes = measure_readings([features()])
    assert sizes == {"images": 3, "patches": 16, "positions": 5}
    for row in (Distortion(**each) for each in distortion):
        assert row.bound == pytest.approx(math.sqrt(8 * math.log(16 * 5 / 0.05) / row.dim))
        assert row.vision_within == row.text_within == 1
        assert row.cross_rms == pytest.approx(1 / math.sqrt(row.dim), rel=0.3)
    assert len(found) == 4


def test_eq_10_fails_for_independent_matrices_and_holds_for_one() -> None:
    """Cosine 0.25, epsilon 0.2955, deviation 1 / 32: P(|N(-0.25, 1/32)| <= 0.2955) = 0.927; cosine 0.5: none."""
    found = {(row.dim, row.cosine): row for row in (CrossPairs(**each) for each in measure_cross({1024: 0.2955}))}
    assert found[1024, 0.0].independent_within == 1
    assert found[1024, 0.25].independent_within == pytest.approx(0.927, abs=0.03)
    assert found[1024, 0.5].independent_within == 0
    assert found[1024, 0.5].shared_within == 1
    assert found[1024, 0.5].shared_mean == pytest.approx(0.5, abs=0.01)
    assert abs(found[1024, 1.0].independent_mean) < 0.01


def test_calls_of_a_step() -> None:
    """Algorithm 1 adds one pass of the encoders; the released step runs them three times and the decoder twice."""
    sides = {"CARIS": "baseline", "Algorithm 1": "inferred", "released": "released"}
    found = [Passes(**row) for row in count_passes(step_configs("smoke", sides))]
    assert [(p.vision, p.text, p.decoder, p.losses) for p in found] == [(1, 1, 1, 1), (2, 2, 1, 1), (3, 3, 2, 2)]


def test_features_of_a_file(tmp_path: Path) -> None:
    given = features(20)
    arrays = {name: getattr(given, name).numpy() for name in ("vision", "text", "mask")}
    np.savez(tmp_path / "f.npz", **arrays)
    read = list(file_features(tmp_path / "f.npz"))
    assert [len(part.vision) for part in read] == [16, 4]
    assert read[0].size == (128, 128)
    assert rows(*read)["inferred"].histogram == rows(given)["inferred"].histogram


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": None}, "no text"),
        ({"mask": np.ones((3, 4))}, "do not fit together"),
        ({"mask": np.zeros((3, 5))}, "without a real token"),
        ({"vision": np.full((3, 16, 8), np.nan)}, "finite"),
        ({"grid": np.array([3, 5])}, "does not have M positions"),
    ],
)
def test_broken_files_of_features(tmp_path: Path, change: dict[str, object], said: str) -> None:
    given = features()
    arrays = {name: getattr(given, name).numpy() for name in ("vision", "text", "mask")} | change
    np.savez(tmp_path / "f.npz", **{name: a for name, a in arrays.items() if a is not None})
    with pytest.raises(UserError, match=said):
        list(file_features(tmp_path / "f.npz"))


def test_files_that_are_no_features(tmp_path: Path) -> None:
    (tmp_path / "f.npz").write_text("no")
    with pytest.raises(UserError, match="not a file of features"):
        list(file_features(tmp_path / "f.npz"))
    with pytest.raises(UserError, match="no such file"):
        list(file_features(tmp_path / "other.npz"))
    np.savez(tmp_path / "g.npz", vision=np.array([object()]), text=np.ones(1), mask=np.ones(1))
    with pytest.raises(UserError, match="not a file of features"):
        list(file_features(tmp_path / "g.npz"))
