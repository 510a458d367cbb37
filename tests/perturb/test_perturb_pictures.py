"""The seven perturbations: by hand on a few pixels, and to the bit against Pillow and torchvision."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torchvision.transforms import functional as tv

from amlrepro.perturb.draws import uniform
from amlrepro.perturb.pictures import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    grey_levels,
    perturb,
)
from amlrepro.perturb.specs import SEVEN, perturbation_spec

Picture = NDArray[np.uint8]
FACTORS = (0.0, 0.15, 0.45, 0.6, 1.0, 1.4, 1.5, 1.8, 2.6)


def noise(seed: int = 0, height: int = 60, width: int = 90) -> Picture:
    """A picture with broad areas, fine texture and pixels at both ends of the scale."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 10, width // 10, 3)).repeat(10, 0).repeat(10, 1)
    picture: Picture = np.clip(coarse + random.integers(-40, 41, (height, width, 3)), 0, 255).astype(np.uint8)
    return picture


def photographs(shared: Path, count: int = 4) -> list[Picture]:
    files = sorted((shared / "data" / "refcoco_mini" / "images").rglob("*.jpg"))[:count]
    assert len(files) == count
    return [np.asarray(Image.open(path).convert("RGB")) for path in files]


def pixels(*rows: Any) -> Picture:
    return np.array([rows], dtype=np.uint8)


def test_by_hand() -> None:
    picture = pixels((0, 100, 255), (200, 51, 3))
    # 0.5 x + 127.5, the fraction cut
    assert perturb(picture, "haze", None, 1).tolist() == [[[127, 177, 255], [227, 153, 129]]]
    assert perturb(picture, "highlight", None, 1).tolist() == [[[0, 150, 255], [255, 76, 4]]]
    # 45, 114.75; 90, 22.95, 1.35
    assert perturb(picture, "lowlight", None, 1).tolist() == [[[0, 45, 114], [90, 22, 1]]]
    # grey 0.299 r + 0.587 g + 0.114 b: 58.7 + 29.07 = 87.77 -> 88 and 59.8 + 29.94 + 0.34 = 90.08 -> 90; mean 89
    assert grey_levels(picture).tolist() == [[88, 90]]
    # 89 + 1.8 (x - 89): -71.2, 108.8, 387.8; 288.8, 20.6, -65.8
    assert perturb(picture, "contrast", None, 1).tolist() == [[[0, 108, 255], [255, 20, 0]]]


@pytest.mark.parametrize("factor", FACTORS)
def test_adjustments_equal_pillows_and_torchvisions_to_the_bit(factor: float) -> None:
    picture = noise()
    image = Image.fromarray(picture)
    for ours, pillow, vision in (
        (adjust_brightness, ImageEnhance.Brightness, tv.adjust_brightness),
        (adjust_contrast, ImageEnhance.Contrast, tv.adjust_contrast),
        (adjust_saturation, ImageEnhance.Color, tv.adjust_saturation),
    ):
        found = ours(picture, factor)
        assert np.array_equal(found, np.asarray(pillow(image).enhance(factor)))
        assert np.array_equal(found, np.asarray(vision(image, factor)))


def test_on_photographs_against_pillow(shared: Path) -> None:
    for picture in photographs(shared):
        image = Image.fromarray(picture)
        white = Image.new("RGB", image.size, (255, 255, 255))
        expected = {
            "haze": Image.blend(image, white, 0.5),
            "highlight": ImageEnhance.Brightness(image).enhance(1.5),
            "lowlight": ImageEnhance.Brightness(image).enhance(0.45),
            "contrast": ImageEnhance.Contrast(image).enhance(1.8),
        }
        for name, result in expected.items():
            assert np.array_equal(perturb(picture, name, None, 7), np.asarray(result)), name


def test_color_jitter_is_three_adjustments_with_factors_of_its_range() -> None:
    """The factors are not given away, so they are found again: from grey pictures, which saturation leaves alone."""
    found = []
    for image_id in range(300):
        black_and_grey = np.zeros((1, 4, 3), dtype=np.uint8)
        black_and_grey[0, 2:] = 100  # mean grey 50 b, so after contrast the two are at 50 b -+ 50 b c
        dark, *_, bright = perturb(black_and_grey, "color_jitter", None, image_id)[0, :, 0].astype(float)
        found.append((dark, bright))
    dark, bright = np.array(found).T
    clear = dark > 0  # contrast below 1 leaves black above 0: nothing was clipped
    assert clear.any()
    assert (~clear).any()
    brightness = (dark + bright)[clear] / 100
    contrast = ((bright - dark) / (bright + dark))[clear]
    assert brightness.min() < 0.65
    assert brightness.max() > 1.35
    assert (brightness > 0.58).all()
    assert (brightness < 1.42).all()
    assert contrast.min() < 0.65
    assert (contrast > 0.57).all()


