"""What is said of a claim, as plain data ready to be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from amlrepro.verdicts.arms import Arm, NoiseGroup
from amlrepro.verdicts.bootstrap import Secondary
from amlrepro.verdicts.claims import CellRef, Claim
from amlrepro.verdicts.families import Method
from amlrepro.verdicts.harness import Harness
from amlrepro.verdicts.labels import LEVEL, Label, Outcome
from amlrepro.verdicts.lock import Lock
from amlrepro.verdicts.noise import Noise, quantile


@dataclass(frozen=True)
class PairResult:
    """One comparison.

    first_values: by seed, as far as they took part. second_values: the same, or the cited number. printed: the printed
    effect. estimate: difference of means, positive where the first is better. low, high: the interval at the level of
    the verdict; None where there is no verdict. sigma, nu: the pooled noise. welch: t and p of Welch's test.
    """

    first: CellRef
    second: CellRef
    first_values: Sequence[float] = ()
    second_values: Sequence[float] | float = ()
    printed: float | None = None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    sigma: float | None = None
    nu: int = 0
    welch: tuple[float, float] | None = None

    @property
    def n_first(self) -> int:
        """Seeds of the first."""
        return len(self.first_values)

    @property
    def n_second(self) -> int | None:
        """Seeds of the second, None where it is a cited number."""
        return None if isinstance(self.second_values, int | float) else len(self.second_values)

    @classmethod
    def printed_only(cls, claim: Claim, printed: Sequence[float | None]) -> tuple[PairResult, ...]:
        """Pairs of which nothing has been run."""
        refs = [pair.refs for pair in claim.pairs]
        return tuple(cls(first, second, printed=p) for (first, second), p in zip(refs, printed, strict=True))

    @classmethod
    def estimate_only(
        cls, first: Arm, second: Arm, noise: Noise, printed: float | None, sign: float, seeds: int
    ) -> PairResult:
        """A pair with results and without a verdict."""
        values = first.first(seeds)
        other = second.first(seeds) if second.constant is None else second.constant
        mean = other if isinstance(other, int | float) else fmean(other)
        estimate = sign * (fmean(values) - mean)
        return cls(first.ref, second.ref, values, other, printed, estimate, sigma=noise.sigma, nu=noise.nu)


@dataclass(frozen=True)
class Verdict:
    """What is said of a claim.

    label: what stands. provisional: what would stand without `gates`, the reasons why it is invalid. pairs: every
    comparison; leading: the one that decides, by position. seeds: an arm that are there; look: how many took part (3 or
    5). outcome: of the deciding look; later: of a later look that decides nothing. p: smallest level at which the claim
    is decided by itself; p_adjusted: in its family. seeds_to_decide: an arm; expected: by the printed effect and the
    prior noise, before anything has been run. why_not: why it has not been run. reading: of the method. failed_as: what
    `not reproduced under this reading` was; readings: what other readings came to. secondary: over images and seeds.
    """

    claim: Claim
    label: Label
    pairs: tuple[PairResult, ...]
    seeds: int
    look: int | None = None
    provisional: Label | None = None
    leading: int = 0
    outcome: Outcome | None = None
    later: Outcome | None = None
    p: float | None = None
    p_adjusted: float | None = None
    seeds_to_decide: int | None = None
    expected: bool = False
    gates: tuple[str, ...] = ()
    why_not: str | None = None
    why_exploratory: str | None = None
    reading: str = ""
    failed_as: Label | None = None
    readings: Mapping[str, Label] = field(default_factory=dict)
    secondary: Secondary | None = None
    text: str = ""

    @property
    def lead(self) -> PairResult:
        """The comparison that decides: the only one, or the weakest."""
        return self.pairs[self.leading]

    @property
    def repeated(self) -> int:
        """Comparisons of the claim that are the same numbers as another one here, and are not counted again."""
        return len(self.claim.pairs) - len(self.pairs)

    @property
    def estimate(self) -> float | None:
        """Of the leading pair, positive where the first is better."""
        return self.lead.estimate

    @property
    def low(self) -> float | None:
        """Lower end of the leading pair's interval."""
        return self.lead.low

    @property
    def high(self) -> float | None:
        """Upper end of the leading pair's interval."""
        return self.lead.high

    @property
    def printed(self) -> float | None:
        """The printed effect d of the leading pair; None in watermarked reports."""
        return self.lead.printed

    @property
    def sigma(self) -> float | None:
        """Pooled noise behind the leading pair."""
        return self.lead.sigma

    @property
    def nu(self) -> int:
        """Its degrees of freedom."""
        return self.lead.nu

    @property
    def n_first(self) -> int:
        """Seeds of the leading pair's first."""
        return self.lead.n_first

    @property
    def n_second(self) -> int | None:
        """Seeds of its second, None for a cited number."""
        return self.lead.n_second

    @property
    def exploratory(self) -> bool:
        """Whether anything it rests on was not fixed beforehand."""
        return self.why_exploratory is not None

    @property
    def nominal(self) -> tuple[float, float] | None:
        """The leading pair's interval at 5 %, by itself: for the eye, not for the verdict."""
        pair = self.lead
        if pair.estimate is None or pair.sigma is None or pair.nu < 1 or not pair.n_first or pair.n_second == 0:
            return None
        variance = 1 / pair.n_first + (1 / pair.n_second if pair.n_second else 0)
        half = quantile(LEVEL, pair.nu) * pair.sigma * variance**0.5
        return pair.estimate - half, pair.estimate + half


