"""Laboratories in one effect: against published examples, another library's numbers, and by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from amlrepro.verdicts.labels import EquivalenceTest, label_effect
from amlrepro.verdicts.laboratories import Merged, between, merge_laboratories
from amlrepro.verdicts.noise import Difference, compare, pool

# Thirteen trials of BCG vaccine against tuberculosis (Colditz et al. 1994): cases and others, vaccinated and not.
BCG = (
    (4, 119, 11, 128),
    (6, 300, 29, 274),
    (3, 228, 11, 209),
    (62, 13536, 248, 12619),
    (33, 5036, 47, 5761),
    (180, 1361, 372, 1079),
    (8, 2537, 10, 619),
    (505, 87886, 499, 87892),
    (29, 7470, 45, 7232),
    (17, 1699, 65, 1600),
    (186, 50448, 141, 27197),
    (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
)


def effect(estimate: float, variance: float) -> Difference:
    """A laboratory's difference with this variance: sigma sqrt(1/1 + 1/1) squared."""
    return Difference(estimate, math.sqrt(variance / 2), 4, 1, 1)


def merged(*pairs: tuple[float, float]) -> Merged:
    return merge_laboratories([(f"lab-{k}", effect(*pair)) for k, pair in enumerate(pairs)])


def test_a_published_example() -> None:
    """Log risk ratios; tau^2 0.3181, Q 152.2330, I^2 92.12 %, estimate -0.7150 with the interval of Hartung, Knapp,
    Sidik and Jonkman -1.1091 to -0.3208: statsmodels 0.15 (`combine_effects`, iterated, HKSJ); the literature on these
    data has the same Q and tau^2."""
    rows = []
    for a, b, c, d in BCG:
        rows.append((math.log(a / (a + b)) - math.log(c / (c + d)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)))
    found = merged(*rows)
    assert found.tau2 == pytest.approx(0.3180684, abs=1e-6)
    assert found.q == pytest.approx(152.2330, abs=1e-4)
    assert 100 * found.i2 == pytest.approx(92.1173, abs=1e-3)  # (Q - 12) / Q
    assert found.estimate == pytest.approx(-0.7149682, abs=1e-6)
    assert found.se == pytest.approx(0.1808922, abs=1e-6)
    assert found.interval(0.05) == pytest.approx((-1.1090984, -0.3208379), abs=1e-6)
    assert found.nu == 12
    assert found.q_p == pytest.approx(stats.chi2.sf(152.2330, 12), rel=1e-3)


def test_three_laboratories_against_statsmodels() -> None:
    found = merged((1.2, 0.09), (0.4, 0.16), (2.1, 0.12))
    assert found.tau2 == pytest.approx(0.5843854, abs=2e-6)  # it stops iterating there
    assert found.q == pytest.approx(10.5067568, abs=1e-6)
    assert found.i2 == pytest.approx(0.8096463, abs=1e-6)
    assert found.estimate == pytest.approx(1.2478103, abs=1e-6)
    assert found.interval(0.05) == pytest.approx((-0.840292, 3.335912), abs=1e-5)


def test_agreement_never_makes_the_interval_narrower_than_the_seeds() -> None:
    """1.2, 1.0, 1.1 scatter by less than their variances: the plain HKSJ interval would be 0.876 to 1.362."""
    found = merged((1.2, 0.09), (1.0, 0.16), (1.1, 0.12))
    assert found.tau2 == 0
    weight = 1 / 0.09 + 1 / 0.16 + 1 / 0.12
    assert found.se == pytest.approx(math.sqrt(1 / weight))
    half = stats.t.ppf(0.975, 2) * math.sqrt(1 / weight)
    assert found.interval(0.05) == pytest.approx((1.1189189 - half, 1.1189189 + half), abs=1e-6)


def test_two_laboratories_by_hand() -> None:
    """tau^2 = ((2 - 0.5)^2 - 0.1 - 0.2) / 2 = 0.975; weights 1 / 1.075 and 1 / 1.175; t with one degree of freedom is
    12.706, 6.5 times the normal 1.96."""
    found = merged((2.0, 0.1), (0.5, 0.2))
    assert found.tau2 == pytest.approx(0.975)
    first, second = 1 / 1.075, 1 / 1.175
    assert found.estimate == pytest.approx((2 * first + 0.5 * second) / (first + second))
    assert [each.weight for each in found.laboratories] == pytest.approx(
        [first / (first + second), second / (first + second)]
    )
    assert found.interval(0.05)[1] - found.estimate == pytest.approx(
        12.7062 * math.sqrt(1 / (first + second)), rel=1e-4
    )
    assert found.width(0.05) == pytest.approx(12.7062 / 1.959964, rel=1e-4)
    assert (found.n_first, found.n_second) == (2, 2)
    assert found.q == pytest.approx(1.5**2 / 0.3)


