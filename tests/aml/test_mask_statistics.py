"""What a run records of its masks, by hand and on the simulated features of the released-code study."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm, normalize

from amlrepro.aml.afm import drop
from amlrepro.aml.draws import sample_generators
from amlrepro.aml.pmme import PMME
from amlrepro.aml.projection import build_projection
from amlrepro.aml.stats import MaskStatistics
from amlrepro.sections import AFMConfig, PMMEConfig


def test_by_hand() -> None:
    """Two images of 2 x 2 blocks: S 0.1, 0.5, 0.5, 0.9 with one block blanked, and 0.95 everywhere with none; then
    one image with all blanked."""
    statistics = MaskStatistics()
    similarity = torch.tensor([[[0.1, 0.5], [0.5, 0.9]], [[0.95, 0.95], [0.95, 0.95]]])
    blank = torch.tensor([[[True, False], [False, False]], [[False, False], [False, False]]])
    config = AFMConfig(tau=0.4, block=1)
    statistics.add(blank, similarity, (2, 2), config)
    statistics.add(torch.ones(1, 2, 2, dtype=torch.bool), torch.full((1, 2, 2), 0.3), (2, 2), config)
    found = statistics.pop()
    values = [0.1, 0.5, 0.5, 0.9] + [0.95] * 4 + [0.3] * 4
    mean = sum(values) / 12
    expected = {
        "masked_blocks": 5 / 12,
        "fully_masked": 1 / 3,
        "untouched": 1 / 3,
        "weak_pixels": 5 / 12,
        "weak_blocks": 5 / 12,
        "s_mean": mean,
        "s_std": (sum((v - mean) ** 2 for v in values) / 12) ** 0.5,
        "s_below_0.2": 1 / 12,
        "s_from_0.5": 7 / 12,
        "s_from_0.9": 5 / 12,
    }
    assert found == pytest.approx(expected, rel=1e-5)
    assert statistics.pop() == {}


def test_weak_pixels_are_counted_after_upsampling() -> None:
    """0 and 1 to four columns: 0, 1/4, 3/4, 1 of which two lie below 0.4; of the two blocks, one."""
    statistics = MaskStatistics()
    blank = torch.zeros(1, 1, 2, dtype=torch.bool)
    statistics.add(blank, torch.tensor([[[0.0, 1.0]]]), (2, 4), AFMConfig(tau=0.2, block=2))
    found = statistics.pop()
    assert found["weak_pixels"] == pytest.approx(0.25)
    assert found["weak_blocks"] == pytest.approx(0.5)


def test_random_masks_have_no_similarity() -> None:
    statistics = MaskStatistics()
    statistics.add(torch.tensor([[[True, False]]]), None, (2, 4), AFMConfig(block=2))
    assert statistics.pop() == {"masked_blocks": 0.5, "fully_masked": 0.0, "untouched": 0.0}


def test_survive_a_checkpoint() -> None:
    first, second = MaskStatistics(), MaskStatistics()
    first.add(torch.tensor([[[True, False]]]), None, (2, 4), AFMConfig(block=2))
    second.load_state_dict(first.state_dict())
    assert second.pop() == first.pop() != {}


def simulated_features(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Vision [B, 196, 1024] and text [B, 20, 768] as assumed in the study of the released code: patch norm 32 and
    cosine 0.3, smooth in space; token norm 15 and cosine 0.5; padding nearly alike (0.9); two to twenty real tokens."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    line = torch.exp(-0.5 * torch.arange(-3.0, 4.0) ** 2)
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]
    own = conv2d(normal(images * 1024, 1, 14, 14), kernel, padding=3)
    own = (own / own.std()).reshape(images, 1024, 196).transpose(1, 2)
    vision = layer_norm(0.3**0.5 * normal(images, 1, 1024) + 0.7**0.5 * own, (1024,))
    words = (1 + torch.poisson(torch.full((images,), 2.53), generator=generator)).clamp(max=18)
    padding = torch.arange(20) >= (words + 2)[:, None]
    pads = 0.9**0.5 * normal(images, 1, 768) + 0.1**0.5 * normal(images, 20, 768)
    inner = torch.where(padding[..., None], pads, normal(images, 20, 768))
    text = 15 * normalize(0.5**0.5 * normal(images, 1, 768) + 0.5**0.5 * inner, dim=-1)
    return vision, text


# Columns: mean, sd, shares < 0.2, >= 0.5, >= 0.9, < 0.4; then blanked by the released, pixel and block rules.
STUDY = {
    "text_linear": (0.746, 0.250, 0.0048, 0.780, 0.426, 0.133, 0.81, 0.18, 0.034),
    "gaussian": (0.758, 0.244, 0.0024, 0.797, 0.441, 0.116, 0.73, 0.16, 0.030),
}


@pytest.mark.parametrize("projection", list(STUDY))
def test_simulated_features(projection: str) -> None:
    """48 images, as many as in the study, with other random numbers: agreement within three standard errors of the
    difference of two such sets. The released rule's share has a standard deviation of 0.3 between images, hence 0.18;
    S of one image is correlated too, and its mean moves by 0.01 from set to set."""
    mean, sd, below_02, from_05, from_09, below_04, released, pixel, block = STUDY[projection]
    vision, text = simulated_features(48, seed=1)
    pmme = PMME(build_projection(1024, 768, PMMEConfig(projection=projection), seed=0), l2=False)
    similarity = pmme(vision, text, torch.ones(48, 20, dtype=torch.bool)).reshape(48, 14, 14)
    shares = {}
    for rule in ("released", "pixel", "block"):
        config = AFMConfig(tau=0.4, dropout=rule)
        statistics = MaskStatistics()
        blank = drop(similarity, (448, 448), config, sample_generators(0, torch.arange(48)))
        statistics.add(blank, similarity, (448, 448), config)
        found = statistics.pop()
        shares[rule] = found["masked_blocks"]
    assert found["s_mean"] == pytest.approx(mean, abs=0.04)
    assert found["s_std"] == pytest.approx(sd, abs=0.025)
    assert found["s_below_0.2"] == pytest.approx(below_02, abs=0.008)
    assert found["s_from_0.5"] == pytest.approx(from_05, abs=0.06)
    assert found["s_from_0.9"] == pytest.approx(from_09, abs=0.06)
    assert found["weak_blocks"] == pytest.approx(below_04, abs=0.05)
    assert shares["released"] == pytest.approx(released, abs=0.18)
    assert shares["pixel"] == pytest.approx(pixel, abs=0.06)
    assert shares["block"] == pytest.approx(block, abs=0.015)
