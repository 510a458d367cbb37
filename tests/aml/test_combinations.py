"""Settings that exclude each other, and that all others are some strategy's, and one strategy's only."""

from itertools import product

import pytest
from fake_model import FakeModel, protocol, tokenizer

from amlrepro.aml.combinations import find_conflict
from amlrepro.aml.presets import preset
from amlrepro.aml.strategies import STRATEGIES, build_strategy
from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.suite.pairing import why_untrainable


def config(**changes: object) -> RunConfig:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return RunConfig().with_changes({**preset("inferred"), **dotted})


def test_every_point_has_one_strategy_or_a_reason() -> None:
    """All 2,592 points of the axes that choose among strategies."""
    axes = {
        "afm.source": ("pmme", "random", "maskris"),
        "afm.tau": (0.0, 0.4),
        "afm.level": ("image", "feature"),
        "afm.dropout": ("block", "pixel", "released"),
        "pmme.stage": ("early", "late", "pred"),
        "pmme.pred": ("weight", "probability"),
        "pmme.projection": ("gaussian", "learnable", "text_linear"),
        "train.step": ("forward_only", "joint"),
        "random.share": (0.25, "matched"),
    }
    caris = get_spec("caris")
    assert not STRATEGIES.get("plain").handles(config(afm__source="random"))
    known = STRATEGIES.all().values()
    refused = 0
    for values in product(*axes.values()):
        point = RunConfig().with_changes(dict(zip(axes, values, strict=True)))
        takers = [strategy for strategy in known if strategy.handles(point)]
        if find_conflict(point, caris.protocol, caris.title) is None:
            assert len(takers) == 1, point
        else:
            refused += 1
            assert point.strategy != "plain"
    assert 0 < refused < 2592 / 2


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"train.step": "joint", "pmme.mode": "eval"}, "pmme.mode"),
        ({"train.step": "joint", "afm.source": "random"}, "train.step"),
        ({"train.step": "joint", "afm.source": "maskris"}, "train.step"),
        ({"train.step": "joint", "afm.level": "feature"}, "train.step"),
        ({"train.step": "joint", "pmme.projection": "learnable"}, "train.step"),
        ({"afm.level": "feature", "pmme.stage": "late"}, "pmme.stage"),
        ({"afm.level": "feature", "pmme.projection": "learnable"}, "pmme.projection"),
        ({"afm.level": "feature", "afm.source": "random", "random.share": "matched"}, "afm.level"),
        ({"pmme.projection": "learnable", "afm.dropout": "released"}, "afm.dropout"),
        (
            {"pmme.projection": "learnable", "pmme.stage": "pred", "pmme.pred": "probability"},
            "pmme.projection",
        ),
        ({"pmme.projection": "learnable", "afm.source": "random", "random.share": "matched"}, "pmme.projection"),
        ({"pmme.stage": "late", "pmme.features": "frozen"}, "pmme.features"),
    ],
)
def test_refused(changes: dict[str, object], key: str) -> None:
    """Planning says why; whoever builds it nevertheless is told the same, with the setting and what it may be."""
    point = config(**changes)
    model = FakeModel()
    model.protocol = protocol()
    found = find_conflict(point, get_spec("caris").protocol, "CARIS")
    assert found is not None
    assert found.key == key
    assert why_untrainable(point) == found.reason
    with pytest.raises(UserError) as error:
        build_strategy(point, model, tokenizer())
    if changes.get("afm.level") != "feature" or "random.share" in changes:
        assert (error.value.where, error.value.expected) == (key, found.expected)


@pytest.mark.parametrize("name", ["detris", "rela"])
def test_feature_level_is_for_models_that_can_hide_positions(name: str) -> None:
    reason = why_untrainable(config(afm__level="feature", model__name=name))
    assert reason is not None
    assert "attention" in reason
    assert get_spec(name).title in reason
    assert why_untrainable(config(afm__level="feature")) is None


@pytest.mark.parametrize("name", ["caris", "detris", "rela"])
@pytest.mark.parametrize("change", [{"pmme.stage": "late"}, {"pmme.stage": "pred"}, {"pmme.projection": "learnable"}])
def test_other_variants_are_for_all_models(name: str, change: dict[str, object]) -> None:
    assert why_untrainable(config(**{"model.name": name, **change})) is None


def test_settings_without_effect_exclude_nothing() -> None:
    for point in (
        config(afm__tau=0.0, pmme__projection="learnable", train__step="joint", afm__level="feature"),
        config(afm__source="random", pmme__projection="learnable", afm__level="feature"),
        config(afm__source="maskris", pmme__stage="late", pmme__features="frozen"),
    ):
        assert why_untrainable(point) is None
