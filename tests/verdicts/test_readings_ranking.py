"""Distances and ranking of readings, against hand-worked cases and known distributions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from amlrepro.verdicts.readings.distances import load_distances
from amlrepro.verdicts.readings.ranking import Scale, deviations, distances, rank


def scale(**changes: object) -> Scale:
    """Two terms that all share (group 0, weight 1 each), and one of each of two variants (group 1, weight 2)."""
    base = Scale(
        tolerance=np.array([1.0, 2.0, 0.5, 0.5]),
        weight=np.array([1.0, 1.0, 2.0, 2.0]),
        variant=np.array([-1, -1, 0, 1]),
        group=np.array([0, 0, 1, 1]),
        cap=10.0,
    )
    return replace(base, **changes)


def test_a_distance_worked_by_hand() -> None:
    """z = (3, 2, 4, 1): variant 0 has sqrt((9 + 4 + 2 * 16) / 4), variant 1 sqrt((9 + 4 + 2 * 1) / 4)."""
    z = deviations(np.array([3.0, 4.0, 2.0, 0.5]), np.zeros(4), scale())
    assert z == pytest.approx([3, 2, 4, 1])
    assert distances(z, scale()) == pytest.approx([math.sqrt(45 / 4), math.sqrt(15 / 4)])


def test_no_deviation_counts_for_more_than_the_cap() -> None:
    assert deviations(np.array([1e6, -1e6, 0, 0]), np.zeros(4), scale()).tolist() == [10, 10, 0, 0]


def test_each_reading_is_given_the_variant_that_fits_it() -> None:
    values = np.array([[[0.0, 0, 0, 5]], [[0.0, 0, 5, 0]], [[1.0, 0, 0, 0]]])
    found = rank(values, np.zeros(4), scale(), draws=100, random_seed=0)
    assert found.variant.tolist() == [0, 1, 0]
    assert found.distance == pytest.approx([0, 0, 0.5])
    assert found.by_group[2] == pytest.approx([math.sqrt(0.5), 0])
    assert found.order == [0, 1, 2]


def test_one_seed_has_no_noise_and_ties_share() -> None:
    """Equal readings are nearest in half of the draws each, and cannot be told apart."""
    values = np.array([[[1.0, 0, 0, 0]], [[1.0, 0, 0, 0]], [[9.0, 0, 0, 0]]])
    found = rank(values, np.zeros(4), scale(), draws=200, random_seed=0)
    assert found.best.tolist() == [0.5, 0.5, 0]
    assert found.low == pytest.approx(found.distance)
    assert found.high == pytest.approx(found.distance)
    assert found.apart.tolist() == [False, False, True]
    assert found.degrees == 0


def one_term() -> Scale:
    return Scale(np.array([1.0]), np.array([1.0]), np.array([-1]), np.array([0]), 1e9)


def test_the_spread_between_seeds_is_pooled() -> None:
    """Two seeds that differ by 2 d have the variance 2 d^2 with one degree of freedom: (2 * 1 + 2 * 9) / 2 = 10."""
    values = np.array([[[0.0], [2.0]], [[10.0], [16.0]]])
    found = rank(values, np.zeros(1), one_term(), draws=100, random_seed=0)
    assert found.seed_spread == pytest.approx([math.sqrt(10)])
    assert found.degrees == 2


def test_families_have_their_own_spread() -> None:
    """Two readings without any spread, of which one is the target, and two that vary wildly, the nearer of them at 18:
    noise of the wild ones leaves the quiet ones alone; pooled over all it would not."""
    values = np.array([[[0.0], [0.0]], [[1.0], [1.0]], [[8.0], [28.0]], [[90.0], [70.0]]])
    found = rank(values, np.zeros(1), one_term(), draws=500, random_seed=0, families=["a", "a", "b", "b"])
    assert found.high[:2].tolist() == [0, 1]
    assert found.apart[1]
    assert found.high[2] > 30
    assert found.seed_spread.tolist() == [0]
    assert found.degrees == 2
    pooled = rank(values, np.zeros(1), one_term(), draws=500, random_seed=0)
    assert not pooled.apart[1]


def test_a_family_of_single_seeds_has_the_spread_of_all() -> None:
    values = np.array([[[0.0], [math.nan]], [[10.0], [16.0]]])
    found = rank(values, np.zeros(1), one_term(), draws=500, random_seed=0, families=["a", "b"])
    assert found.seed_spread == pytest.approx([math.sqrt(18)])
    assert found.high[0] > 3


def test_clipped_values_tell_nothing_of_the_spread() -> None:
    """A third reading without any spread because it is at the floor leaves the pooled one as it was."""
    values = np.array([[[0.0], [2.0]], [[10.0], [16.0]], [[-9.0], [-9.0]]])
    floor = np.array([[False], [False], [True]])
    found = rank(values, np.zeros(1), one_term(), draws=100, random_seed=0, at_floor=floor)
    assert found.seed_spread == pytest.approx([math.sqrt(10)])
    assert found.degrees == 2


def test_a_seed_that_is_not_there_is_left_out() -> None:
    values = np.array([[[0.0], [2.0]], [[4.0], [math.nan]]])
    found = rank(values, np.zeros(1), one_term(), draws=100, random_seed=0)
    assert found.distance == pytest.approx([1, 4])
    assert found.degrees == 1
    with pytest.raises(ValueError, match="without any seed"):
        rank(np.full((1, 2, 1), math.nan), np.zeros(1), one_term(), draws=100, random_seed=0)


def test_nearest_in_as_many_draws_as_theory_says() -> None:
    """Many readings fix sigma, so draws are all but normal. Of a at the target and b at 1.5 from it, b is nearer when
    |b* - y*| < |a* - y*|, with errors of variance sigma^2 / 2 (two seeds) in a and b and sigma^2 in y: simulated here
    directly with other random numbers."""
    random = np.random.default_rng(5)
    readings, sigma = 200, 1.0
    values = np.zeros((readings, 2, 1))
    values[:, 0, 0], values[:, 1, 0] = (
        1e4 + sigma / math.sqrt(2),
        1e4 - sigma / math.sqrt(2),
    )  # variance sigma^2 exactly
    values[0] -= 1e4
    values[1] -= 1e4 - 1.5
    found = rank(values, np.zeros(1), one_term(), draws=10_000, random_seed=1)
    a = random.normal(0, sigma / math.sqrt(2), 400_000)
    b = random.normal(1.5, sigma / math.sqrt(2), 400_000)
    y = random.normal(0, sigma, 400_000)
    assert found.best[0] == pytest.approx(np.mean(np.abs(a - y) < np.abs(b - y)), abs=0.02)
    assert found.best[:2].sum() == pytest.approx(1)
    assert not found.apart[1]
    assert found.apart[2:].all()


def test_pairs_that_both_were_measured_on_cancel() -> None:
    """A target that moves with the readings changes nothing; one that stays still does."""
    values = np.array([[[1.0]], [[2.0]]])
    shift = np.random.default_rng(0).normal(0, 5, (300, 1))
    both = rank(values, np.zeros(1), one_term(), draws=300, random_seed=0,
                sampling=np.repeat(shift[:, None], 2, 1), target_sampling=shift)  # fmt: skip
    assert both.best.tolist() == [1, 0]
    assert both.high == pytest.approx([1, 2])
    alone = rank(values, np.zeros(1), one_term(), draws=300, random_seed=0, sampling=np.repeat(shift[:, None], 2, 1))
    assert alone.high[0] > 5
    assert 0.4 < alone.best[0] < 0.7


def test_the_file_of_distances() -> None:
    """Every number is printed; transformed by hand for one of each kind; the weights are those of the header."""
    rules = load_distances()
    terms = {term.name: term for term in rules.terms(("epoch0", "epoch1"))}
    assert len(terms) == 5 + 2 * 4 + 2 * 4 + 5 + 2
    assert terms["table12/mean"].printed(rules.floor) == pytest.approx(math.log(0.7547 / 0.2463))
    assert terms["table13_ep0/blanked/tau040"].printed(rules.floor) == pytest.approx(math.log(0.0264 / 0.9746))
    assert terms["table7/oiou"].printed(rules.floor) == pytest.approx(math.log(0.249 / 0.752))
    assert terms["table7/oiou_gain"].printed(rules.floor) == pytest.approx(24.85 - 20.24)
    assert terms["table14/loss_gain"].printed(rules.floor) == pytest.approx(math.log(0.2903 / 0.3114))
    assert terms["table13_ep0/coverage/tau020"].cell == ("epoch0", "coverage_tau020")
    once = [term for term in terms.values() if term.variant in (None, "blanked")]
    assert sum(term.weight for term in once) == pytest.approx(3 + 1.5 + 1.5 + 1 + 1)
    assert {term.group for term in rules.terms(("epoch0",))} == {"table13_ep0"}
    assert len(rules.reference_terms()) == 5


def test_single_patches_do_not_weigh_much() -> None:
    """Nothing against one patch of 1,476 is ln(0.00118 / 0.0005) = 0.86, though a logarithm would be infinite."""
    term = next(t for t in load_distances().terms(("epoch1",)) if t.name == "table12/lt_020")
    none, one = (float(term.transformed(share, None, 5e-4)) for share in (0.0, 1 / 1476))
    assert one - none == pytest.approx(0.857, abs=2e-3)
    assert term.transformed(1.0, None, 5e-4) == pytest.approx(-none)
    assert term.clipped(0.0, 1e-4)
    assert term.clipped(1.0, 1e-4)
    assert not term.clipped(0.004, 1e-4)