def test_one_laboratory_is_its_ordinary_verdict() -> None:
    first, second = [60.0, 61.0, 60.5], [58.2, 59.0, 58.8]
    plain = compare(first, second, pool([first, second]))
    alone = merge_laboratories([("a", plain)])
    assert alone.estimate == plain.estimate
    assert alone.interval(0.05) == pytest.approx(plain.interval(0.05))
    assert alone.band(1.83, 0.05) == pytest.approx(plain.band(1.83, 0.05))
    assert alone.t == pytest.approx(plain.t)
    assert label_effect(alone, 1.83) == label_effect(plain, 1.83)
    assert (alone.tau2, alone.q, alone.i2) == (0, 0, 0)


def test_two_agreeing_laboratories_decide_less_than_one_and_five_more() -> None:
    """The cost of not knowing how laboratories differ: an effect of 1.8 with a standard error of 0.3."""
    labels = [
        label_effect(merge_laboratories([(str(k), Difference(1.8, 0.367, 8, 3, 3)) for k in range(count)]), 1.83).label
        for count in (1, 2, 5)
    ]
    assert labels[0].startswith("direction reproduced")
    assert labels[1] == "undecided"
    assert labels[2].startswith("direction reproduced")
    narrow = [merge_laboratories([(str(k), Difference(1.8, 0.367, 8, 3, 3)) for k in range(n)]) for n in (1, 5)]
    widths = [high - low for low, high in (each.interval(0.05) for each in narrow)]
    assert widths[1] < widths[0]


def test_the_band_takes_the_paper_as_one_more_laboratory() -> None:
    found = merge_laboratories([("a", Difference(2.0, 0.4, 4, 3, 3)), ("b", Difference(0.6, 0.5, 6, 3, 3))])
    sigma2 = (4 * 0.16 + 6 * 0.25) / 10
    assert found.sigma**2 == pytest.approx(sigma2)
    v1, v2 = 0.16 * 2 / 3, 0.25 * 2 / 3
    tau2 = (1.4**2 - v1 - v2) / 2
    half = stats.t.ppf(0.975, 1) * math.sqrt(1 / (1 / (v1 + tau2) + 1 / (v2 + tau2)) + tau2 + 2 * sigma2)
    assert found.band(1.83, 0.05) == pytest.approx((1.83 - half, 1.83 + half))


def test_against_a_cited_number() -> None:
    cited = [("a", Difference(1.0, 0.4, 4, 3, None)), ("b", Difference(1.1, 0.4, 4, 3, None))]
    assert merge_laboratories(cited).n_second is None
    with pytest.raises(ValueError, match="constant"):
        merge_laboratories([cited[0], ("c", Difference(1.1, 0.4, 4, 3, 3))])
    with pytest.raises(ValueError, match="no laboratories"):
        merge_laboratories([])


def test_without_any_noise_nothing_breaks() -> None:
    same = merge_laboratories([(name, Difference(0.0, 0.0, 4, 3, 3)) for name in "ab"])
    assert same.estimate == 0
    assert same.tau2 == 0
    assert EquivalenceTest(same, 0.5).at(0.05).label == "equal within the margin"
    apart = merge_laboratories([("a", Difference(0.0, 0.0, 4, 3, 3)), ("b", Difference(2.0, 0.0, 4, 3, 3))])
    assert apart.tau2 == pytest.approx(2.0)
    assert apart.estimate == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_between_solves_its_equation(scale: float) -> None:
    values, variances = [scale * v for v in (1.0, 3.0, -2.0, 0.5)], [scale**2 * v for v in (0.1, 0.4, 0.2, 0.3)]
    tau2 = between(values, variances)
    weights = [1 / (v + tau2) for v in variances]
    mean = sum(w * y for w, y in zip(weights, values, strict=True)) / sum(weights)
    assert sum(w * (y - mean) ** 2 for w, y in zip(weights, values, strict=True)) == pytest.approx(3.0, rel=1e-9)
