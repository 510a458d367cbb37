"""From a store to the ranking of readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from amlrepro.suite.plan import Plan
from amlrepro.suite.readings import EXPERIMENT, FIRST, INITIAL, PLAIN, TARGET, Catalogue, Reading
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings.distances import Distances, Floats, Term, distances_digest, load_distances
from amlrepro.verdicts.readings.gather import Measured, Numbers, Resampler, measure
from amlrepro.verdicts.readings.ranking import Ranking, Scale, deviations, rank
from amlrepro.verdicts.readings.result import Label, ReadingResult, ReadingsReport, StatisticResult
from amlrepro.verdicts.readings.words import sentences

PRINTED = "printed"


@dataclass(frozen=True, eq=False)
class _Target:
    """What readings are compared with. values, raw [K]: transformed, and in the unit of the cells."""

    name: str
    seed: int | None
    values: Floats
    raw: Floats
    shifts: Floats | None = None


def evaluate_readings(
    store: Store, plan: Plan, all_: Catalogue, chosen: Sequence[Reading], *, target: str | None, initial_only: bool
) -> ReadingsReport:
    """Rank the chosen readings from what the store has of the plan.

    The plan holds `readings_experiment(chosen)`, and with a known target (the name of a reading) also that of the
    target alone under the id `readings_target`. Readings that are not measured come last with the reason.
    """
    rules, store = load_distances(), Numbers(store)
    terms = rules.terms((INITIAL,) if initial_only else (INITIAL, FIRST))
    measured = measure(store, plan, EXPERIMENT, [reading.name for reading in chosen], terms, rules.floor)
    there = [each for each in measured if each.values]
    resampler = Resampler(store, plan, rules.draws, rules.seed)
    aim = _target(store, plan, target, terms, rules, resampler)
    ranking, sampled = (
        (None, False)
        if aim is None or not there
        else _rank(there, aim, terms, rules, resampler, {reading.name: reading.family for reading in chosen})
    )
    results = [] if ranking is None or aim is None else _results(ranking, there, aim, terms, rules, chosen)
    missing = [each for each in measured if not each.values] if ranking is not None else measured
    results += [_not_measured(each, chosen, aim is None) for each in missing]
    seeds = tuple(sorted({seed for each in there for seed in each.values}))
    return sentences(
        ReadingsReport(
            profile=plan.profile,
            watermark=plan.watermark,
            target=target or PRINTED,
            target_seed=aim.seed if aim else None,
            initial_only=initial_only,
            epoch=all_.epoch,
            complete=_complete(plan, all_, there, target, initial_only),
            seeds=seeds,
            readings=tuple(results),
            left_out=tuple((each.name, each.reason) for each in all_.left_out),
            groups={g.id: g.title for g in rules.groups if any(t.group == g.id for t in terms)},
            fit=_fit(results, rules),
            reference=_reference(store, plan, rules) if target is None and not initial_only else None,
            degrees=ranking.degrees if ranking else 0,
            sampled=sampled,
            draws=rules.draws,
            run_ids=tuple(dict.fromkeys(run for each in there for run in each.run_ids)),
            distances_sha256=distances_digest(),
            text=(),
        ),
        rules,
    )


def _complete(plan: Plan, all_: Catalogue, there: Sequence[Measured], target: str | None, initial_only: bool) -> bool:
    everyone = {reading.name for reading in all_.readings} <= {each.name for each in there if len(each.values) > 1}
    return everyone and target is None and not initial_only and plan.profile == "paper" and plan.watermark is None


def _target(
    store: Store, plan: Plan, name: str | None, terms: Sequence[Term], rules: Distances, resampler: Resampler
) -> _Target | None:
    """The printed numbers, or those of a reading's own run. A known target prints Table 13 in one variant, as the paper
    does, and does not tell which; None where that run is not in the store."""
    if name is None:
        printed = [[term.printed(rules.floor), term.printed_raw] for term in terms]
        values, raw = np.asarray(printed, dtype=np.float64).T
        return _Target(PRINTED, None, values, raw)
    found = measure(store, plan, TARGET, [name], terms, rules.floor)[0]
    if not found.values:
        return None
    source = [_as_printed(k, terms, rules.known_target) for k in range(len(terms))]
    seed, values = next(iter(found.values.items()))
    raw = np.asarray([found.raw[term.name] for term in terms])
    shifts = resampler.shifts(TARGET, found, terms, rules.floor)
    return _Target(name, seed, values[source], raw[source], None if shifts is None else shifts[:, source])


def _as_printed(k: int, terms: Sequence[Term], variant: str) -> int:
    """Where the number lies that a target prints for term k."""
    term = terms[k]
    if term.variant is None:
        return k
    wanted = (term.group, variant, term.statistic.id)
    return next(i for i, each in enumerate(terms) if (each.group, each.variant, each.statistic.id) == wanted)


def _scale(terms: Sequence[Term], rules: Distances) -> Scale:
    variants = list(rules.variants)
    groups = list(dict.fromkeys(term.group for term in terms))
    return Scale(
        tolerance=np.asarray([term.statistic.tolerance for term in terms]),
        weight=np.asarray([term.weight for term in terms]),
        variant=np.asarray([-1 if term.variant is None else variants.index(term.variant) for term in terms]),
        group=np.asarray([groups.index(term.group) for term in terms]),
        cap=rules.cap,
    )


def _rank(
    there: Sequence[Measured],
    aim: _Target,
    terms: Sequence[Term],
    rules: Distances,
    resampler: Resampler,
    families: Mapping[str, object],
) -> tuple[Ranking, bool]:
    """The ranking, and whether the noise of the pairs is in it.

    The paper's pairs are others than ours, so against print that noise counts twice: ours and theirs. A known target is
    measured on our very pairs, and moves with them.
    """
    seeds = sorted({seed for each in there for seed in each.values})
    values = np.full((len(there), len(seeds), len(terms)), np.nan)
    for r, each in enumerate(there):
        for seed, row in each.values.items():
            values[r, seeds.index(seed)] = row
    shifts = [resampler.shifts(EXPERIMENT, each, terms, rules.floor) for each in there]
    known = [shift for shift in shifts if shift is not None]
    paired = aim.seed is None or aim.shifts is not None
    sampled = len(known) == len(there) and paired
    twice = np.sqrt(2.0) if aim.seed is None else 1.0
    ranking = rank(
        values,
        aim.values,
        _scale(terms, rules),
        draws=rules.draws,
        random_seed=rules.seed,
        sampling=twice * np.stack(known, axis=1) if sampled else None,
        target_sampling=aim.shifts if sampled else None,
        at_floor=np.stack([each.at_floor for each in there]),
        families=[families[each.name] for each in there],
    )
    return ranking, sampled


def _results(
    ranking: Ranking,
    there: Sequence[Measured],
    aim: _Target,
    terms: Sequence[Term],
    rules: Distances,
    chosen: Sequence[Reading],
) -> list[ReadingResult]:
    """The readings that were measured, nearest first."""
    titles = {reading.name: reading for reading in chosen}
    scale, variants = _scale(terms, rules), list(rules.variants)
    groups = list(dict.fromkeys(term.group for term in terms))
    means = [np.mean(list(each.values.values()), axis=0) for each in there]
    out = []
    for number, r in enumerate(ranking.order):
        each, reading = there[r], titles[there[r].name]
        own = variants[ranking.variant[r]] if ranking.variant[r] >= 0 else None
        z = deviations(means[r], aim.values, scale)
        label: Label = "nearest" if number == 0 else "farther" if ranking.apart[r] else "not told apart"
        out.append(
            ReadingResult(
                reading.name,
                reading.title,
                reading.preset,
                label,
                distance=float(ranking.distance[r]),
                low=float(ranking.low[r]),
                high=float(ranking.high[r]),
                nearest=float(ranking.best[r]),
                groups={name: float(ranking.by_group[r, g]) for g, name in enumerate(groups)},
                variant=own,
                variants={v: float(d) for v, d in zip(variants, ranking.by_variant[r], strict=True)},
                statistics=tuple(
                    StatisticResult(term.name, term.group, each.raw[term.name], float(aim.raw[k]), float(z[k]))
                    for k, term in enumerate(terms)
                    if term.variant in (None, own)
                ),
                same_as=tuple(
                    o.name for o, m in zip(there, means, strict=True) if o is not each and _same(m, means[r])
                ),
                seeds=tuple(sorted(each.values)),
                run_ids=each.run_ids,
                reason=each.reason,
            )
        )
    return out


def _same(first: Floats, second: Floats) -> bool:
    return bool(np.array_equal(first, second))


def _not_measured(each: Measured, chosen: Sequence[Reading], no_target: bool) -> ReadingResult:
    reading = next(reading for reading in chosen if reading.name == each.name)
    reason = "the target is not measured yet" if no_target and each.values else each.reason or "not run yet"
    return ReadingResult(reading.name, reading.title, reading.preset, "not measured", reason=reason)


def _fit(results: Sequence[ReadingResult], rules: Distances) -> Literal["fits", "near", "does not fit"] | None:
    if not results or results[0].distance is None:
        return None
    nearest = results[0].distance
    return "fits" if nearest <= rules.fits else "near" if nearest <= rules.excluded else "does not fit"


def _reference(store: Store, plan: Plan, rules: Distances) -> float | None:
    """How far the model without masks is from its own printed numbers."""
    terms = rules.reference_terms()
    found = measure(store, plan, EXPERIMENT, [PLAIN], terms, rules.floor)[0]
    if not found.values or plan.watermark:
        return None
    printed = np.asarray([term.printed(rules.floor) for term in terms])
    z = deviations(np.mean(list(found.values.values()), axis=0), printed, _scale(terms, rules))
    return float(np.sqrt((z**2).mean()))
