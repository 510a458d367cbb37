"""Schedule against the values the official scheduler gave; groups and clipping against hand-worked numbers."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from amlrepro.config import TrainConfig
from amlrepro.engine.optim import build_optimizer, clip_gradients, lr_factor, set_rate
from amlrepro.models.contract import ParameterGroup, RISModel

# Observed by running the official CARIS code: T = 132,500, base rate 1e-4, warm-up 1500 from ratio 1e-3.
OFFICIAL = {
    0: 1.0e-4,
    1: 1.666e-7,
    750: 5.005e-5,
    1500: 1.0e-4,
    1501: 9.897987e-5,
    66250: 5.358867e-5,
    132499: 2.45e-9,
    132500: 0.0,
}


@pytest.mark.parametrize(("t", "rate"), OFFICIAL.items())
def test_schedule_has_the_official_values(t: int, rate: float) -> None:
    assert 1e-4 * lr_factor(t, 132_500, TrainConfig()) == pytest.approx(rate, rel=3e-3 if t == 132_499 else 1e-6)


def test_first_step_without_the_quirk_is_the_warm_up_ratio() -> None:
    assert lr_factor(0, 1000, TrainConfig(first_step_full=False)) == pytest.approx(1e-3)


def test_without_warm_up_the_decay_starts_at_once() -> None:
    plain = TrainConfig(warmup=0)
    assert [lr_factor(t, 10, plain) for t in (0, 1, 5)] == pytest.approx([1.0, 0.9**0.9, 0.5**0.9])


def test_step_schedule_drops_after_epochs_35_and_55() -> None:
    """DETRIS: a tenth after epochs 35 and 55, here of 60 epochs of 10 updates."""
    train = TrainConfig(schedule="step", warmup=0, horizon=60, drops=(35, 55))
    rates = [lr_factor(t, 600, train) for t in (0, 349, 350, 549, 550, 599)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_step_schedule_drops_after_updates() -> None:
    """ReLA counts its drops in updates."""
    train = TrainConfig(schedule="step", warmup=0, drops=(110, 140), drop_unit="update", drop_factor=0.5)
    assert [lr_factor(t, 150, train) for t in (109, 110, 140)] == pytest.approx([1, 0.5, 0.25])


def test_constant_schedule() -> None:
    train = TrainConfig(schedule="constant", warmup=4)
    assert [lr_factor(t, 10, train) for t in (2, 4, 9)] == pytest.approx([1 - 0.5 * 0.999, 1, 1])


class Groups(nn.Module):
    """One matrix and one norm in an encoder, one matrix elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.h = nn.Linear(2, 2, bias=False), nn.LayerNorm(2), nn.Linear(2, 1, bias=False)

    def parameter_groups(self) -> list[ParameterGroup]:
        def named(prefix: str) -> list[tuple[str, nn.Parameter]]:
            return [(n, p) for n, p in self.named_parameters() if n.startswith(prefix)]

        return [
            ParameterGroup("encoder", named("a"), "encoder", True),
            ParameterGroup("encoder, no decay", named("n"), "encoder", False),
            ParameterGroup("rest", named("h"), "rest", True),
        ]


def groups_model() -> RISModel:
    return cast(RISModel, Groups())


def test_groups_get_their_rates_and_decay() -> None:
    strategy = nn.Linear(1, 1)
    optimizer = build_optimizer(groups_model(), strategy, TrainConfig(lr=2e-4, encoder_lr=0.1, weight_decay=0.05))
    found = {g["name"]: (g["lr"], g["weight_decay"], g["param_names"]) for g in optimizer.param_groups}
    assert found == {
        "encoder": (pytest.approx(2e-5), 0.05, ["model.a.weight"]),
        "encoder, no decay": (pytest.approx(2e-5), 0.0, ["model.n.weight", "model.n.bias"]),
        "rest": (2e-4, 0.05, ["model.h.weight"]),
        "strategy": (2e-4, 0.05, ["strategy.weight", "strategy.bias"]),
    }
    assert set_rate(optimizer, 0.5) == pytest.approx(1e-4)
    set_rate(optimizer, 0.25)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([5e-6, 5e-6, 5e-5, 5e-5])


def test_a_strategy_without_parameters_adds_no_group() -> None:
    assert len(build_optimizer(groups_model(), nn.Module(), TrainConfig()).param_groups) == 3


def test_adamw_first_step_by_hand() -> None:
    """First AdamW step: p <- p (1 - lr decay) - lr g / (|g| + eps), since both moments are bias-corrected to g."""
    model = groups_model()
    optimizer = build_optimizer(model, nn.Module(), TrainConfig(lr=0.1, encoder_lr=0.1, weight_decay=0.5))
    h = dict(model.named_parameters())["h.weight"]
    before = h.detach().clone()
    for p in model.parameters():
        p.grad = torch.full_like(p, -3.0)
    optimizer.step()
    torch.testing.assert_close(h.detach(), before * (1 - 0.1 * 0.5) + 0.1)


def test_adam_decays_through_the_gradient() -> None:
    optimizer = build_optimizer(groups_model(), nn.Module(), TrainConfig(optimizer="adam"))
    assert type(optimizer) is torch.optim.Adam


@pytest.mark.parametrize("limit", [1.0, 100.0, None])
def test_clipping(limit: float | None) -> None:
    shapes: list[tuple[int, ...]] = [(2,), (1,)]
    parameters = [nn.Parameter(torch.zeros(s)) for s in shapes]
    for p, values in zip(parameters, ([3.0, 4.0], [12.0]), strict=True):
        p.grad = torch.tensor(values)
    optimizer: Any = SimpleNamespace(param_groups=[{"params": parameters}])
    assert float(clip_gradients(optimizer, limit)) == pytest.approx(13.0)
    total = math.sqrt(sum(float(p.grad.square().sum()) for p in parameters if p.grad is not None))
    assert total == pytest.approx(1.0 if limit == 1.0 else 13.0)