@dataclass(frozen=True)
class FamilyState:
    """A family: size as the claims file fixes it, claims that have reached a look, claims that are decided there."""

    name: str
    method: Method
    size: int
    reached: int
    decided: int


@dataclass(frozen=True)
class ClaimsReport:
    """All verdicts and what they rest on. watermark: they are about small models' own numbers, with the reason."""

    verdicts: tuple[Verdict, ...]
    noise: tuple[NoiseGroup, ...]
    families: tuple[FamilyState, ...]
    lock: Lock | None
    harness: Harness
    watermark: str | None
    preset: str
    profile: str
    seeds: tuple[int, ...]

    @property
    def counts(self) -> dict[Label, int]:
        """How many claims have each label, the most frequent first."""
        return dict(Counter(verdict.label for verdict in self.verdicts).most_common())


def as_json(report: ClaimsReport) -> dict[str, Any]:
    """The report as a JSON value."""
    return {
        "profile": report.profile,
        "preset": report.preset,
        "seeds": list(report.seeds),
        "watermark": report.watermark,
        "harness": {"verified": report.harness.verified, "says": report.harness.says},
        "lock": {"hash": report.lock.hash, "says": report.lock.says} if report.lock else None,
        "counts": report.counts,
        "families": [asdict(family) for family in report.families],
        "noise": [asdict(group) for group in report.noise],
        "claims": [_verdict_json(verdict) for verdict in report.verdicts],
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    pairs = [{**asdict(pair), "first": str(pair.first), "second": str(pair.second)} for pair in verdict.pairs]
    return {
        **verdict.claim.model_dump(mode="json"),
        "label": verdict.label,
        "provisional": verdict.provisional,
        "text": verdict.text,
        "estimate": verdict.estimate,
        "low": verdict.low,
        "high": verdict.high,
        "level": verdict.outcome.level if verdict.outcome else None,
        "band": verdict.outcome.band if verdict.outcome else None,
        "printed": verdict.printed,
        "sigma": verdict.sigma,
        "nu": verdict.nu,
        "n_first": verdict.n_first,
        "n_second": verdict.n_second,
        "look": verdict.look,
        "p": verdict.p,
        "p_adjusted": verdict.p_adjusted,
        "seeds_to_decide": verdict.seeds_to_decide,
        "gates": list(verdict.gates),
        "why_not": verdict.why_not,
        "repeated": verdict.repeated,
        "exploratory": verdict.why_exploratory,
        "reading": verdict.reading,
        "failed_as": verdict.failed_as,
        "readings": dict(verdict.readings),
        "secondary": asdict(verdict.secondary) if verdict.secondary else None,
        "pairs": pairs,
    }
