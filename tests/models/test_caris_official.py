"""Official checkpoints: names both ways, what is ignored, and every way in which a file can be wrong."""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from amlrepro.errors import UserError
from amlrepro.models import load_official
from amlrepro.models.caris.model import CARIS
from amlrepro.models.caris.official import official_name, our_name, to_official


@pytest.fixture(scope="module")
def official(shared: Path) -> dict[str, Tensor]:
    return dict(torch.load(shared / "parity/caris_micro_official_sd.pth", weights_only=True)["model"])


@pytest.fixture(scope="module")
def picture() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(1, 3, 224, 224), torch.randint(1, 128, (1, 20)), torch.ones(1, 20, dtype=torch.long)


def test_names_go_both_ways_for_all_full_size_keys(shared: Path) -> None:
    with gzip.open(shared / "parity/caris_base_keys.json.gz", "rt") as f:
        keys = [key for key, _, kind in json.load(f) if kind == "float" and not key.startswith("criterion.")]
    ours = [our_name(key) for key in keys]
    assert len(set(ours)) == len(keys) == 901
    assert [official_name(str(name)) for name in ours] == keys


def test_downsampling_moves_by_one_stage() -> None:
    official = "backbone.vis_encoder.layers.0.downsample.norm.weight"
    assert our_name(official) == "visual.swin.layers.1.downsample.norm.weight"
    assert (
        our_name("backbone.vis_encoder.layers.1.blocks.0.norm1.weight") == "visual.swin.layers.1.blocks.0.norm1.weight"
    )


def test_back_to_the_official_form_bit_for_bit(official: dict[str, Tensor]) -> None:
    model = load_official("caris", official)
    assert isinstance(model, CARIS)
    again = to_official(model)
    assert again.keys() == official.keys()
    assert all(torch.equal(again[key], official[key]) for key in official)


def test_what_official_files_carry_besides(
    official: dict[str, Tensor], tmp_path: Path, picture: tuple[Tensor, Tensor, Tensor]
) -> None:
    """The whole of an AMLRIS file: prefix, arguments, optimiser, projection of PMME, mask buffers, old position ids."""
    extra = {
        "aug.text_proj.weight": torch.zeros(128, 48),
        "aug.text_proj.bias": torch.zeros(128),
        "aug.fuse_gate.weight": torch.zeros(128, 128),
        "aug.fuse_gate.bias": torch.zeros(128),
        "criterion.ce_loss.weight": torch.tensor([0.5, 2.0]),
        "backbone.lang_encoder.embeddings.position_ids": torch.arange(32)[None],
    }
    loss_weight = "criterion.seg_criterion.weight"
    weights = {f"module.{key}": value for key, value in {**official, **extra}.items() if key != loss_weight}
    path = tmp_path / "model_best.pth"
    arguments = argparse.Namespace(swin_type="base", lr=1e-4)
    torch.save({"model": weights, "optimizer": {"state": {}}, "epoch": 3, "args": arguments}, path)
    model, plain = load_official("caris", path), load_official("caris", official)
    assert isinstance(model, CARIS)
    assert model.class_weights.tolist() == [0.5, 2.0]
    with torch.inference_mode():
        assert torch.equal(model(*picture).logits, plain(*picture).logits)


def test_missing_and_foreign_keys_are_named(official: dict[str, Tensor]) -> None:
    broken = dict(official)
    del broken["pixel_decoder.encoder.1.gamma_l2v"]
    broken["pixel_decoder.extra.weight"] = torch.zeros(1)
    broken["pixel_decoder.vis_prompts.weight"] = broken["pixel_decoder.vis_prompts.weight"][:, :16]
    with pytest.raises(UserError) as caught:
        load_official("caris", broken)
    message = str(caught.value)
    assert "1 missing: pixel_decoder.encoder.1.gamma_l2v" in message
    assert "1 unexpected: pixel_decoder.extra.weight" in message
    assert "pixel_decoder.vis_prompts.weight (5, 16) instead of (5, 32)" in message


def test_a_key_that_sizes_are_read_from_is_named_when_missing(official: dict[str, Tensor]) -> None:
    broken = {key: value for key, value in official.items() if key != "pixel_decoder.level_encoding.weight"}
    with pytest.raises(UserError, match=r"1 missing: pixel_decoder\.level_encoding\.weight"):
        load_official("caris", broken)


@pytest.mark.parametrize(("fixture", "name"), [("detris_base", "official DETRIS"), ("rela_base", "official ReLA")])
def test_a_checkpoint_of_another_model_is_recognised(shared: Path, fixture: str, name: str) -> None:
    with gzip.open(shared / f"parity/{fixture}_keys.json.gz", "rt") as f:
        weights = {key: torch.zeros(1) for key, _, _ in json.load(f)}
    with pytest.raises(UserError, match=name):
        load_official("caris", weights)


def test_an_unknown_checkpoint() -> None:
    with pytest.raises(UserError, match="no official CARIS checkpoint") as caught:
        load_official("caris", {"some.weight": torch.zeros(1)})
    assert "some.weight" in str(caught.value)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "was_here", tmp_path / "model.pth"
    torch.save({"model": Malicious(marker)}, path)
    with pytest.raises(UserError, match="asks to run code"):
        load_official("caris", path)
    path.write_bytes(pickle.dumps(Malicious(marker)))
    with pytest.raises(UserError):
        load_official("caris", path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torn_and_missing_files(shared: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"torn{suffix}"
    with pytest.raises(UserError, match="no such"):
        load_official("caris", path)
    path.write_bytes((shared / "parity/caris_micro_official_sd.pth").read_bytes()[:200_000])
    with pytest.raises(UserError, match="not a readable weight file"):
        load_official("caris", path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not a readable weight file"):
        load_official("caris", path)


def test_image_sizes_that_break_parity_are_refused(
    official: dict[str, Tensor], picture: tuple[Tensor, Tensor, Tensor]
) -> None:
    with pytest.raises(UserError, match="multiple of 224"):
        load_official("caris", official, image_size=384)
    model = load_official("caris", official, image_size=672)
    image, ids, mask = picture
    with pytest.raises(UserError, match="multiples of 224"):
        model(torch.zeros(1, 3, 224, 320), ids, mask)
    assert model(image, ids, mask).logits.shape == (1, 2, 56, 56)
