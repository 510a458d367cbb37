"""The strategies on CARIS itself, at smoke size: 112 pixels, a deepest map of 7 x 7, blocks of 16."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from amlrepro.aml.presets import PRESETS, preset
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine.optim import build_optimizer
from amlrepro.models import build_model

TOKENIZER = Tokenizer("words", [*SPECIAL, *(f"word{i}" for i in range(35))])
SMALL = {
    "model.size": "smoke",
    "init.vision": "scratch",
    "init.text": "scratch",
    "data.vocabulary": "words",
    "data.image_size": 112,
    "data.max_tokens": 10,
    "afm.block": 16,
    "pmme.dim": 32,
}


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 40, (3, 10), generator=generator)
    lengths = torch.tensor([4, 7, 10])
    ids[:, 0] = 2
    ids[torch.arange(3), lengths - 1] = 3
    mask = (torch.arange(10) < lengths[:, None]).long()
    image = torch.randn(3, 3, 112, 112, generator=generator)
    target = (torch.rand(3, 112, 112, generator=generator) < 0.3).long()
    return Batch(image, ids * mask, mask, target, torch.arange(3), 0)


def counted(calls: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        return function(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("name", "vision", "text", "decoder"),
    [
        ("baseline", 1, 1, 1),
        ("random", 1, 1, 1),
        ("inferred", 2, 2, 1),
        ("literal", 2, 2, 1),
        ("released", 3, 3, 2),
        ("maskris", 2, 2, 2),
    ],
)
def test_one_update(monkeypatch: pytest.MonkeyPatch, name: str, vision: int, text: int, decoder: int) -> None:
    """Encoder and decoder calls as counted in the released code and in Algorithm 1; every parameter learns; the
    optimiser knows the model's parameters only.
    """
    assert {"baseline", "random", "inferred", "literal", "released", "maskris"} == set(PRESETS)
    torch.manual_seed(0)
    config = RunConfig().with_changes({**preset(name), **SMALL})
    model = build_model(config, 40).train()
    strategy = build_strategy(config, model, TOKENIZER)
    calls: Counter[str] = Counter()
    for method in ("encode_image", "encode_text", "segment"):
        monkeypatch.setattr(model, method, counted(calls, method, getattr(model, method)))
    loss = strategy.losses(model, batch())["loss"]
    loss.backward()
    assert calls == {"encode_image": vision, "encode_text": text, "segment": decoder}
    missing = {key for key, parameter in model.named_parameters() if parameter.grad is None}
    assert not missing
    known = {id(p) for group in build_optimizer(model, strategy, config.train).param_groups for p in group["params"]}
    assert known == {id(parameter) for parameter in model.parameters()}
    stats = strategy.pop_stats()
    assert 0 <= stats["masked_blocks"] <= 1
    if name == "random":
        assert stats["masked_blocks"] == pytest.approx(12 / 49)
    if name == "maskris":
        assert stats["masked_blocks"] == pytest.approx(1 - 12 / 49)
    if name == "literal":
        assert stats["fully_masked"] == 1, "four real tokens or more: S is about one over their number"


def test_widths_are_those_of_the_encoders() -> None:
    config = RunConfig().with_changes({**preset("inferred"), **SMALL})
    model = build_model(config, 40)
    state = build_strategy(config, model, TOKENIZER).state_dict()
    encoded = model.encode(batch().image, batch().input_ids, batch().attention_mask)
    assert state["pmme.projection.vision"].shape == (encoded.visual.levels[-1].shape[1], 32)
    assert state["pmme.projection.text"].shape == (encoded.textual.tokens.shape[-1], 32)