def test_color_jitter_in_torchvisions_hands() -> None:
    """Brightness, contrast, saturation in this order."""
    picture = noise(3)
    image = Image.fromarray(picture)
    b, c, s = 0.6 + 0.8 * uniform("color_jitter", 42, None, 3)
    expected = tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(image, b), c), s)
    assert np.array_equal(perturb(picture, "color_jitter", None, 42), np.asarray(expected))
    other = tv.adjust_brightness(tv.adjust_contrast(tv.adjust_saturation(image, s), c), b)
    assert not np.array_equal(perturb(picture, "color_jitter", None, 42), np.asarray(other))


def changed_box(before: Picture, after: Picture) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero((before != after).any(-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (480, 640), (33, 33)])
def test_the_box_is_one_grey_square_of_a_fifth_of_the_shorter_side(height: int, width: int) -> None:
    before = np.full((height, width, 3), 10, dtype=np.uint8)
    side = round(0.2 * min(height, width))
    places = set()
    for image_id in range(40):
        after = perturb(before, "occlusion_box", None, image_id)
        top, bottom, left, right = changed_box(before, after)
        assert (bottom - top, right - left) == (side, side)
        assert (after[top:bottom, left:right] == 128).all()
        assert int((after != before).sum()) == 3 * side * side
        places.add((top, left))
    assert len(places) > 35
    assert max(top for top, _ in places) <= height - side


def test_every_place_of_the_box_is_equally_likely() -> None:
    before = np.zeros((10, 10, 3), dtype=np.uint8)  # side 2: tops 0 to 8
    tops = [changed_box(before, perturb(before, "occlusion_box", None, i))[0] for i in range(4500)]
    counts = np.bincount(tops, minlength=9)
    assert len(counts) == 9
    assert ((counts - 500) ** 2 / 500).sum() < 26.1  # chi-square with 8 degrees of freedom, 99.9 %


def test_patches_are_at_most_three_black_rectangles_within_their_sizes() -> None:
    before = np.full((200, 300, 3), 9, dtype=np.uint8)
    areas = []
    for image_id in range(60):
        black = (perturb(before, "patch_masking", None, image_id) == 0).all(-1)
        areas.append(black.mean())
        # the smallest rectangles are 20 x 30; three disjoint largest ones have 27 %
        assert 0.01 <= black.mean() <= 0.27
        assert black.any(1).sum() <= 3 * 60
        assert black.any(0).sum() <= 3 * 90
    # three of mean size 0.2 x 0.2 with some overlap
    assert 0.08 < np.mean(areas) < 0.12


@pytest.mark.parametrize("name", SEVEN)
def test_what_is_random_hangs_on_picture_name_and_severity_alone(name: str) -> None:
    picture = noise(1)
    untouched = picture.copy()
    first = perturb(picture, name, None, 123)
    np.random.seed(5)
    perturb(noise(2), "color_jitter", 4, 9)
    assert np.array_equal(first, perturb(picture, name, None, 123))
    assert np.array_equal(picture, untouched)
    assert (first.dtype.name, first.shape) == ("uint8", picture.shape)
    assert not np.array_equal(first, picture)
    # level 3 is the paper's own
    assert np.array_equal(first, perturb(picture, name, 3, 123))
    assert np.array_equal(first, perturb(picture, name, None, 124)) != perturbation_spec(name).random


def test_draws_of_different_perturbations_and_levels_are_unrelated() -> None:
    draws = [uniform(name, 123, level, 3) for name in SEVEN for level in (1, 3, 5)]
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_the_draws_stay_what_they_were() -> None:
    """Golden: a change would make new evaluations incomparable with old ones."""
    golden = [0.7806827783952776, 0.13171626334645758]
    assert uniform("occlusion_box", 123, None, 2).tolist() == golden


@pytest.mark.parametrize("name", SEVEN)
def test_severity_grows(name: str) -> None:
    """Mean absolute deviation from the picture over forty pictures."""
    originals = [noise(seed, 80, 100) for seed in range(40)]
    deviations = []
    for level in range(1, 6):
        changed = [perturb(picture, name, level, 1000 + i) for i, picture in enumerate(originals)]
        pairs = zip(originals, changed, strict=True)
        deviations.append(np.mean([np.abs(a.astype(int) - b.astype(int)).mean() for a, b in pairs]))
    assert all(weak < strong for weak, strong in itertools.pairwise(deviations)), deviations


def test_tiny_pictures_survive() -> None:
    for name in SEVEN:
        assert perturb(np.full((1, 1, 3), 200, dtype=np.uint8), name, None, 1).shape == (1, 1, 3)


def test_input_perturbations_are_none_of_pictures() -> None:
    with pytest.raises(ValueError, match="network's input"):
        perturb(noise(), "occlude_30", None, 1)
