"""What the store knows of the readings, as arrays: statistics by reading and seed, what other pairs would change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from amlrepro.errors import UserError
from amlrepro.metrics.alignment import PatchScores, patch_terms
from amlrepro.metrics.bootstrap import draw_counts
from amlrepro.metrics.probes import bulk_path
from amlrepro.suite.cells import CellReader, CellResult
from amlrepro.suite.plan import Plan, ProbeRequest
from amlrepro.suite.readings import COVERAGE, PLAIN, SIMILARITY
from amlrepro.suite.snapshot import Snapshot
from amlrepro.suite.store import Store
from amlrepro.verdicts.readings.distances import Floats, Term


class Numbers(Snapshot):
    """A store for one look at its numbers alone. The intervals over seeds that cells come with take long, and nobody
    looks at them here."""

    def calculated(self, kind: str, origin: Any, calculate: Callable[[], Any]) -> None:
        """Nothing, whatever is asked for."""
        return


@dataclass(frozen=True)
class Measured:
    """One reading in the store. values: by seed, every term on its own scale and [K]; raw: by term, the mean over the
    seeds in the unit of the cell, less what is subtracted. reason: why there are no values, or not of all seeds."""

    name: str
    values: dict[int, Floats]
    raw: dict[str, float]
    at_floor: npt.NDArray[np.bool_]
    run_ids: tuple[str, ...]
    reason: str | None


def measure(
    store: Store, plan: Plan, experiment: str, names: Sequence[str], terms: Sequence[Term], floor: float
) -> list[Measured]:
    """The readings called `names` (rows of the experiment), as far as they are in the store.

    A seed counts when all its terms are there.
    """
    reader = CellReader(store, plan, experiment)
    return [_measure(reader, name, terms, floor) for name in names]


def _measure(reader: CellReader, name: str, terms: Sequence[Term], floor: float) -> Measured:
    pairs = [(_cell(reader, name, term.cell), _cell(reader, name, term.less) if term.less else None) for term in terms]
    cells = [cell for pair in pairs for cell in pair if cell is not None]
    seeds = [seed for seed in dict(cells[0].seeds) if all(seed in dict(cell.seeds) for cell in cells)]
    values, raw = {}, {}
    for seed in seeds:
        own = [(dict(cell.seeds)[seed], None if less is None else dict(less.seeds)[seed]) for cell, less in pairs]
        values[seed] = np.asarray([t.transformed(*v, floor) for t, v in zip(terms, own, strict=True)], dtype=np.float64)
    for term, (cell, less) in zip(terms, pairs, strict=True):
        chosen = [dict(cell.seeds)[s] - (dict(less.seeds)[s] if less else 0.0) for s in seeds]
        if chosen:
            raw[term.name] = float(np.mean(chosen))
    clipped = [
        bool(seeds) and all(term.clipped(dict(cell.seeds)[s], floor) for s in seeds)
        for term, (cell, _) in zip(terms, pairs, strict=True)
    ]
    return Measured(
        name,
        values,
        raw,
        np.asarray(clipped, dtype=bool),
        tuple(dict.fromkeys(run for cell in cells for run in cell.run_ids)),
        next((cell.reason for cell in cells if cell.reason), None),
    )


def _cell(reader: CellReader, name: str, place: tuple[str, str]) -> CellResult:
    block, column = place
    return reader.cell(block, PLAIN if block == PLAIN else name, column)


@dataclass(frozen=True, eq=False)
class Patches:
    """S of one probe summed by image: what drawing its pairs anew takes. images [I]; sums [I, 2 F]: numerators of the
    fields, then denominators; the field `std` is calculated from `mean` and the mean square."""

    images: npt.NDArray[np.int64]
    sums: Floats
    fields: tuple[str, ...]

    def values(self, counts: Floats) -> Floats:
        """The fields [B, F] with each image taken counts [B, I] times."""
        with np.errstate(divide="ignore", invalid="ignore"):
            totals = counts @ self.sums
            means = totals[:, : len(self.fields)] / totals[:, len(self.fields) :]
        if "std" in self.fields:
            square, mean = self.fields.index("std"), self.fields.index("mean")
            means[:, square] = np.sqrt(np.maximum(means[:, square] - means[:, mean] ** 2, 0.0))
        return np.asarray(means)


def sum_patches(scores: PatchScores, fields: Sequence[str]) -> Patches:
    """Sum the fields' terms over the patches of each image. `std` brings `mean` with it."""
    names = tuple(dict.fromkeys([*fields, *(["mean"] if "std" in fields else [])]))
    images, position = np.unique(scores.ids["image_id"], return_inverse=True)
    above, below = [], []
    for name in names:
        if name == "std":
            values, weight = scores.similarity.astype(np.float64) ** 2, None
        else:
            values, weight = patch_terms(scores, name)
        weights = np.ones(len(scores)) if weight is None else weight.astype(np.float64)
        above.append(np.bincount(position, weights=values * weights, minlength=len(images)))
        below.append(np.bincount(position, weights=weights, minlength=len(images)))
    return Patches(images.astype(np.int64), np.stack([*above, *below], axis=1), names)


class Resampler:
    """Draws the evaluated pairs anew, by image, the same draws for all readings. Files are read once."""

    def __init__(self, store: Store, plan: Plan, draws: int, random_seed: int) -> None:
        self._store, self._plan, self._draws = store, plan, draws
        self._random_seed = random_seed
        self._counts: dict[int, Floats] = {}
        self._images: npt.NDArray[np.int64] | None = None

    def shifts(self, experiment: str, measured: Measured, terms: Sequence[Term], floor: float) -> Floats | None:
        """What other pairs would add to every term, [B, K], mean over the reading's seeds; 0 for terms that are no
        statistic of S. None where patches are not in the store, or are of other pairs than those seen before."""
        reader = CellReader(self._store, self._plan, experiment)
        total = np.zeros((self._draws, len(terms)))
        of_patches = [k for k, term in enumerate(terms) if term.cell[1] in (*SIMILARITY, *COVERAGE)]
        for block in dict.fromkeys(terms[k].cell[0] for k in of_patches):
            index = [k for k in of_patches if terms[k].cell[0] == block]
            cell = reader.cell(block, measured.name, terms[index[0]].cell[1]).cell
            requests = [r for r in cell.requests if isinstance(r, ProbeRequest)]
            requests = [r for r in requests if self._plan.runs[r.run_id].config.seed in measured.values]
            for request in requests:
                change = self._one(request, [terms[k] for k in index], floor)
                if change is None:
                    return None
                total[:, index] += change / len(requests)
        return total

    def _one(self, request: ProbeRequest, terms: Sequence[Term], floor: float) -> Floats | None:
        path = self._store.run(request.run_id).probe(request.probe_id)
        fields = list(dict.fromkeys(term.cell[1] for term in terms))
        try:
            patches = sum_patches(PatchScores.read(bulk_path(path)), fields)
        except UserError:
            return None
        if self._images is not None and not np.array_equal(self._images, patches.images):
            return None
        self._images = patches.images
        number = len(patches.images)
        if number not in self._counts:
            self._counts[number] = draw_counts(number, self._draws, np.random.default_rng(self._random_seed))
        drawn, whole = patches.values(self._counts[number]), patches.values(np.ones((1, number)))
        columns = [patches.fields.index(term.cell[1]) for term in terms]
        before = [term.transformed(whole[:, c], None, floor) for term, c in zip(terms, columns, strict=True)]
        after = [term.transformed(drawn[:, c], None, floor) for term, c in zip(terms, columns, strict=True)]
        return np.nan_to_num(np.stack(after, axis=1) - np.stack(before, axis=1))
