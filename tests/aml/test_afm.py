"""AFM against hand-worked maps, plain loops, the released function's output and measured tables."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from amlrepro.aml.afm import DROPOUTS, apply_mask, block_grid, drop, split_blocks, to_blocks, to_pixels
from amlrepro.aml.draws import sample_generators
from amlrepro.errors import UserError
from amlrepro.sections import AFMConfig

SIZE = (448, 448)


def afm(**values: object) -> AFMConfig:
    return AFMConfig.model_validate({"tau": 0.4, **values})


def scattered(k: int, generator: torch.Generator) -> Tensor:
    """S of 0.9 with k weak patches (0.1) anywhere on a 14 x 14 grid."""
    similarity = torch.full((196,), 0.9)
    similarity[torch.randperm(196, generator=generator)[:k]] = 0.1
    return similarity.reshape(14, 14)


def rectangle(k: int, generator: torch.Generator) -> Tensor:
    """S of 0.9 with k weak patches in a near-square rectangle at a random place, filled row by row."""
    height = max(1, round(k**0.5))
    width = -(-k // height)
    top = int(torch.randint(0, 15 - height, (1,), generator=generator))
    left = int(torch.randint(0, 15 - width, (1,), generator=generator))
    similarity = torch.full((14, 14), 0.9)
    for i in range(k):
        similarity[top + i // width, left + i % width] = 0.1
    return similarity


def blanked(maps: Tensor, config: AFMConfig) -> Tensor:
    """Share of blanked blocks [B] at 448 x 448."""
    generators = sample_generators(0, torch.arange(len(maps)))
    return drop(maps, SIZE, config, generators).flatten(1).float().mean(1)


def layouts(make: Callable[[int, torch.Generator], Tensor], k: int, n: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + k)
    return torch.stack([make(k, generator) for _ in range(n)])


def test_bilinear_by_hand() -> None:
    """Two columns 0 and 1 to four: pixel centres fall at -1/4, 1/4, 3/4, 5/4 of a patch (edges clamp)."""
    pixels = to_pixels(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    assert pixels.flatten().tolist() == pytest.approx([0, 0.25, 0.75, 1])


def test_blocks_are_the_patches_where_the_grids_coincide() -> None:
    similarity = torch.rand(2, 14, 14)
    assert to_blocks(similarity, (14, 14)) is similarity


def test_area_average_of_grids_that_do_not_align() -> None:
    """Three patches over two blocks: each block has one whole patch and half of the middle one, so 2/3 and 1/3."""
    row = to_blocks(torch.tensor([[[0.3, 0.6, 0.9]]]), (1, 2))
    assert row.flatten().tolist() == pytest.approx([(2 * 0.3 + 0.6) / 3, (2 * 0.9 + 0.6) / 3])
    column = to_blocks(torch.tensor([[[0.3], [0.6], [0.9]]]), (2, 1))
    assert column.flatten().tolist() == pytest.approx([0.4, 0.8])
    finer = to_blocks(torch.tensor([[[0.2, 0.8]]]), (1, 3))
    assert finer.flatten().tolist() == pytest.approx([0.2, 0.5, 0.8])
    both = to_blocks(torch.arange(16.0).reshape(1, 4, 4), (2, 2))
    assert both.flatten().tolist() == pytest.approx([2.5, 4.5, 10.5, 12.5])


def test_area_average_against_pixels() -> None:
    """32 x 32 patches (14 pixels) on 14 x 14 blocks (32 pixels), averaged pixel by pixel."""
    similarity = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels = similarity.repeat_interleave(14, 1).repeat_interleave(14, 2)
    expected = pixels.reshape(1, 14, 32, 14, 32).mean((2, 4))
    torch.testing.assert_close(to_blocks(similarity, (14, 14)), expected, rtol=1e-5, atol=1e-6)


def test_split_blocks_order() -> None:
    pixels = torch.arange(24).reshape(1, 4, 6)
    assert split_blocks(pixels, 2)[0].tolist() == [
        [0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11], [12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23],
    ]  # fmt: skip


@pytest.mark.parametrize("size", [(448, 450), (33, 64)])
def test_a_block_that_does_not_divide(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="whole blocks"):
        block_grid(size, 32)


@pytest.mark.parametrize("rule", ["block", "pixel"])
def test_against_a_plain_loop(rule: str) -> None:
    """The same draws, block by block and pixel by pixel."""
    similarity = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(2))
    config = afm(block=8, dropout=rule, rho=0.02 if rule == "pixel" else 0.5)
    found = drop(similarity, (32, 32), config, sample_generators(5, torch.arange(3)))
    pixels = to_pixels(similarity, (32, 32))
    for b, generator in enumerate(sample_generators(5, torch.arange(3))):
        if rule == "block":
            drawn = torch.rand(4, 4, generator=generator)
            expected = [[bool(similarity[b, y, x] < 0.4 and drawn[y, x] < 0.5) for x in range(4)] for y in range(4)]
        else:
            drawn = torch.rand(32, 32, generator=generator)
            expected = [[False] * 4 for _ in range(4)]
            for y in range(32):
                for x in range(32):
                    if pixels[b, y, x] < 0.4 and drawn[y, x] < 0.02:
                        expected[y // 8][x // 8] = True
        assert found[b].tolist() == expected
    assert 0 < found.float().mean() < 1


def test_block_rule_takes_a_quarter_of_a_weak_map() -> None:
    shares = blanked(torch.full((64, 14, 14), 0.1), afm())
    assert shares.mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / (64 * 196)) ** 0.5)
    assert shares.std().item() == pytest.approx((0.25 * 0.75 / 196) ** 0.5, rel=0.35)


@pytest.mark.parametrize("rule", ["block", "pixel", "released"])
def test_nothing_weak_nothing_blanked(rule: str) -> None:
    assert blanked(torch.full((4, 14, 14), 0.4), afm(dropout=rule)).sum() == 0, "weak means below tau, not at it"


def test_rho_zero() -> None:
    """Nothing is drawn, except by the released rule, which draws at least one pair."""
    weak = torch.full((4, 14, 14), 0.1)
    assert blanked(weak, afm(rho=0.0)).sum() == blanked(weak, afm(dropout="pixel", rho=0.0)).sum() == 0
    assert 1 <= blanked(weak[:1], afm(dropout="released", rho=0.0)).item() * 196 <= 2


@pytest.mark.parametrize("rule", ["pixel", "released"])
def test_everything_weak_everything_blanked(rule: str) -> None:
    assert blanked(torch.full((4, 14, 14), 0.1), afm(dropout=rule)).min() == 1


@pytest.mark.parametrize("rho", [1 / 6, 0.25, 0.5, 1.0])
def test_rho_is_inert_in_the_pixel_rule(rho: float) -> None:
    """Measured: 10.44 % of 20 scattered weak patches for every rho, 25.0 % for a block of 49."""
    assert blanked(layouts(rectangle, 49, 20), afm(dropout="pixel", rho=rho)).mean() == pytest.approx(0.25, abs=0.001)
    shares = blanked(layouts(scattered, 20, 40), afm(dropout="pixel", rho=rho))
    assert shares.mean().item() == pytest.approx(0.1044, abs=0.002)


# Share of blanked blocks over 50 draws, mean and standard deviation, as measured with the released function.
RELEASED = [
    (scattered, 1, 0.037, 0.052),
    (scattered, 4, 0.108, 0.072),
    (scattered, 10, 0.324, 0.152),
    (scattered, 20, 0.635, 0.149),
    (scattered, 30, 0.813, 0.088),
    (rectangle, 2, 0.152, 0.103),
    (rectangle, 4, 0.488, 0.060),
    (rectangle, 8, 0.813, 0.043),
    (rectangle, 20, 0.988, 0.009),
]


@pytest.mark.parametrize(("make", "k", "mean", "sd"), RELEASED)
def test_released_table(make: Callable[[int, torch.Generator], Tensor], k: int, mean: float, sd: float) -> None:
    """Both means come from 50 layouts: they agree within four standard errors of their difference."""
    shares = blanked(layouts(make, k, 50), afm(dropout="released"))
    assert shares.mean().item() == pytest.approx(mean, abs=4 * sd * (2 / 50) ** 0.5)


@pytest.mark.parametrize(("k", "pixel", "block"), [(8, 0.041, 0.011), (20, 0.106, 0.027), (49, 0.287, 0.063)])
def test_paper_and_block_columns(k: int, pixel: float, block: float) -> None:
    maps = layouts(scattered, k, 50)
    assert blanked(maps, afm(dropout="pixel")).mean().item() == pytest.approx(pixel, abs=0.015)
    error = 4 * (k * 0.25 * 0.75 * 2 / 50) ** 0.5 / 196
    assert blanked(maps, afm()).mean().item() == pytest.approx(block, abs=error)


def test_released_function_number_for_number(shared: Path) -> None:
    golden = torch.load(shared / "parity" / "aml_released_golden.pt", weights_only=True)
    for case in golden["afm"]:
        config = afm(dropout="released", tau=case["tau"], block=case["patch"])
        generator = torch.Generator().manual_seed(case["manual_seed"])
        blank = drop(case["S"][None], SIZE, config, [generator])[0].flatten()
        assert blank.nonzero().flatten().tolist() == sorted(case["zeroed"].tolist()), (case["kind"], case["k"])
    assert len(golden["afm"]) == 8


def test_released_function_on_the_released_similarity(shared: Path) -> None:
    """Two images in a row draw from one random state, as in the released loop."""
    golden = torch.load(shared / "parity" / "aml_released_golden.pt", weights_only=True)["pmme"]
    generator = torch.Generator().manual_seed(golden["seed_mask"])
    maps = golden["S"].reshape(2, 14, 14)
    blank = drop(maps, SIZE, afm(dropout="released"), [generator, generator]).flatten(1)
    for row, expected in zip(blank, golden["zeroed"], strict=True):
        assert row.nonzero().flatten().tolist() == sorted(expected.tolist())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("rule", ["block", "pixel", "released"])
def test_equal_draws_on_every_device(rule: str) -> None:
    maps, config = layouts(scattered, 20, 4), afm(dropout=rule)
    found = [
        drop(maps.to(device), SIZE, config, sample_generators(0, torch.arange(4))).cpu() for device in ("cpu", "cuda")
    ]
    assert torch.equal(*found)


def test_apply_mask_by_hand() -> None:
    image = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4).expand(1, 3, 4, 4)
    blank = torch.tensor([[[False, True], [False, False]]])
    masked = apply_mask(image, blank, fill=-2.0)
    assert masked[0, 2].tolist() == [[1, 2, -2, -2], [5, 6, -2, -2], [9, 10, 11, 12], [13, 14, 15, 16]]
    assert image[0, 0, 0, 2] == 3, "the whole image stays as it is"


def test_an_absent_rule_names_those_that_exist() -> None:
    with pytest.raises(UserError, match="block, pixel, released"):
        DROPOUTS.get("patch")
