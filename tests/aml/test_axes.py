"""Axes of an ablation: names, values, what is refused; each value of each can be trained."""

import subprocess
import sys

import pytest
import torch
from test_aml_caris import SMALL, TOKENIZER, batch

from amlrepro.aml.axes import AXES, axis, parse_value, parse_values
from amlrepro.aml.presets import preset
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models import build_model


def test_names() -> None:
    """Those of the task's list, in its order; case does not matter, and another name brings the nearest."""
    names = "tau rho da stage projection level block tokens normalize dropout preset"
    assert list(AXES) == names.split()
    assert axis("TAU") is AXES["tau"]
    with pytest.raises(UserError, match=r"unknown axis 'taw'(.|\n)*'tau'"):
        axis("taw")


@pytest.mark.parametrize(
    ("name", "text", "change"),
    [
        ("tau", "0.3", {"afm.tau": 0.3}),
        ("tau", " 1 ", {"afm.tau": 1.0}),
        ("tau", "0", {"afm.tau": 0.0}),
        ("rho", "1/6", {"afm.rho": 0.16666666666666666}),
        ("rho", "2.5e-1", {"afm.rho": 0.25}),
        ("da", "1024", {"pmme.dim": 1024}),
        ("block", "16", {"afm.block": 16}),
        ("stage", "pred", {"pmme.stage": "pred"}),
        ("projection", "learnable", {"pmme.projection": "learnable"}),
        ("level", "feature", {"afm.level": "feature"}),
        ("tokens", "words", {"pmme.tokens": "words"}),
        ("normalize", "l2", {"pmme.normalize": "l2"}),
        ("dropout", "pixel", {"afm.dropout": "pixel"}),
        ("preset", "literal", {"preset": "literal"}),
    ],
)
def test_values(name: str, text: str, change: dict[str, object]) -> None:
    found = parse_value(axis(name), text)
    assert found == change
    assert [type(value) for value in found.values()] == [type(value) for value in change.values()]
    if name != "preset":
        RunConfig().with_changes(found)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("tau", "1.1", "a number from 0 to 1"),
        ("tau", "-0.1", "a number from 0 to 1"),
        ("tau", "nan", "a number from 0 to 1"),
        ("rho", "inf", "a number from 0 to 1"),
        ("rho", "1/0", "a number from 0 to 1"),
        ("tau", "high", "a number from 0 to 1"),
        ("tau", "0,3x", "a number from 0 to 1"),
        ("da", "0", "a whole number of at least 1"),
        ("da", "1024.5", "a whole number of at least 1"),
        ("block", "-16", "a whole number of at least 1"),
        ("stage", "lat", "'late'"),
        ("projection", "gauss", "'gaussian'"),
        ("preset", "infered", "'inferred'"),
        ("tokens", "", "all, real, words"),
    ],
)
def test_wrong_values_are_refused_with_the_right_ones(name: str, text: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        parse_value(axis(name), text)
    assert says in error.value.message()
    if text:
        assert repr(text) in error.value.message() or text in error.value.message()


def test_lists() -> None:
    """Blanks and commas are one."""
    expected = [{"afm.tau": 0.2}, {"afm.tau": 0.3}, {"afm.tau": 0.4}]
    for texts in (["0.2", "0.3", "0.4"], ["0.2,0.3,0.4"], ["0.2,", "0.3,0.4"], ["0.2, 0.3, 0.4"]):
        assert parse_values(axis("tau"), texts) == expected
    assert parse_values(axis("tau"), ["0.3", "0.2", "0.30"]) == [{"afm.tau": 0.3}, {"afm.tau": 0.2}]
    with pytest.raises(UserError, match="no values"):
        parse_values(axis("tau"), [","])


VALUES = [
    *(("tau", value) for value in ("0", "0.2", "1")),
    *(("rho", value) for value in ("0", "1/6", "1")),
    *(("da", value) for value in ("1", "16")),
    *(("block", value) for value in ("8", "24")),
    *((name, choice) for name, found in AXES.items() for choice in found.choices if name != "preset"),
]


@pytest.mark.parametrize(("name", "text"), VALUES)
def test_every_value_trains(name: str, text: str) -> None:
    """Two updates of CARIS at smoke size on 48 x 48 pixels."""
    torch.manual_seed(0)
    changes = {**preset("inferred"), **SMALL, "data.image_size": 48, "afm.tau": 0.5, **parse_value(axis(name), text)}
    config = RunConfig().with_changes(changes)
    model = build_model(config, 40).train()
    strategy = build_strategy(config, model, TOKENIZER)
    optimizer = torch.optim.SGD([*model.parameters(), *strategy.parameters()], lr=1e-2)
    data = batch()
    data.image, data.target = data.image[..., :48, :48], data.target[..., :48, :48]
    for _ in range(2):
        loss = strategy.losses(model, data)["loss"]
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    stats = strategy.pop_stats()
    assert {"masked_blocks", "fully_masked", "untouched", "weak_blocks"} <= stats.keys()
    if (name, text) in {("tau", "0"), ("rho", "0")}:
        assert stats["masked_blocks"] == 0
    elif (name, text) == ("rho", "1"):
        assert stats["masked_blocks"] == stats["weak_blocks"] > 0


def test_blocks_that_do_not_divide_are_refused_with_the_picture() -> None:
    config = RunConfig().with_changes({**preset("inferred"), **SMALL, **parse_value(axis("block"), "17")})
    with pytest.raises(UserError, match="112 x 112"):
        build_strategy(config, build_model(config, 40), TOKENIZER)


def test_torch_is_not_imported() -> None:
    code = "import sys, amlrepro.aml.axes, amlrepro.aml.combinations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
