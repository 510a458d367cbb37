"""How far the projection moves inner products of real features: the measured counterpart of Eq. 10 (Tables 5, 8).

What is measured, and why (THM1): Eq. 10 speaks of a patch v and a token u. Their widths differ (1024 and 768 in
CARIS), so <v, u> does not exist before projection; and the two matrices are drawn independently, so the projected
product has mean 0 whatever v and u are. What a random projection does keep are inner products *within* a modality:
patch with patch and token with token of one sample. So errors of these are given for each modality and for both
together, and for patch with token the size of the projected product alone, plus its error where widths happen to be
equal. All is relative to the norms of the two features before projection, which is Eq. 10's case of unit vectors,
whether or not the method normalises (a linear projection commutes with it).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from amlrepro.aml.masking import ForwardOnly
from amlrepro.aml.pmme import select_tokens
from amlrepro.config import ProbeConfig
from amlrepro.data.loader import EvaluationData
from amlrepro.engine.evaluate import Watch
from amlrepro.engine.probes.subject import PAIRS, Subject, build_meter, draw_pairs, encode, open_split
from amlrepro.metrics.jl import SIGMA, jl_bound
from amlrepro.sections import PMMEConfig

WIDTH = 1e-4  # of a histogram's bin: percentiles are exact to this
BINS = 100_000  # larger errors all fall into the last bin, and a percentile there is the maximum
Features = tuple[Tensor, Tensor]


class Spread:
    """Mean, largest and percentiles of non-negative numbers that come in pieces, and how many are within a bound."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.count = self.within = 0
        self.total = self.squares = self.largest = 0.0
        self.counts = torch.zeros(BINS, dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """Count the absolute values of a tensor."""
        flat = values.flatten().abs().double()
        if not len(flat):
            return
        self.count += len(flat)
        self.within += int((flat <= self.bound).sum())
        self.total += float(flat.sum())
        self.squares += float(flat.square().sum())
        self.largest = max(self.largest, float(flat.max()))
        bins = (flat / WIDTH).long().clamp(max=BINS - 1)
        self.counts += torch.bincount(bins, minlength=BINS).cpu()

    def percentile(self, percent: float) -> float:
        """The value that `percent` of the numbers do not exceed, rounded up to a bin's edge."""
        place = int(torch.searchsorted(self.counts.cumsum(0), math.ceil(self.count * percent / 100)))
        return self.largest if place >= BINS - 1 else min(round((place + 1) * WIDTH, 6), self.largest)

    def values(self, bounded: bool) -> dict[str, float | None]:
        """`mean`, `p95`, `p99`, `max` and, with a bound, `within_bound` (share); None of nothing."""
        names = ["mean", "p95", "p99", "max"] + ["within_bound"] * bounded
        if not self.count:
            return dict.fromkeys(names)
        share = self.within / self.count
        found = (self.total / self.count, self.percentile(95), self.percentile(99), self.largest, share)
        return dict(zip(names, found, strict=False))


def measure_distortion(subject: Subject, probe: ProbeConfig, watch: Watch | None = None) -> dict[str, float | None]:
    """Errors over the probe's pairs (see the module); raises `UserError` as an alignment probe does.

    Errors |<a', b'> - <a, b>|: `vision_mean`, `vision_p95`, `vision_p99`, `vision_max` and `vision_within_bound` (a
    share) of pairs of patches, `text_...` of pairs of tokens, `mean_abs_error`, `p95_abs_error`, `p99_abs_error`,
    `max_abs_error`, `within_bound` of all these; `vision_cosine`, `text_cosine`: mean cosine of the pairs;
    `norm_max`: largest error of |a'|^2. Patch and token: `cross_mean`, `cross_max` of the projected product's size and
    `cross_std`, its root mean square around 0, the mean that it has over draws; where widths are equal its error,
    `cross_error_mean` and so on. `bound`: Eq. 9's eps for `patches` M, `tokens` N_l, `dim` D_a and `sigma`, all given;
    only a Gaussian pair has one.
    """
    meter = build_meter(subject, probe)
    return measure_features(subject, meter, draw_pairs(open_split(subject, probe), probe.pairs or PAIRS), watch)


@torch.inference_mode()
def measure_features(
    subject: Subject, meter: ForwardOnly, data: EvaluationData, watch: Watch | None = None
) -> dict[str, float | None]:
    """The same for the samples of `data`, with the projection of `meter`."""
    tally: Tally | None = None
    done = 0
    for batch in data.batches():
        encoded, ids = encode(subject, batch)
        features = meter.stage(subject.model, encoded, None, meter.settings)
        selected = select_tokens(meter.settings.tokens, features.text_mask, ids, meter.end_mark)
        vision, text = features.vision.float(), features.text.float()
        if meter.pmme.l2:
            vision, text = normalize(vision, dim=-1), normalize(text, dim=-1)
        projected = meter.pmme.projection(vision, text)
        if tally is None:
            tokens = text.shape[1] if meter.settings.tokens == "all" else int(selected.sum(1).max())
            tally = Tally(meter.settings, vision.shape[1], tokens, equal=vision.shape[-1] == text.shape[-1])
        for row in range(len(vision)):
            kept = selected[row]
            tally.add((vision[row], text[row][kept]), (projected[0][row], projected[1][row][kept]))
        done += len(vision)
        if watch:
            watch(done, data.n_samples)
    assert tally is not None, "a split has samples"
    return tally.values()


class Tally:
    """Errors of all samples so far. settings: of the projection; equal: whether vision and text have one width."""

    def __init__(self, settings: PMMEConfig, patches: int, tokens: int, equal: bool) -> None:
        gaussian = settings.projection == "gaussian"
        self.sizes: dict[str, float | None] = {"patches": patches, "tokens": tokens}
        if gaussian:
            self.sizes |= {"dim": settings.dim, "sigma": SIGMA}
            self.sizes["bound"] = jl_bound(settings.dim, patches, tokens)
        bound = self.sizes.get("bound") or 0.0
        self.gaussian, self.equal = gaussian, equal
        self.spreads = {name: Spread(bound) for name in ("vision", "text", "both", "norm", "cross", "cross_error")}
        self.cosines = {"vision": [0.0, 0.0], "text": [0.0, 0.0]}  # sum, count

    def add(self, before: Features, after: Features) -> None:
        """One sample: vision [M, D_i] and text [N, D_t], and the same projected."""
        units: list[tuple[Tensor, Tensor]] = []
        for name, original, projected in zip(("vision", "text"), before, after, strict=True):
            norm = original.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            unit, image = original / norm, projected / norm
            units.append((unit, image))
            upper = torch.ones(len(unit), len(unit), dtype=torch.bool, device=unit.device).triu(1)
            cosine = (unit @ unit.T)[upper]
            error = (image @ image.T)[upper] - cosine
            for spread in (name, "both"):
                self.spreads[spread].add(error)
            self.spreads["norm"].add(image.square().sum(-1) - unit.square().sum(-1))
            self.cosines[name][0] += float(cosine.double().sum())
            self.cosines[name][1] += len(cosine)
        (vision, vision_image), (text, text_image) = units
        product = vision_image @ text_image.T
        self.spreads["cross"].add(product)
        if self.equal:
            self.spreads["cross_error"].add(product - vision @ text.T)

    def values(self) -> dict[str, float | None]:
        """All fields; see `measure_distortion`."""
        cross, out = self.spreads["cross"], {**self.sizes}
        overall = self.spreads["both"].values(self.gaussian)
        out |= {name if name == "within_bound" else f"{name}_abs_error": number for name, number in overall.items()}
        parts = ["vision", "text"] + ["cross_error"] * self.equal
        for part in parts:
            out |= {f"{part}_{name}": number for name, number in self.spreads[part].values(self.gaussian).items()}
        for part, (total, count) in self.cosines.items():
            out[f"{part}_cosine"] = total / count if count else None
        out["norm_max"] = self.spreads["norm"].largest
        out["cross_mean"] = cross.total / cross.count
        out["cross_std"] = math.sqrt(cross.squares / cross.count)
        out["cross_max"] = cross.largest
        return out
