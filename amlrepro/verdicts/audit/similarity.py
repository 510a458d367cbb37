"""Tables 12 and 13 and Eqs. 3 to 7: which values S takes, and which it can take."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

from amlrepro.suite.printed import PrintedNumber
from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import change_rounds_to, exact, percent_change, rounds_to

EPOCHS = tuple(f"ep{n}" for n in range(1, 11))
REVERSAL = Fraction(3, 1000)  # falls below this count as steady growth
DRAWS = 20_000  # patches in a simulation of S
TOKENS = (3, 5, 8, 20)


def series(paper: Paper, table: str, row: str) -> list[PrintedNumber]:
    """A row of Table 12 or 13, epoch by epoch."""
    return [paper.number(table, row, column.key) for column in paper.tables[table].columns]


def _change(
    paper: Paper, name: str, row: str, table: str, key: str = "relative"
) -> tuple[bool, Fraction, PrintedNumber]:
    """The quoted relative change from the first to the last epoch: whether it holds, the exact one, the quoted one."""
    numbers, quote = series(paper, table, row), paper.quoted(name, key)
    return change_rounds_to(numbers[0], numbers[-1], quote), percent_change(numbers[0], numbers[-1]), quote


def _ends_hold(paper: Paper, name: str, row: str, table: str) -> bool:
    """Whether quoted first and last shares, in percent, are those of the table."""
    ends = series(paper, table, row)
    pairs = zip(("first", "last"), (ends[0], ends[-1]), strict=True)
    return all(
        rounds_to(100 * exact(end), paper.quoted(name, key)) for key, end in pairs if key in paper.entries[name].quoted
    )


@check("T12-A")
def high_confidence(paper: Paper) -> Outcome:
    """Share of S of at least 0.9."""
    holds, change, quote = _change(paper, "T12-A", "sim_ge_090", "table12")
    holds &= _ends_hold(paper, "T12-A", "sim_ge_090", "table12")
    return Outcome(
        judged(holds, "off_by"), f"+{quote.text} %", f"{show(change, 2, True)} %", {"relative": float(change)}
    )


@check("T12-B")
def mean_and_deviation(paper: Paper) -> Outcome:
    """Mean and deviation of S."""
    good, parts, said = True, [], []
    for key, row in (("mean", "sim_mean"), ("deviation", "sim_std")):
        holds, change, quote = _change(paper, "T12-B", row, "table12", f"{key}_relative")
        numbers = series(paper, "table12", row)
        good &= holds and [exact(numbers[0]), exact(numbers[-1])] == [exact(q) for q in paper.quotes("T12-B", key)]
        parts.append((key, change))
        said.append(f"{key} {quote.text} %")
    text = ", ".join(f"{key} {show(change, 2, True)} %" for key, change in parts)
    return Outcome(judged(good, "off_by"), ", ".join(said), text, named(*zip(*parts, strict=True)))


@check("T12-C")
def weak_share(paper: Paper) -> Outcome:
    """Share of S below 0.2, and where it falls most."""
    numbers = series(paper, "table12", "sim_lt_020")
    percent = [100 * exact(number) for number in numbers]
    falls = [a - b for a, b in itertools.pairwise(percent)]
    limit = exact(paper.quoted("T12-C", "below"))
    ends = all(
        rounds_to(value, paper.quoted("T12-C", key))
        for key, value in (("first", percent[0]), ("second", percent[1]), ("last", percent[-1]))
    )
    holds = ends and falls[0] == max(falls) and max(percent[2:]) < limit
    text = f"{shows(percent[:2])} %, then {show(min(percent[2:]))} to {show(max(percent[2:]))} %"
    quotes = texts(paper.quoted("T12-C", key) for key in ("first", "second", "last"))
    return Outcome(judged(holds, "contradictory"), f"{quotes} %", text, named(EPOCHS, percent))


@check("T12-D")
def steady_growth(paper: Paper) -> Outcome:
    """Growth of the shares and the mean: where it reverses."""
    wanted = {"sim_ge_050": 1, "sim_ge_090": 1, "sim_mean": 1, "sim_std": -1}
    backs: dict[str, list[tuple[str, Fraction]]] = {}
    for row, sign in wanted.items():
        numbers = [sign * exact(number) for number in series(paper, "table12", row)]
        steps = zip(EPOCHS[1:], numbers, numbers[1:], strict=False)
        backs[row] = [(epoch.removeprefix("ep"), before - after) for epoch, before, after in steps if after < before]
    cases = [
        f"{paper.tables['table12'].row(row).label} at epoch {', '.join(epoch for epoch, _ in found)}"
        for row, found in backs.items()
        if found
    ]
    largest = max((size for found in backs.values() for _, size in found), default=Fraction(0))
    holds = largest < REVERSAL and _ends_hold(paper, "T12-D", "sim_ge_050", "table12")
    text = f"it reverses for {'; '.join(cases)}, by {show(largest, 4)} at most" if cases else "without a reversal"
    quotes = texts(paper.quoted("T12-D", key) for key in ("first", "last"))
    return Outcome(judged(holds, "off_by"), f"steady, {quotes} %", text, {"largest": float(largest)})


def largest_s(tokens: int, rest: float = -1.0) -> float:
    """The largest S of unit vectors with `tokens` tokens and a softmax without temperature: one cosine is 1, the others
    `rest`."""
    return math.e / (math.e + (tokens - 1) * math.exp(rest))


def simulated_s(tokens: int, deviation: float) -> Any:
    """S [DRAWS] for logits that are independent N(0, deviation^2): the same draws for every deviation."""
    import numpy as np

    return 1 / np.exp(deviation * _below_largest(tokens)).sum(1)


@lru_cache(maxsize=8)
def _below_largest(tokens: int) -> Any:
    """Independent N(0, 1) [DRAWS, tokens], each row less its largest."""
    import numpy as np

    drawn = np.random.default_rng(0).standard_normal((DRAWS, tokens))
    return drawn - drawn.max(1, keepdims=True)


def deviation_for(tokens: int, mean: float) -> float:
    """The deviation of such logits with which the mean of S is `mean`; by bisection between 0 and 100."""
    low, high = 0.0, 100.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if simulated_s(tokens, middle).mean() < mean else (low, middle)
    return (low + high) / 2


@check("EQ-S")
def possible_similarity(paper: Paper) -> Outcome:
    """Whether Eqs. 3 to 7 can give Table 12."""
    means, shares = series(paper, "table12", "sim_mean"), series(paper, "table12", "sim_ge_090")
    width = int(paper.tables["table5"].row("caris_aml").attrs["d_a"])
    deviation = 1 / math.sqrt(width)
    bounds = {tokens: largest_s(tokens) for tokens in TOKENS}
    simulated = {tokens: simulated_s(tokens, deviation) for tokens in TOKENS}
    all_weak = [tokens for tokens, s in simulated.items() if (s < 0.4).all()]
    needed = {tokens: deviation_for(tokens, float(means[0])) for tokens in (20, 5)}
    # With two tokens, the least that a softmax can tell apart, no patch reaches 0.9 at all.
    holds = not any(shares) and max(means) <= bounds[TOKENS[0]]
    text = (
        f"with logits in [-1, 1], S is at most e / (e + (N - 1) / e): {_by_tokens(bounds)}; already with two tokens "
        f"at most {largest_s(2):.2f}, so no patch can reach 0.90. The projections are independent, so logits have "
        f"deviation 1 / sqrt(D_a) = {deviation:.3f} and S is about 1 / N: simulated mean "
        f"{', '.join(f'{s.mean():.3f}' for s in simulated.values())} for {', '.join(map(str, simulated))} tokens, "
        f"and with {', '.join(map(str, all_weak))} tokens every patch is below 0.4. The printed mean needs logits of "
        f"deviation {' or '.join(f'{value:.1f} ({tokens} tokens)' for tokens, value in needed.items())}"
    )
    printed = f"mean {means[0].text} to {means[-1].text}, {shares[0].text} to {shares[-1].text} at 0.90 or more"
    numbers = {f"bound {t}": b for t, b in bounds.items()} | {
        f"mean {t}": float(s.mean()) for t, s in simulated.items()
    }
    return Outcome(
        judged(holds, "contradictory"), printed, text, numbers | {f"deviation {t}": d for t, d in needed.items()}
    )


def _by_tokens(values: dict[int, float]) -> str:
    return ", ".join(f"{value:.2f} for {tokens} tokens" for tokens, value in values.items())


@check("EQ-S2")
def least_similarity(paper: Paper) -> Outcome:
    """S is a maximum of N probabilities."""
    taus = [exact(quote) for quote in paper.quotes("EQ-S2", "taus")]
    most = {tau: math.floor(1 / tau) for tau in taus}
    text = "true, and S is at least 1 / N: nothing falls below "
    text += ", ".join(f"tau {show(tau, 1)} with {tokens} tokens or fewer" for tau, tokens in most.items())
    return Outcome("consistent", "[0, 1]", text, {f"tokens {float(tau):g}": n for tau, n in most.items()})


def _coverage(paper: Paper, row: str) -> list[Fraction]:
    return [100 * exact(number) for number in series(paper, "table13", row)]


@check("T13-A")
def least_threshold(paper: Paper) -> Outcome:
    """Coverage at tau 0.20."""
    percent, limit = _coverage(paper, "tau020"), paper.quoted("T13-A", "below")
    text = f"epoch 0 has {show(percent[0])} %; from epoch 1 on at most {show(max(percent[1:]))} %"
    holds = max(percent) < exact(limit)
    return Outcome(judged(holds, "contradictory"), f"below {limit.text} %", text, {"largest": float(max(percent))})


def _fall(paper: Paper, name: str, row: str) -> tuple[bool, Fraction, PrintedNumber]:
    holds, change, quote = _change(paper, name, row, "table13")
    return holds and _ends_hold(paper, name, row, "table13"), change, quote


@check("T13-B")
def fall_030(paper: Paper) -> Outcome:
    """tau 0.30."""
    holds, change, quote = _fall(paper, "T13-B", "tau030")
    return Outcome(judged(holds, "off_by"), f"-{quote.text} %", f"{show(change)} %", {"relative": float(change)})


@check("T13-C")
def fall_040(paper: Paper) -> Outcome:
    """tau 0.40."""
    holds, change, quote = _fall(paper, "T13-C", "tau040")
    return Outcome(judged(holds, "off_by"), f"-{quote.text} %", f"{show(change)} %", {"relative": float(change)})


@check("T13-D")
def fall_060(paper: Paper) -> Outcome:
    """tau 0.60, and what it stays above."""
    holds, change, quote = _fall(paper, "T13-D", "tau060")
    least, floor = min(_coverage(paper, "tau060")), paper.quoted("T13-D", "above")
    holds &= least > exact(floor)
    numbers = {"relative": float(change), "least": float(least)}
    text = f"{show(change)} %; the least is {show(least)} %"
    return Outcome(judged(holds, "off_by"), f"-{quote.text} %, above {floor.text} %", text, numbers)


@check("T13-E")
def small_thresholds(paper: Paper) -> Outcome:
    """Coverage up to tau 0.40."""
    largest, limit = (
        max(max(_coverage(paper, row)) for row in ("tau020", "tau030", "tau040")),
        paper.quoted("T13-E", "below"),
    )
    text = f"at most {show(largest)} % for tau up to 0.40"
    holds = largest < exact(limit)
    return Outcome(judged(holds, "contradictory"), f"below {limit.text} %", text, {"largest": float(largest)})
