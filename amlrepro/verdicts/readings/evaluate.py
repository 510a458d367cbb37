"""From a store to the ranking of readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from amlrepro.suite.plan import Plan
from amlrepro.suite.readings import EXPERIMENT, FIRST, INITIAL, PLAIN, Catalogue, Reading
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings.aim import PRINTED, Target, find_target, scale_of
from amlrepro.verdicts.readings.distances import Distances, Floats, Term, distances_digest, load_distances
from amlrepro.verdicts.readings.gather import Measured, Numbers, Resampler, measure
from amlrepro.verdicts.readings.ranking import Ranking, deviations, rank
from amlrepro.verdicts.readings.result import Label, ReadingResult, ReadingsReport, StatisticResult
from amlrepro.verdicts.readings.screening import Screening
from amlrepro.verdicts.readings.words import sentences


def evaluate_readings(
    store: Store,
    plan: Plan,
    all_: Catalogue,
    chosen: Sequence[Reading],
    *,
    target: str | None,
    initial_only: bool,
    screening: Screening | None = None,
) -> ReadingsReport:
    """Rank the chosen readings from what the store has of the plan.

    The plan holds `readings_experiment(chosen)`, and with a known target (the name of a reading) also that of the
    target alone under the id `readings_target`. Readings that are not measured come last with the reason. screening: by
    which the chosen ones were chosen to be trained (before training: would be), None where a person named them or all
    are.
    """
    rules, store = load_distances(), Numbers(store)
    terms = rules.terms((INITIAL,) if initial_only else (INITIAL, FIRST))
    measured = measure(store, plan, EXPERIMENT, [reading.name for reading in chosen], terms, rules.floor)
    there = [each for each in measured if each.values]
    resampler = Resampler(store, plan, rules.draws, rules.seed)
    aim = find_target(store, plan, target, terms, rules, resampler)
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
            complete=not initial_only and _complete(plan, all_, there, target, screening, rules),
            seeds=seeds,
            readings=tuple(results),
            screening=screening,
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


def _complete(
    plan: Plan,
    all_: Catalogue,
    there: Sequence[Measured],
    target: str | None,
    screening: Screening | None,
    rules: Distances,
) -> bool:
    """Whether all were trained with two seeds, or those that the rule chooses from all for at least its own hours; in
    the paper profile, against the printed numbers."""
    wanted = everyone = {reading.name for reading in all_.readings}
    if screening is not None:
        measured = {each.name for each in screening.readings if each.distance is not None}
        by_rule = measured == everyone and screening.hours >= rules.screening.hours
        wanted = set(screening.trained) if by_rule else everyone
    trained = wanted <= {each.name for each in there if len(each.values) > 1}
    return trained and target is None and plan.profile == "paper" and plan.watermark is None


def _rank(
    there: Sequence[Measured],
    aim: Target,
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
        scale_of(terms, rules),
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
    aim: Target,
    terms: Sequence[Term],
    rules: Distances,
    chosen: Sequence[Reading],
) -> list[ReadingResult]:
    """The readings that were measured, nearest first."""
    titles = {reading.name: reading for reading in chosen}
    scale, variants = scale_of(terms, rules), list(rules.variants)
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
    z = deviations(np.mean(list(found.values.values()), axis=0), printed, scale_of(terms, rules))
    return float(np.sqrt((z**2).mean()))
