"""ReLA as a `RISModel`: encoders, decoders, loss, prediction and optimiser groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.backbones.bert import build_bert
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual
from amlrepro.models.losses import cross_entropy
from amlrepro.models.rela.pixel import PixelDecoder
from amlrepro.models.rela.regions import RegionDecoder
from amlrepro.models.rela.spec import SPEC, RelaOptions
from amlrepro.models.rela.vision import VisionEncoder

Role = Literal["encoder", "rest"]
LOSS_SCALE, SIDE_SHARE = 5.0, 0.1
_NORMS = (nn.LayerNorm, nn.GroupNorm)


@dataclass
class RelaVisual(Visual):
    """unfused: the last stage's features before words are fused in, [B, M, C]."""

    unfused: Tensor = field(kw_only=True)


@dataclass
class RelaOutput(Output):
    """minimap: logits [B, Q, 2] of each region, row by row: is the cell within the target?"""

    minimap: Tensor = field(kw_only=True)


class TextEncoder(nn.Module):
    """transformers' BERT without pooler."""

    def __init__(self, options: RelaOptions, vocab_size: int) -> None:
        super().__init__()
        self.bert: Any = build_bert(options, vocab_size)
        if options.trained_text_layers is not None:
            self.bert.embeddings.requires_grad_(False)
            self.bert.encoder.layer[options.trained_text_layers :].requires_grad_(False)

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask [B, L] -> [B, L, D]."""
        out: Tensor = self.bert(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return out


class ReLA(RISModel):
    """Region-language attention for generalized referring segmentation (GRES, CVPR 2023).

    features: what AML's first pass reads (Q15): `default`, the last stage before its word fusion through a LayerNorm
    without parameters; `fused`, that stage's output. pixels: pictures come as 0 to 255 and are normalised here, as the
    official model does, instead of by the protocol's loader.
    """

    protocol = SPEC.protocol
    class_weights: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        options: RelaOptions,
        vocab_size: int,
        class_weights: Sequence[float] = (0.9, 1.1),
        image_size: int = 480,
        features: str = "default",
        pixels: bool = False,
    ) -> None:
        super().__init__()
        self.options = options
        self.features = features
        self.pixels = pixels
        self.vision = VisionEncoder(options, image_size)
        self.text = TextEncoder(options, vocab_size)
        self.pixel = PixelDecoder(options)
        self.regions = RegionDecoder(options)
        self.register_buffer("class_weights", torch.tensor(tuple(class_weights)), persistent=False)
        for name, values in (("pixel_mean", self.protocol.mean), ("pixel_std", self.protocol.std)):
            self.register_buffer(name, torch.tensor([255 * v for v in values]).view(3, 1, 1), persistent=False)

    def encode_image(self, image: Tensor) -> Visual:
        """Refused: words are fused into every stage's output."""
        raise _text_bound()

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        """Refused, as `encode_image`: text and vision are encoded together."""
        raise _text_bound()

    def encode(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """image [B, 3, H, W], ids, mask [B, L] -> one fused map a stage, and tokens [B, L, D]."""
        if self.pixels:
            image = (image - self.pixel_mean) / self.pixel_std
        tokens = self.text(input_ids, attention_mask)
        levels, unfused = self.vision(image, tokens, attention_mask)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        return Encoded(RelaVisual(levels, unfused=unfused), Textual(tokens, attention_mask), size)

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> RelaOutput:
        """Logits of mask [B, 2, H/4, W/4], minimap and no target. Masking in feature space is refused: CARIS's only."""
        if attention_bias is not None:
            raise UserError("feature-level masking needs CARIS's decoder", where="afm.level", expected="image")
        maps, features = self.pixel(encoded.visual.levels)
        logits, minimap, no_target = self.regions(maps, features, encoded.textual.tokens)
        fused = maps[0].flatten(2).transpose(1, 2), encoded.textual.tokens
        grid = int(maps[0].shape[-2]), int(maps[0].shape[-1])
        return RelaOutput(logits, encoded.input_size, *fused, no_target, grid, minimap=minimap)

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        """5 (mask + 0.1 minimap + 0.1 no-target), class-weighted cross-entropies over the batch.

        target [B, H, W], the union of all objects. no_target [B] bool: expressions that name nothing; those with an
        empty target where it is not given. Returns the scalar and its three parts without factors.
        """
        assert isinstance(output, RelaOutput)
        assert output.no_target is not None
        if no_target is None:
            no_target = ~target.flatten(1).any(1)
        weight = self.class_weights.float()
        mask = cross_entropy(upsample(output.logits.float(), target.shape[-2:]), target, weight)
        cells = minimap_target(target, self.options.region_grid)
        minimap = cross_entropy(output.minimap.float().transpose(1, 2), cells, weight)
        none = cross_entropy(output.no_target.float(), no_target.long(), weight)
        loss = LOSS_SCALE * (mask + SIDE_SHARE * minimap + SIDE_SHARE * none)
        return {"loss": loss, "mask": mask, "minimap": minimap, "no_target": none}

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        """Masks [B, H, W] bool: argmax of the channels' sigmoids at `size`; where both round to 1, background.

        A mask is not emptied when the no-target head says so: that decision is `predict_no_target`.
        """
        probability = upsample(output.logits.float(), size).sigmoid()
        return probability[:, 1] > probability[:, 0]

    def predict_no_target(self, output: Output) -> Tensor:
        """Whether each expression names nothing, [B] bool: argmax of two sigmoids."""
        assert output.no_target is not None
        probability = output.no_target.float().sigmoid()
        return probability[:, 1] > probability[:, 0]

    def pmme_features(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Vision [B, M, C] of the last stage, by the chosen reading, and BERT's tokens [B, L, D]."""
        visual = encoded.visual
        assert isinstance(visual, RelaVisual)
        if self.features == "fused":
            return super().pmme_features(encoded)
        return F.layer_norm(visual.unfused, visual.unfused.shape[-1:]), encoded.textual.tokens

    def parameter_groups(self) -> list[ParameterGroup]:
        """One rate for all. Without decay: norms, embedding tables and relative position tables; of the
        text encoder everything decays that is trained."""
        undecayed: set[int] = set()
        for module in self.modules():
            if isinstance(module, (*_NORMS, nn.Embedding)):
                undecayed.update(id(p) for p in module.parameters())
            table = getattr(module, "relative_position_bias_table", None)
            if table is not None:
                undecayed.add(id(table))
        groups = []
        roles: dict[str, Role] = {"vision": "encoder", "text": "encoder", "pixel": "rest", "regions": "rest"}
        for part, role in roles.items():
            named = [(n, p) for n, p in self.get_submodule(part).named_parameters(prefix=part) if p.requires_grad]
            for decay in (False, True):
                members = [(n, p) for n, p in named if (part == "text" or id(p) not in undecayed) is decay]
                groups.append(ParameterGroup(f"{part}, {'decay' if decay else 'no decay'}", members, role, decay))
        return [group for group in groups if group.parameters]


def minimap_target(target: Tensor, grid: int) -> Tensor:
    """target [B, H, W] -> [B, grid * grid] int64, row by row: 1 where all pixels around the cell's centre are 1."""
    small = F.interpolate(target[:, None].float(), size=(grid, grid), mode="bilinear", align_corners=False)
    return small.flatten(1).long()


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """logits [B, K, h, w] -> [B, K, H, W], bilinear, corners not aligned."""
    return F.interpolate(logits, size=(int(size[0]), int(size[1])), mode="bilinear", align_corners=False)


def _text_bound() -> UserError:
    return UserError(
        "ReLA's vision contains language, so picture and sentence are encoded together",
        where="model.name=rela",
        expected="model.encode(image, input_ids, attention_mask); training steps that need free vision are CARIS's",
    )


def build(config: RunConfig, vocab_size: int) -> ReLA:
    """ReLA as the configuration describes it; encoders from their files where `init` says `pretrained`.

    Raises `UserError` for wrong options and when pretrained weights are not found or do not fit.
    """
    from amlrepro.models.backbones.bert import load_bert
    from amlrepro.models.backbones.locate import find_weights
    from amlrepro.models.backbones.swin import load_swin
    from amlrepro.models.rela.spec import needed_weights

    options = SPEC.resolve_options(config)
    assert isinstance(options, RelaOptions)
    given = {"vision": config.exec.vision_weights, "text": config.exec.text_weights}
    files = {part: find_weights(needed, given[part]) for part, needed in needed_weights(config).items()}
    model = ReLA(options, vocab_size, config.train.class_weights, config.data.image_size, config.pmme.features)
    if "vision" in files:
        load_swin(model.vision.swin, files["vision"], resize_tables=False)
    if "text" in files:
        load_bert(model.text.bert, files["text"])
    return model
