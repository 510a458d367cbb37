"""DETRIS's layers, each against a plain loop, a formula, or another library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.detris.adapters import DenseAligner, DenseBranches, TextAdapter
from amlrepro.models.detris.decoder import ChannelGate, Head, grid_positions, positions
from amlrepro.models.detris.encoders import TextEncoder, VisionEncoder, resize_position
from amlrepro.models.detris.pretrained import load_clip, load_dinov2
from amlrepro.models.detris.spec import SIZES, DetrisOptions

MICRO = DetrisOptions(**SIZES["micro"])


def randomised(module: nn.Module, seed: int = 0) -> Any:
    """The module in evaluation mode with every parameter random, so that a wrong order shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module.eval()


def test_position_resize_by_plain_loop() -> None:
    """Rows sampled at (i + 0.5) * 37 / 32.1 - 0.5 with the cubic kernel a = -0.75 and edges repeated."""
    side, new = 37, 32
    table = torch.randn(1, side * side, 2, generator=torch.Generator().manual_seed(0))
    a = -0.75

    def kernel(d: float) -> float:
        d = abs(d)
        if d < 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    weights = np.zeros((new, side))
    for i in range(new):
        place = (i + 0.5) * side / (new + 0.1) - 0.5
        for tap in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[i, min(max(tap, 0), side - 1)] += kernel(place - tap)
    square = table[0].reshape(side, side, 2).numpy()
    wanted = np.einsum("ir,jc,rcd->ijd", weights, weights, square).reshape(1, new * new, 2)
    np.testing.assert_allclose(resize_position(table, side, (new, new)).numpy(), wanted, atol=2e-5)
    assert resize_position(table, side, (side, side)) is table


def test_vision_is_dinov2_of_transformers() -> None:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=48, num_hidden_layers=4, num_attention_heads=3, image_size=70, patch_size=14, num_register_tokens=4
    )
    reference = randomised(Dinov2WithRegistersModel(config))
    ours = randomised(VisionEncoder(MICRO), seed=1)
    load_dinov2(ours, reference.state_dict())
    image = torch.randn(2, 3, 70, 70)
    with torch.no_grad():
        out = reference(image, output_hidden_states=True)
        maps = ours(image, None)
    hidden = [out.hidden_states[2], out.hidden_states[3], out.last_hidden_state]
    for got, tokens in zip(maps, hidden, strict=True):
        wanted = tokens[:, 5:].transpose(1, 2).reshape(2, 48, 5, 5)
        torch.testing.assert_close(got, wanted, atol=2e-5, rtol=2e-5)


def test_vision_takes_timm_weights() -> None:
    """timm folds the class row of the position table into the class token."""
    import timm

    reference = timm.create_model(
        "vit_base_patch14_reg4_dinov2", num_classes=0, embed_dim=48, depth=4, num_heads=3, img_size=70
    )
    randomised(reference)
    ours = randomised(VisionEncoder(MICRO), seed=1)
    load_dinov2(ours, reference.state_dict())
    image = torch.randn(2, 3, 70, 70)
    with torch.no_grad():
        wanted = reference.forward_features(image)[:, 5:].transpose(1, 2).reshape(2, 48, 5, 5)
        torch.testing.assert_close(ours(image, None)[-1], wanted, atol=2e-5, rtol=2e-5)


def test_dinov2_original_layout_and_misfits() -> None:
    from amlrepro.models.detris.model import DETRIS
    from amlrepro.models.detris.official import to_official

    official = to_official(randomised(DETRIS(MICRO, 64)))
    original = {
        k.removeprefix("dinov2."): v for k, v in official.items() if k.startswith("dinov2.") and ".adapter." not in k
    }
    ours = randomised(VisionEncoder(MICRO), seed=1)
    before = {k: v.clone() for k, v in ours.state_dict().items() if k.startswith("aligners.")}
    load_dinov2(ours, original)
    assert torch.equal(ours.blocks[3].attn.qkv.weight, official["dinov2.blocks.3.attn.qkv.weight"])
    assert all(torch.equal(ours.state_dict()[k], v) for k, v in before.items())
    with pytest.raises(UserError, match="norm2"):
        load_dinov2(ours, {k: v for k, v in original.items() if k != "blocks.2.norm2.weight"})


def clip_ids() -> Tensor:
    ids = torch.zeros(2, 9, dtype=torch.int64)
    ids[0, :5] = torch.tensor([62, 7, 8, 9, 63])
    ids[1] = torch.tensor([62, 3, 4, 5, 6, 7, 8, 2, 63])
    return ids


