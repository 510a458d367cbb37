"""Schedule against the values the official scheduler gave; groups and clipping against hand-worked numbers."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from amlrepro.engine.optim import build_optimizer, clip_gradients, lr_factor, set_rate
from amlrepro.models.contract import ParameterGroup, RISModel
from amlrepro.models.detris.spec import SPEC as DETRIS
from amlrepro.models.rela.spec import SPEC as RELA
from amlrepro.schema import parse_strict
from amlrepro.sections import TrainConfig

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


def multi_step(milestones: list[int], wanted: list[int]) -> list[float]:
    """Rates that torch's own scheduler gives when its counter stands at each of `wanted`, from 1e-4."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    rates = {}
    for count in range(max(wanted) + 1):
        rates[count] = float(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [rates[count] for count in wanted]


def test_detris_drops_after_epochs() -> None:
    """Its code steps torch's scheduler once an epoch: 35 epochs at 1e-4, 20 at 1e-5, then 1e-6. 42,404 objects in
    batches of 32 are 1,325 updates an epoch."""
    train = parse_strict(TrainConfig, DETRIS.train_presets["detris_official"], "test")
    assert (train.horizon, train.optimizer, train.weight_decay, train.clip) == (65, "adam", 0.0, None)
    updates = 42_404 // 32
    epochs = [0, 1, 34, 35, 54, 55, 64]
    expected = multi_step([35, 55], epochs)
    for within in (0, 1, updates - 1):
        found = [train.lr * lr_factor(epoch * updates + within, 65 * updates, train) for epoch in epochs]
        assert found == pytest.approx(expected)
    paper = parse_strict(TrainConfig, DETRIS.train, "test")
    assert paper.lr * lr_factor(50 * 2650 - 1, 50 * 2650, paper) == pytest.approx(1e-5)  # the second drop never comes


def test_rela_drops_after_updates() -> None:
    """1e-5 for 110,000 updates, 1e-6 up to 140,000, then 1e-7 to 150,000; no warm-up."""
    train = parse_strict(TrainConfig, RELA.train_presets["rela_official"], "test")
    assert (train.optimizer, train.weight_decay, train.clip, train.batch) == ("adamw", 0.05, 0.01, 48)
    assert train.epoch_refs == 5_000 * 48
    updates = [0, 1, 9, 109_999, 110_000, 139_999, 140_000, 149_999]
    found = [train.lr * lr_factor(t, 150_000, train) for t in updates]
    assert found == pytest.approx([1e-5, 1e-5, 1e-5, 1e-5, 1e-6, 1e-6, 1e-7, 1e-7])


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
