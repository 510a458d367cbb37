"""Models that installed packages add: found by name, and refused with the reason when they cannot be used."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from amlrepro.errors import UserError
from amlrepro.models import registry
from amlrepro.models.caris.spec import SPEC

Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Make `entry_points` give these names and import paths; module `brought` holds three objects."""
    module = types.ModuleType("brought")
    vars(module).update(
        SPEC=dataclasses.replace(SPEC, name="other"), AGAIN=dataclasses.replace(SPEC, name="other"), NUMBER=3
    )
    monkeypatch.setitem(sys.modules, "brought", module)

    def make(*pairs: tuple[str, str]) -> None:
        points = [EntryPoint(name, value, registry.ENTRY_POINTS) for name, value in pairs]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)
        registry.get_spec.cache_clear()

    yield make
    registry.get_spec.cache_clear()


def test_a_model_of_another_package(offer: Offer) -> None:
    offer(("other", "brought:SPEC"), ("caris", "brought:NUMBER"))
    assert registry.model_names() == ("caris", "detris", "rela", "other")
    assert registry.get_spec("other").name == "other"
    assert registry.get_spec("caris") is SPEC  # a shipped name cannot be replaced
    with pytest.raises(UserError, match="unknown model 'othr'") as caught:
        registry.get_spec("othr")
    assert "other" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("other", "absent_package:SPEC")], "cannot be imported"),
        ([("other", "brought:ABSENT")], "cannot be imported"),
        ([("other", "brought:NUMBER")], "no model specification"),
        ([("another", "brought:SPEC")], "name it alike"),
        ([("other", "brought:SPEC"), ("other", "brought:AGAIN")], "several installed packages"),
    ],
)
def test_entry_points_that_cannot_be_used(offer: Offer, pairs: list[tuple[str, str]], message: str) -> None:
    offer(*pairs)
    with pytest.raises(UserError, match=message):
        registry.get_spec(pairs[0][0])