def test_text_is_clip_of_transformers() -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=128, projection_dim=32, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=24, hidden_act="quick_gelu", eos_token_id=63, bos_token_id=62,
    )  # fmt: skip
    reference = randomised(CLIPTextModelWithProjection(config))
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.copy_(parameter.half().float())
    ours = randomised(TextEncoder(MICRO, 64), seed=1)
    load_clip(ours, {k: v for k, v in reference.state_dict().items() if not k.endswith("position_ids")})
    ids = clip_ids()
    with torch.no_grad():
        out = reference(input_ids=ids)
        tokens, state = ours(ids, (ids > 0).long(), adapters=False)
    torch.testing.assert_close(tokens, out.last_hidden_state, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(state, out.text_embeds, atol=2e-5, rtol=2e-5)


def test_text_takes_openai_names() -> None:
    """open_clip keeps OpenAI's layout; its own text tower gives the same states."""
    open_clip = pytest.importorskip("open_clip")
    reference = randomised(
        open_clip.CLIP(
            embed_dim=32,
            vision_cfg={"layers": 1, "width": 64, "patch_size": 16, "image_size": 32},
            text_cfg={"context_length": 24, "vocab_size": 64, "width": 32, "heads": 4, "layers": 3},
            quick_gelu=True,
        )
    )
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.copy_(parameter.half().float())
    ours = randomised(TextEncoder(MICRO, 64), seed=1)
    load_clip(ours, {k: v for k, v in reference.state_dict().items() if k != "attn_mask"})
    ids = torch.zeros(2, 24, dtype=torch.int64)
    ids[:, :9] = clip_ids()
    with torch.no_grad():
        torch.testing.assert_close(
            ours(ids, (ids > 0).long(), adapters=False)[1], reference.encode_text(ids), atol=2e-5, rtol=2e-5
        )


def test_end_token_largest_or_last() -> None:
    """With CLIP's ids both rules find the end token; in a vocabulary whose end id is small only `last` does."""
    ids = clip_ids()
    mask = (ids > 0).long()
    largest = randomised(TextEncoder(MICRO, 64))
    last = randomised(TextEncoder(MICRO.model_copy(update={"end_token": "last"}), 64))
    with torch.no_grad():
        torch.testing.assert_close(largest(ids, mask)[1], last(ids, mask)[1])
        tokens, state = last(torch.tensor([[5, 60, 3, 0]]), torch.tensor([[1, 1, 1, 0]]))
        torch.testing.assert_close(state, last.clip.text_projection(tokens[:, 2]))


def test_branches_by_hand() -> None:
    """Branch 2 reads input and branch 1, branch 3 reads all; kernels 1, 3, 5 over zero-padded neighbours."""
    branches = randomised(DenseBranches(16, dims=1))
    for module in branches.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.fill_(0.1)
            module.running_var.fill_(0.5)
    s = torch.randn(1, 16, 6)

    def block(x: Tensor, layer: Any, kernel: int) -> Tensor:
        padded = nn.functional.pad(x, (kernel // 2, kernel // 2))
        out = sum(
            torch.einsum("oc,bct->bot", layer.conv.weight[:, :, k], padded[:, :, k : k + x.shape[2]])
            for k in range(kernel)
        )
        out = out + layer.conv.bias[:, None]
        normed = (out - 0.1) / math.sqrt(0.5 + 1e-3) * layer.bn.weight[:, None] + layer.bn.bias[:, None]
        return normed.clamp(min=0)

    with torch.no_grad():
        y1 = block(s, branches.branch1, 1)
        y2 = block(block(torch.cat([s, y1], 1), branches.branch2[0], 1), branches.branch2[1], 3)
        y3 = block(block(torch.cat([s, y1, y2], 1), branches.branch3[0], 1), branches.branch3[1], 5)
        assert (y1.shape[1], y2.shape[1], y3.shape[1]) == (8, 4, 4)
        torch.testing.assert_close(branches(s), torch.cat([y1, y2, y3], 1), atol=1e-5, rtol=1e-5)


def test_start_token_and_prefix_are_doubled() -> None:
    """They pass the branches by: 2 z before the last linear (official code)."""
    adapter = randomised(TextAdapter(32, 16))
    x = torch.randn(2, 5, 32)
    with torch.no_grad():
        torch.testing.assert_close(adapter(x)[:, 0], adapter.up(2 * adapter.down(x[:, 0]).relu()))
        aligner = randomised(DenseAligner(48, 16, 32, 2, 0.1, prefix_tokens=5))
        tokens, text = torch.randn(2, 5 + 6, 48), torch.randn(2, 4, 32)
        wanted = aligner.up(2 * aligner.down(tokens[:, :5]).relu())
        torch.testing.assert_close(aligner(tokens, text, (2, 3))[:, :5], wanted)


def test_channel_gate_is_attention_to_one_key() -> None:
    gate = randomised(ChannelGate(16, 4))
    x, text = torch.randn(2, 16, 3, 5), torch.randn(2, 16)
    queries = x.flatten(2).permute(2, 0, 1)
    with torch.no_grad():
        read = gate.attn(queries, text[None], text[None])[0]
        wanted = (queries * read).permute(1, 2, 0).reshape(x.shape)
        torch.testing.assert_close(gate(x, text), wanted)


def test_position_codes_by_formula() -> None:
    code = positions(5, 8, torch.device("cpu"))
    for p in range(5):
        for j in range(4):
            angle = p * math.exp(-math.log(10000) * 2 * j / 8)
            assert float(code[p, 2 * j]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(code[p, 2 * j + 1]) == pytest.approx(math.cos(angle), abs=1e-6)
    grid = grid_positions(2, 3, 16, torch.device("cpu")).reshape(2, 3, 16)
    assert torch.equal(grid[1, 2, :8], code[2])
    assert torch.equal(grid[1, 2, 8:], code[1])


def test_head_gives_each_sample_its_own_kernel() -> None:
    head = randomised(Head(MICRO))
    x, state = torch.randn(3, 32, 4, 5), torch.randn(3, 32)
    with torch.no_grad():
        together = head(x, state)
        apart = torch.cat([head(x[i : i + 1], state[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 1, 16, 20)
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
