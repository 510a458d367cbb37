"""PMME against hand-worked values, plain loops, the released module's output and published simulations."""

import math
from pathlib import Path

import pytest
import torch

from amlrepro.aml.pmme import PMME, TokenChoice, attention, select_tokens
from amlrepro.aml.projection import GaussianPair, Projection, TextLinear, build_projection
from amlrepro.sections import PMMEConfig


class Identity(Projection):
    def forward(self, vision: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return vision, text


def test_by_hand() -> None:
    """v = (3, 4); tokens (1, 0), (0, 1), (9, 9): logits 3, 4, 63, the last not selected."""
    vision = torch.tensor([[[3.0, 4.0]]])
    text = torch.tensor([[[1.0, 0], [0, 1], [9, 9]]])
    selected = torch.tensor([[True, True, False]])
    plain = PMME(Identity(), l2=False)(vision, text, selected)
    assert plain.item() == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    assert PMME(Identity(), l2=False, scale=2.0)(vision, text, selected).item() == pytest.approx(
        1 / (1 + math.exp(-2)), abs=1e-6
    )
    # l2: v = (0.6, 0.8), tokens of length one
    assert PMME(Identity(), l2=True)(vision, 7 * text, selected).item() == pytest.approx(
        1 / (1 + math.exp(-0.2)), abs=1e-6
    )


def test_against_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    vision, text = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 3, 6, generator=generator)
    selected = torch.tensor([[True, True, True], [True, False, True]])
    projection = GaussianPair(4, 6, 7, generator)
    result = PMME(projection, l2=True, scale=3.0)(vision, text, selected)
    w_i, w_t = projection.vision.tolist(), projection.text.tolist()

    def project(row: list[float], matrix: list[list[float]]) -> list[float]:
        norm = math.sqrt(sum(x * x for x in row))
        return [sum(x / norm * matrix[i][d] for i, x in enumerate(row)) for d in range(7)]

    for b in range(2):
        for m in range(5):
            v = project(vision[b, m].tolist(), w_i)
            weights = []
            for n in range(3):
                if selected[b, n]:
                    t = project(text[b, n].tolist(), w_t)
                    weights.append(math.exp(3.0 * sum(x * y for x, y in zip(v, t, strict=True))))
            assert result[b, m].item() == pytest.approx(max(weights) / sum(weights), abs=1e-5)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("all", ["111111", "111111", "111111", "111111"]),
        ("real", ["111100", "111111", "111111", "110000"]),
        ("words", ["011000", "011111", "011110", "110000"]),
    ],
)
def test_token_choice(choice: TokenChoice, expected: list[str]) -> None:
    """A short sentence; one cut at six tokens; one that just fits; an empty one (marks only)."""
    ids = torch.tensor(
        [
            [101, 7, 8, 102, 0, 0],
            [101, 7, 8, 9, 10, 11],
            [101, 7, 102, 9, 10, 102],
            [101, 102, 0, 0, 0, 0],
        ]
    )
    mask = (ids != 0).long()
    chosen = select_tokens(choice, mask, ids, end_mark=102)
    assert ["".join("01"[int(x)] for x in row) for row in chosen.tolist()] == expected


def test_released_module(shared: Path) -> None:
    golden = torch.load(shared / "parity" / "aml_released_golden.pt", weights_only=True)["pmme"]
    vision = golden["vis"].flatten(2).transpose(1, 2)
    projection = TextLinear(128, 48, torch.Generator())
    weights = golden["weights"]
    projection.load_state_dict({"weight": weights["text_proj.weight"], "bias": weights["text_proj.bias"]})
    everything = torch.ones(golden["text"].shape[:2], dtype=torch.bool)
    found = attention(*projection(vision, golden["text"]), everything)
    torch.testing.assert_close(found, golden["attention"], rtol=1e-4, atol=1e-6)
    similarity = PMME(projection, l2=False)(vision, golden["text"], everything)
    torch.testing.assert_close(similarity, golden["S"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "mean", "largest"), [(1, 1.0, 1.0), (2, 0.506, 0.532), (5, 0.205, 0.215), (20, 0.052, 0.055)]
)
def test_as_written_is_flat(tokens: int, mean: float, largest: float) -> None:
    """Eqs. 3 to 7 with D_a 2048 and random directions: means and maxima as measured over 64 x 196 values."""
    generator = torch.Generator().manual_seed(tokens)
    vision, text = torch.randn(6, 196, 1024, generator=generator), torch.randn(6, tokens, 768, generator=generator)
    pmme = PMME(build_projection(1024, 768, PMMEConfig(dim=2048), seed=0), l2=True)
    similarity = pmme(vision, text, torch.ones(6, tokens, dtype=torch.bool))
    assert similarity.mean().item() == pytest.approx(mean, abs=0.001)
    assert similarity.max().item() == pytest.approx(largest, rel=0.02)
    assert similarity.min().item() >= 1 / tokens - 1e-6
    assert (similarity - 1 / tokens).abs().max().item() <= 0.1 / tokens


def test_float32_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    vision, text = 8 * torch.randn(1, 9, 16, generator=generator), torch.randn(1, 4, 12, generator=generator)
    pmme = PMME(build_projection(16, 12, PMMEConfig(dim=32), seed=0), l2=False)
    selected = torch.ones(1, 4, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = pmme(vision, text, selected)
        half = pmme(vision.bfloat16(), text.bfloat16(), selected)
    assert inside.dtype == half.dtype == torch.float32
    assert torch.equal(inside, pmme(vision, text, selected))
