"""What the readings of the method do with given features: S, masks, distortion; and Eq. 10 on pairs of known cosine.

Settings are those of the presets (`aml/presets.py`), S and masks are computed by the very code that trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from amlrepro.aml.afm import drop
from amlrepro.aml.draws import generator_for, sample_generators
from amlrepro.aml.pmme import PMME, select_tokens
from amlrepro.aml.presets import preset
from amlrepro.aml.projection import build_projection
from amlrepro.aml.stats import MaskStatistics
from amlrepro.config import RunConfig, parse_config
from amlrepro.engine.probes.distortion import Tally
from amlrepro.engine.probes.given import Given
from amlrepro.engine.synthetic import build_step, synthetic_batch
from amlrepro.sections import AFMConfig, PMMEConfig

BINS = 50
# name -> what of it matters here, preset, departures from it
READINGS: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
    ("literal", "Eqs. 3 to 15 as printed", "literal", {}),
    ("inferred", "no normalisation, padding takes part, whole blocks are dropped", "inferred", {}),
    ("inferred, real tokens", "the same without padding", "inferred", {"pmme.tokens": "real"}),
    ("released", "the authors' code: one linear layer, its index fault", "released", {}),
)
WIDTHS = (1024, 2048, 4096)  # D_a of Table 5
COSINES = (0.0, 0.25, 0.5, 1.0)
CROSS_WIDTH = 1024  # of both vectors of a pair
DRAWS, PAIRS = 8, 64  # of matrices, and of pairs under each


def measure_readings(
    batches: Iterable[Given], seed: int = 0, dim: int | None = None
) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...], dict[str, int]]:
    """S, masks and distortion of the features, in one pass over `batches`: rows for `Reading` and `Distortion`, and the
    sizes `images`, `patches`, `positions`.

    seed: of projections and masks. dim: D_a, that of the presets where none is given. Blocks are those of the
    presets, or a patch where these do not divide the image (small models). The deviation of logits, and distortion, are
    measured on the first batch. Raises `UserError` for settings that do not fit, `ValueError` without features.
    """
    meters: list[_Meter] = []
    distortion: tuple[dict[str, Any], ...] = ()
    sizes = {"images": 0, "patches": 0, "positions": 0}
    for batch in batches:
        if not meters:
            own = _own_settings(batch, dim)
            for name, says, base, more in READINGS:
                meters.append(_Meter(name, says, _settings(base, {**own, **more}), batch, seed))
            distortion = tuple(_distortion(batch, width, seed) for width in WIDTHS)
            sizes |= {"patches": batch.vision.shape[1], "positions": batch.text.shape[1]}
        for meter in meters:
            meter.add(batch, sizes["images"])
        sizes["images"] += len(batch.vision)
    if not meters:
        raise ValueError("no features")
    return tuple(meter.row() for meter in meters), distortion, sizes


def _settings(base: str, more: Mapping[str, Any]) -> RunConfig:
    values = {key: value for key, value in {**preset(base), **more}.items() if key.startswith(("pmme.", "afm."))}
    return parse_config({}).with_changes(values)


def _own_settings(batch: Given, dim: int | None) -> dict[str, Any]:
    out: dict[str, Any] = {} if dim is None else {"pmme.dim": dim}
    if any(pixels % AFMConfig().block for pixels in batch.size):
        out["afm.block"] = batch.size[0] // batch.grid[0]
    return out


class _Meter:
    """One reading over all batches."""

    def __init__(self, name: str, says: str, config: RunConfig, first: Given, seed: int) -> None:
        self.name, self.says, self.seed = name, says, seed
        self.pmme_config: PMMEConfig = config.pmme
        self.afm: AFMConfig = config.afm
        widths = first.vision.shape[-1], first.text.shape[-1]
        projection = build_projection(*widths, config.pmme, seed).to(first.vision.device)
        self.pmme = PMME(projection, config.pmme.normalize == "l2", config.pmme.scale)
        self.statistics = MaskStatistics()
        self.counts = torch.zeros(BINS, dtype=torch.int64)
        self.tokens = self.below = 0.0
        self.least, self.most = math.inf, -math.inf
        self.samples = self.scores = 0
        self.logits = self._deviation(first)

    @torch.no_grad()
    def add(self, batch: Given, first: int) -> None:
        """first: how many samples came before."""
        selected = self._selected(batch)
        s = self.pmme(batch.vision, batch.text, selected).cpu()
        similarity = s.reshape(-1, *batch.grid)
        index = torch.arange(first, first + len(s))
        blank = drop(similarity, batch.size, self.afm, sample_generators(self.seed, index, "audit"))
        self.statistics.add(blank, similarity, batch.size, self.afm)
        self.counts += torch.histc(s, BINS, 0.0, 1.0).long()
        self.below += float((s < self.afm.tau).sum())
        self.least, self.most = min(self.least, float(s.min())), max(self.most, float(s.max()))
        self.tokens += float(selected.sum())
        self.samples += len(s)
        self.scores += s.numel()

    def _selected(self, batch: Given) -> Tensor:
        return select_tokens(self.pmme_config.tokens, batch.mask, torch.zeros_like(batch.mask), end_mark=-1)

    @torch.no_grad()
    def _deviation(self, batch: Given) -> float:
        """Root mean square, over patches, of the deviation of a patch's logits over its tokens."""
        vision, text = batch.vision, batch.text
        if self.pmme.l2:
            vision, text = normalize(vision, dim=-1), normalize(text, dim=-1)
        vision, text = self.pmme.projection(vision, text)
        logits = self.pmme.scale * vision @ text.transpose(1, 2)
        weight = self._selected(batch)[:, None, :].to(logits.dtype)
        mean = (logits * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
        variance = ((logits - mean).square() * weight).sum(-1) / weight.sum(-1)
        return math.sqrt(float(variance.mean()))

    def row(self) -> dict[str, Any]:
        """The fields of `Reading`."""
        found = self.statistics.pop()
        return {
            "name": self.name,
            "says": self.says,
            "tokens": self.tokens / self.samples,
            "logits": self.logits,
            "mean": found["s_mean"],
            "std": found["s_std"],
            "least": self.least,
            "most": self.most,
            "below_020": found["s_below_0.2"],
            "below_tau": self.below / self.scores,
            "from_050": found["s_from_0.5"],
            "from_090": found["s_from_0.9"],
            "weak_blocks": found["weak_blocks"],
            "masked": found["masked_blocks"],
            "blank": found["fully_masked"],
            "whole": found["untouched"],
            "histogram": tuple(self.counts.tolist()),
        }


@torch.no_grad()
def _distortion(batch: Given, dim: int, seed: int) -> dict[str, Any]:
    """The printed projection (Eqs. 3 to 5) at one width: the fields of `Distortion`."""
    config = PMMEConfig(normalize="l2", dim=dim)
    vision, text = normalize(batch.vision, dim=-1), normalize(batch.text, dim=-1)
    projection = build_projection(vision.shape[-1], text.shape[-1], config, seed).to(vision.device)
    after = projection(vision, text)
    tally = Tally(config, vision.shape[1], text.shape[1], equal=False)
    for row, kept in enumerate(batch.mask.bool()):
        tally.add((vision[row], text[row][kept]), (after[0][row], after[1][row][kept]))
    found = tally.values()
    named = {"cross_rms": found["cross_std"], "cross_max": found["cross_max"], "bound": found["bound"]}
    for part in ("vision", "text"):
        names = (("mean", "mean"), ("max", "max"), ("within", "within_bound"))
        named |= {f"{part}_{ours}": found[f"{part}_{theirs}"] for ours, theirs in names}
    return {"dim": dim, "patches": vision.shape[1], "tokens": text.shape[1], **named}


@torch.no_grad()
def measure_cross(epsilons: Mapping[int, float], seed: int = 0) -> tuple[dict[str, Any], ...]:
    """Eq. 10 on pairs of unit vectors of one width and a known cosine: the fields of `CrossPairs`, by D_a and cosine.

    epsilons: D_a -> the bound. Independent matrices are what the paper draws; one for both is what would keep products.
    """
    rows = []
    for dim, epsilon in epsilons.items():
        found: dict[float, dict[str, list[Tensor]]] = {c: {"independent": [], "shared": []} for c in COSINES}
        for draw in range(DRAWS):
            generator = generator_for(seed, f"audit pairs {dim}", draw)
            first, second = (
                torch.randn(CROSS_WIDTH, dim, generator=generator) / math.sqrt(dim) for _ in ("vision", "text")
            )
            for cosine in COSINES:
                v, u = _pairs(cosine, generator)
                found[cosine]["independent"].append(((v @ first) * (u @ second)).sum(-1))
                found[cosine]["shared"].append(((v @ first) * (u @ first)).sum(-1))
        for cosine, kinds in found.items():
            row: dict[str, Any] = {"dim": dim, "epsilon": epsilon, "cosine": cosine}
            for kind, parts in kinds.items():
                products = torch.cat(parts).double()
                row[f"{kind}_mean"] = float(products.mean())
                row[f"{kind}_within"] = float(((products - cosine).abs() <= epsilon).double().mean())
            rows.append(row)
    return tuple(rows)


def _pairs(cosine: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`PAIRS` pairs of unit vectors [PAIRS, 1024] with that cosine."""
    v, other = (torch.randn(PAIRS, CROSS_WIDTH, generator=generator) for _ in ("v", "u"))
    v = normalize(v, dim=-1)
    other = normalize(other - (other * v).sum(-1, keepdim=True) * v, dim=-1)
    return v, cosine * v + math.sqrt(1 - cosine**2) * other


def count_passes(configs: Mapping[str, RunConfig], vocab_size: int = 128) -> tuple[dict[str, Any], ...]:
    """Calls that one training step of each configuration makes of its model: the fields of `Passes`."""
    rows = []
    for name, config in configs.items():
        model, strategy = build_step(config, vocab_size, "cpu")
        calls = dict.fromkeys(("encode_image", "encode_text", "segment", "loss"), 0)
        _count_calls(model, calls)
        strategy.losses(model, synthetic_batch(config, vocab_size, "cpu"))
        vision, text, decoder, losses = calls.values()
        rows.append({"name": name, "vision": vision, "text": text, "decoder": decoder, "losses": losses})
    return tuple(rows)


def _count_calls(model: nn.Module, calls: dict[str, int]) -> None:
    """Have the methods named in `calls` count."""

    def counting(name: str, method: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return method(*arguments, **named)

        return called

    for name in calls:
        setattr(model, name, counting(name, getattr(model, name)))
