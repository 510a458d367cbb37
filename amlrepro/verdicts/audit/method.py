"""What the method as printed, and its other readings, do with given features: plain numbers, measured by `engine`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

VERSION = 1  # raised when what is measured, or how, changes: older measurements are taken anew
Source = Literal["simulated", "file", "run", "checkpoint"]

# What Table 12 prints of the trained model after its first epoch, as rows name it.
TABLE12 = {
    "mean": "sim_mean",
    "std": "sim_std",
    "below_020": "sim_lt_020",
    "from_050": "sim_ge_050",
    "from_090": "sim_ge_090",
}


@dataclass(frozen=True)
class Reading:
    """S and the masks of one reading of the method, shares from 0 to 1.

    name: the preset, or a departure from one. says: what of it matters here. tokens: mean number of tokens in the
    softmax. mean, std, least, most: of S over all patches; below_020, below_tau, from_050, from_090: shares of patches.
    histogram: counts of S in equal bins from 0 to 1. weak_blocks: share of blocks whose mean S is below tau; masked:
    share of the image that its dropout blanks; blank, whole: shares of images that lose all, and none, of their blocks.
    logits: deviation of the logits of one patch over its tokens.
    """

    name: str
    says: str
    tokens: float
    logits: float
    mean: float
    std: float
    least: float
    most: float
    below_020: float
    below_tau: float
    from_050: float
    from_090: float
    weak_blocks: float
    masked: float
    blank: float
    whole: float
    histogram: tuple[int, ...]

    @property
    def text(self) -> str:
        """A sentence."""
        out = f"S has mean {self.mean:.3f} (deviation {self.std:.3f}, {self.least:.3f} to {self.most:.3f}); "
        out += f"{100 * self.weak_blocks:.1f} % of blocks are weak, {100 * self.masked:.1f} % of the image is blanked"
        return out + (f"; {100 * self.blank:.0f} % of images are blanked wholly" if self.blank > 0 else "")


@dataclass(frozen=True)
class Distortion:
    """How far the printed projection moves inner products of unit features, beside Eq. 9's bound for their numbers.

    vision, text: pairs within a modality: mean and largest error, and the share within the bound. cross: the projected
    product of a patch and a token, whose product before projection does not exist where widths differ: its root mean
    square and largest size.
    """

    dim: int
    patches: int
    tokens: int
    bound: float
    vision_mean: float
    vision_max: float
    vision_within: float
    text_mean: float
    text_max: float
    text_within: float
    cross_rms: float
    cross_max: float


@dataclass(frozen=True)
class CrossPairs:
    """Eq. 10 put to the test: pairs of unit vectors of one width with a known cosine, projected by two independent
    matrices (as printed) and by one for both. within: share of pairs whose product moved by less than the epsilon that
    Table 5 prints for this D_a."""

    dim: int
    epsilon: float
    cosine: float
    independent_mean: float
    independent_within: float
    shared_mean: float
    shared_within: float


@dataclass(frozen=True)
class Passes:
    """Calls a training step makes, counted on a small model: encoders, decoder, losses that go back."""

    name: str
    vision: int
    text: int
    decoder: int
    losses: int


@dataclass(frozen=True)
class Method:
    """The readings on one set of features.

    source: where features come from; says: that in a sentence, with what is assumed. key: names the source in
    `audit.json`. images, patches, positions: samples, M and N_l. watermark: what the features cannot be evidence for.
    """

    source: Source
    key: str
    says: str
    images: int
    patches: int
    positions: int
    tau: float
    rho: float
    readings: tuple[Reading, ...]
    distortion: tuple[Distortion, ...]
    cross: tuple[CrossPairs, ...] = ()
    passes: tuple[Passes, ...] = ()
    watermark: str | None = None
    version: int = VERSION

    @property
    def toy(self) -> bool:
        """Whether these are features of a small model or of synthetic scenes: never set beside the paper's numbers."""
        return self.watermark is not None and self.source in ("run", "checkpoint")

    def reading(self, name: str) -> Reading | None:
        """The reading of that name, None where it was not measured."""
        return next((reading for reading in self.readings if reading.name == name), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Method:
        """What `as_json` gave. Raises `KeyError` or `TypeError` for something else."""
        parts: dict[str, Any] = {
            "readings": tuple(Reading(**{**row, "histogram": tuple(row["histogram"])}) for row in values["readings"]),
            "distortion": tuple(Distortion(**row) for row in values["distortion"]),
            "cross": tuple(CrossPairs(**row) for row in values["cross"]),
            "passes": tuple(Passes(**row) for row in values["passes"]),
        }
        return cls(**{**values, **parts})
