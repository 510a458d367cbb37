"""Perturbed evaluations: pictures by hand from the files, masks and samples as ever."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from tiny_refer import make_refer, tiny_config
from torchvision.transforms import functional as tv

from amlrepro.config import EvalConfig
from amlrepro.data.batch import EvalBatch
from amlrepro.data.loader import EvaluationData, open_evaluation
from amlrepro.data.tokens import Tokenizer
from amlrepro.errors import UserError
from amlrepro.models.caris.spec import SPEC as CARIS
from amlrepro.models.detris.spec import SPEC as DETRIS
from amlrepro.models.geometry import fit_aspect, warp_image
from amlrepro.models.spec import Protocol
from amlrepro.perturb.pictures import perturb
from amlrepro.perturb.specs import PERTURBATIONS

SIZE = 112


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_refer(tmp_path_factory.mktemp("refer") / "data", train=1, val=4)


def opened(
    root: Path, name: str | None, severity: int | None = None, protocol: Protocol = CARIS.protocol, **changes: Any
) -> EvaluationData:
    evaluation = EvalConfig(dataset="refcoco", split="val", perturbation=name, severity=severity)
    tokenizer = Tokenizer.words(["the box on left right red green blue yellow"])
    return open_evaluation(tiny_config(root, **changes), evaluation, tokenizer, protocol)


def images(data: EvaluationData) -> dict[int, torch.Tensor]:
    """Input [3, H, W] by image id."""
    out = {}
    for batch in data.batches():
        for row, (_, _, image_id, _, _) in zip(batch.image_index.tolist(), batch.ids, strict=True):
            out[image_id] = batch.image[row]
    return out


def picture(root: Path, image_id: int) -> Image.Image:
    return Image.open(root / "train2014" / f"COCO_train2014_{image_id:012d}.jpg").convert("RGB")


def test_pictures_are_perturbed_before_resizing(root: Path) -> None:
    for image_id, image in images(opened(root, "contrast")).items():
        changed = ImageEnhance.Contrast(picture(root, image_id)).enhance(1.8)
        small = tv.to_tensor(changed.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        assert torch.equal(image, tv.normalize(small, CARIS.protocol.mean, CARIS.protocol.std))


@pytest.mark.parametrize("name", ["highlight", "patch_masking"])
def test_the_affine_input_is_perturbed_before_it_is_warped(root: Path, name: str) -> None:
    protocol = DETRIS.protocol
    for image_id, image in images(opened(root, name, protocol=protocol)).items():
        original = np.asarray(picture(root, image_id))
        fit = fit_aspect(original.shape[:2], (SIZE, SIZE))
        warped: NDArray[np.uint8] = warp_image(perturb(original, name, None, image_id), fit, protocol.border)
        expected = tv.normalize(tv.to_tensor(warped.copy()), protocol.mean, protocol.std)
        assert torch.allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("protocol", [CARIS.protocol, DETRIS.protocol], ids=["stretch", "affine"])
@pytest.mark.parametrize(("name", "blocks"), [("occlude_30", 15), ("occlude_50", 24)])
def test_occlusion_zeroes_blocks_of_the_normalised_input(
    root: Path, name: str, blocks: int, protocol: Protocol
) -> None:
    clean = images(opened(root, None, protocol=protocol))
    for image_id, image in images(opened(root, name, protocol=protocol)).items():
        hidden = (image == 0).all(0)
        assert int(hidden.sum()) == blocks * 16 * 16
        assert torch.equal(image[:, ~hidden], clean[image_id][:, ~hidden])
        assert not (clean[image_id] == 0).all(0).any()


def test_only_the_pictures_change(root: Path) -> None:
    clean = list(opened(root, None).batches())
    for name in PERTURBATIONS:
        for before, after in zip(clean, opened(root, name).batches(), strict=True):
            for field in fields(EvalBatch):
                one, two = getattr(before, field.name), getattr(after, field.name)
                same = torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two
                assert same == (field.name != "image"), (name, field.name)


def test_all_perturbations_share_the_cache_with_clean_pictures(root: Path) -> None:
    asked = [(None, None), *((name, None) for name in PERTURBATIONS), ("haze", 1), ("haze", 5), (None, None)]
    first = [images(opened(root, *pair)) for pair in asked]
    again = [images(opened(root, *pair)) for pair in reversed(asked)][::-1]
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(one[i], two[i]) for i in one)
    different = {image[min(image)].numpy().tobytes() for image in first}
    assert len(different) == len(asked) - 1


@pytest.mark.parametrize("name", ["occlusion_box", "patch_masking", "color_jitter", "occlude_30"])
def test_order_batches_and_workers_do_not_matter(root: Path, name: str) -> None:
    data = opened(root, name)
    expected = images(data)
    turned = replace(data, samples=list(reversed(data.samples)), batch=1, workers=2)
    found = images(turned)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[i], found[i]) for i in expected)


def test_an_image_is_still_in_a_batch_once(root: Path) -> None:
    data = replace(opened(root, "color_jitter"), batch=100)
    (batch,) = data.batches()
    assert len(batch.image) == 4
    assert len(batch.ids) == 16


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [("haz", None, "did you mean 'haze'"), ("occlude_50", 1, "one strength only"), (None, 1, "needs a perturbation")],
)
def test_wrong_perturbations_are_refused_before_any_batch(
    root: Path, name: str | None, severity: int | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(root, name, severity)
