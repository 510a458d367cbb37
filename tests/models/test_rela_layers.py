"""ReLA's parts against the formulas written out, and against the order in which the official code computes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amlrepro.errors import UserError
from amlrepro.models.backbones.swin import load_swin
from amlrepro.models.backbones.swin_stages import SwinStages, blocks_padding_first
from amlrepro.models.rela.regions import RegionDecoder
from amlrepro.models.rela.spec import SIZES, RelaOptions
from amlrepro.models.rela.vision import WordFusion, gate

MICRO = RelaOptions(**SIZES["micro"])


def randomize(module: torch.nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def test_word_fusion_by_the_formula() -> None:
    """One head; the second sentence has two padding words, which change nothing."""
    torch.manual_seed(0)
    fusion = WordFusion(6, 5)
    x, words = torch.randn(2, 6, 9), torch.randn(2, 5, 4)
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])

    def norm(z: Tensor) -> Tensor:
        return (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()

    def linear(layer: torch.nn.Conv1d, z: Tensor) -> Tensor:
        assert layer.bias is not None
        return layer.weight[:, :, 0] @ z + layer.bias[:, None]

    got = fusion(x, words, mask[:, None])
    for b, real in ((0, 4), (1, 2)):
        spoken = words[b, :, :real]
        q, k, u = norm(linear(fusion.query, x[b])), linear(fusion.key, spoken), linear(fusion.value, spoken)
        attention = torch.softmax(q.T @ k / 6**0.5, -1)
        language = norm(linear(fusion.out, u @ attention.T))
        wanted = F.gelu(linear(fusion.merge, F.gelu(linear(fusion.visual, x[b])) * language))
        torch.testing.assert_close(got[b], wanted, rtol=1e-5, atol=1e-5)


def test_a_fresh_gate_never_learns() -> None:
    """Both layers at zero: the gradient of each is a product with the other, so words never enter the next stage."""
    fresh = gate(4)
    x = torch.randn(3, 4)
    ((x + fresh(x) * x) ** 2).sum().backward()
    assert all(float(p.grad.abs().max()) == 0 for p in fresh.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in fresh.parameters()) == 2


def stages(image_size: int) -> SwinStages:
    torch.manual_seed(0)
    return SwinStages(MICRO, image_size).eval()


def test_blocks_are_timms_where_the_window_divides_the_map() -> None:
    swin = stages(96).swin
    x = torch.randn(1, 24, 24, 16)
    with torch.no_grad():
        torch.testing.assert_close(blocks_padding_first(swin.layers[0], x), swin.layers[0](x), rtol=0, atol=1e-6)


def test_shifted_block_pads_before_it_shifts() -> None:
    """Window 3 on a 4 x 4 map is padded to 6 x 6 and shifted by 1, by loops over windows and positions."""
    block = stages(16).swin.layers[0].blocks[1]
    heads, width = block.attn.num_heads, 16
    x = torch.randn(1, 4, 4, width)
    padded = torch.zeros(6, 6, width)
    with torch.no_grad():
        padded[:4, :4] = block.norm1(x)[0]
        read = torch.zeros(6, 6, width)
        table = block.attn.relative_position_bias_table

        def part(i: int) -> int:
            return 0 if i < 3 else 1 if i < 5 else 2

        for top in (0, 3):
            for left in (0, 3):
                cells = [(top + i, left + j) for i in range(3) for j in range(3)]  # after the shift
                sources = [((i + 1) % 6, (j + 1) % 6) for i, j in cells]
                tokens = torch.stack([padded[s] for s in sources])
                q, k, v = block.attn.qkv(tokens).view(9, 3, heads, -1).unbind(1)
                for a, (ia, ja) in enumerate(cells):
                    scores = (k * q[a]).sum(-1) / (width // heads) ** 0.5
                    for b, (ib, jb) in enumerate(cells):
                        scores[b] += table[(ia - ib + 2) * 5 + ja - jb + 2]
                        if (part(ia), part(ja)) != (part(ib), part(jb)):
                            scores[b] -= 100.0
                    out = (scores.softmax(0)[..., None] * v).sum(0).flatten()
                    read[sources[a]] = block.attn.proj(out)
        wanted = x + read[None, :4, :4]
        wanted = wanted + block.mlp(block.norm2(wanted))
        layer = torch.nn.Module()
        layer.blocks = torch.nn.ModuleList([block])
        torch.testing.assert_close(blocks_padding_first(layer, x), wanted, rtol=1e-5, atol=1e-5)


def decoder_inputs() -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, 32, n, n, generator=generator) for n in (3, 6, 12)]
    features = torch.randn(2, 32, 24, 24, generator=generator)
    return maps, features, torch.randn(2, 5, 48, generator=generator)


@pytest.fixture
def regions() -> RegionDecoder:
    decoder = RegionDecoder(MICRO).eval()
    randomize(decoder)
    return decoder


def test_hidden_positions_are_where_the_resized_mask_is_below_one_half(regions: RegionDecoder) -> None:
    """Officially the masks of all regions are made, then resized; here the features are."""
    maps, features, _ = decoder_inputs()
    x = torch.randn(2, 16, 32)
    for values in maps:
        small = F.interpolate(features, size=values.shape[-2:], mode="bilinear", align_corners=False)
        with torch.no_grad():
            masks = torch.einsum("bqc,bchw->bqhw", regions.mask(regions.norm(x)), features)
        resized = F.interpolate(masks, size=values.shape[-2:], mode="bilinear", align_corners=False).flatten(2)
        wanted = resized.sigmoid() < 0.5
        wanted[wanted.all(-1)] = False
        got = regions.hidden(x, small)
        assert got.shape == (2 * MICRO.decoder_heads, 16, values.shape[-1] ** 2)
        for head in range(MICRO.decoder_heads):
            assert torch.equal(got[head :: MICRO.decoder_heads], wanted)


def test_a_region_that_would_see_nothing_sees_everything(regions: RegionDecoder) -> None:
    x = torch.randn(1, 2, 32)
    kernels = regions.mask(regions.norm(x)).detach()
    against_first = -kernels[:, 0, :, None, None].expand(1, 32, 3, 3)
    hidden = regions.hidden(x, against_first)
    assert not hidden[:, 0].any()
    maps, _, words = decoder_inputs()
    with torch.no_grad():
        weight, bias = regions.mask[4].parameters()
        weight.zero_()
        bias.fill_(1.0)
        output = regions(maps, -torch.ones(2, 32, 24, 24), words)
    assert all(bool(part.isfinite().all()) for part in output)


def test_target_mask_is_the_weighted_sum_of_region_masks(regions: RegionDecoder) -> None:
    """And the no-target logits the mean over regions; read from the last layer's regions."""
    maps, features, words = decoder_inputs()
    last: list[Tensor] = []
    hook = regions.get_submodule(f"layers.{MICRO.layers - 1}.ffn_norm").register_forward_hook(
        lambda _m, _i, out: last.append(out)
    )
    with torch.no_grad():
        logits, minimap, no_target = regions(maps, features, words)
        hook.remove()
        r = regions.norm(last[0])
        masks = torch.einsum("bqc,bchw->bqhw", regions.mask(r), features)
        wanted = sum(minimap[:, q, :, None, None] * masks[:, q, None] for q in range(16))
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(minimap, r @ regions.minimap.weight.T + regions.minimap.bias)
        mean = sum(regions.no_target(r[:, q]) for q in range(16)) / 16
        torch.testing.assert_close(no_target, mean)


def test_words_enter_in_the_first_layer_only_padding_too(regions: RegionDecoder) -> None:
    maps, features, words = decoder_inputs()
    calls: list[Tensor] = []
    hook = regions.lang_attn.attn.register_forward_hook(lambda _m, args, _o: calls.append(args[1]))
    with torch.no_grad():
        one = regions(maps, features, words)[0]
        words[0, -1] += 1.0
        other = regions(maps, features, words)[0]
    hook.remove()
    assert [call.shape[1] for call in calls] == [5, 5]
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_swin_weights_of_another_window_are_refused() -> None:
    wide = RelaOptions(**{**SIZES["micro"], "window": 2})
    foreign = SwinStages(wide, 96).swin.state_dict()
    with pytest.raises(UserError, match="another window") as caught:
        load_swin(stages(96).swin, foreign, resize_tables=False)
    assert "window 2" in str(caught.value)
    assert "window 3" in str(caught.value)
    load_swin(stages(96).swin, foreign)
