"""DETRIS as a `RISModel`: encoders, decoder, loss, prediction and optimiser groups."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual
from amlrepro.models.detris.decoder import Decoder, Head, Neck
from amlrepro.models.detris.encoders import TextEncoder, VisionEncoder
from amlrepro.models.detris.spec import SPEC, DetrisOptions, needed_weights
from amlrepro.models.geometry import fit_aspect, picture_weights
from amlrepro.models.losses import binary_cross_entropy


class DETRIS(RISModel):
    """Densely connected parameter-efficient tuning for referring image segmentation (official code).

    features: what AML's first pass reads (Q14): `default`, the final outputs of both adapted encoders; `frozen`, those
    of the encoders without their adapters, so of vision free of language.
    """

    protocol = SPEC.protocol

    def __init__(self, options: DetrisOptions, vocab_size: int, features: str = "default") -> None:
        super().__init__()
        self.options = options
        self.features = features
        self.text = TextEncoder(options, vocab_size)
        self.vision = VisionEncoder(options)
        self.neck = Neck(options)
        self.decoder = Decoder(options)
        self.head = Head(options)
        if options.frozen:
            self._freeze()

    def _freeze(self) -> None:
        """Only adapters train in the encoders. Their modes stay untouched: batch norm in the adapters learns."""
        for encoder, adapters in ((self.text, self.text.adapters), (self.vision, self.vision.aligners)):
            encoder.requires_grad_(False)
            adapters.requires_grad_(True)

    def encode_image(self, image: Tensor) -> Visual:
        """Refused: language enters every block of the vision encoder."""
        raise _text_bound()

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        """Refused, as `encode_image`: text and vision are encoded together."""
        raise _text_bound()

    def encode(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """image [B, 3, H, W], ids, mask [B, L] -> three maps [B, D, h, w] and tokens [B, L, T].

        The decoder ignores every position with id 0, which CLIP's vocabulary also gives to a stand-alone "!"
        (official code).
        """
        tokens, state = self.text(input_ids, attention_mask)
        extra = {"state": state, "padding": input_ids == 0}
        return Encoded(Visual(self.vision(image, tokens)), Textual(tokens, attention_mask, extra), _size(image))

    def encode_stage_one(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """As `encode`, or without any adapter where `features` is `frozen`."""
        if self.features == "default":
            return self.encode(image, input_ids, attention_mask)
        tokens, state = self.text(input_ids, attention_mask, adapters=False)
        extra = {"state": state, "padding": input_ids == 0}
        return Encoded(Visual(self.vision(image, None)), Textual(tokens, attention_mask, extra), _size(image))

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        """Logits [B, 1, 4 h, 4 w]. Masking in feature space is CARIS's only and refused."""
        if attention_bias is not None:
            raise UserError("feature-level masking needs CARIS's decoder", where="afm.level", expected="image")
        text = encoded.textual
        state, padding = text.extra["state"], text.extra["padding"]
        fused = self.decoder(self.neck(encoded.visual.levels, state), text.tokens, padding)
        vision = fused.flatten(2).transpose(1, 2)
        grid = int(fused.shape[-2]), int(fused.shape[-1])
        return Output(self.head(fused, state), encoded.input_size, vision, text.tokens, fused_grid=grid)

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        """Mean binary cross-entropy at the logits' size; target [B, H, W] in [0, 1], resized to it by nearest
        neighbour, may be soft at its edges (official code)."""
        wanted = F.interpolate(target[:, None].to(output.logits.dtype), size=output.logits.shape[-2:], mode="nearest")
        return {"loss": binary_cross_entropy(output.logits, wanted)}

    def probability(self, output: Output, size: Sequence[int]) -> Tensor:
        """Foreground probability [B, H, W] at `size` (official code): bicubic with aligned corners to the network's
        input size; any other size is the picture's own, reached by the inverse of the input's geometry, cubic."""
        wanted = (int(size[0]), int(size[1]))
        probability = torch.sigmoid(output.logits.float())
        full = F.interpolate(probability, size=output.input_size, mode="bicubic", align_corners=True)[:, 0]
        if wanted == output.input_size:
            return full
        rows, columns = picture_weights(fit_aspect(wanted, output.input_size))
        return torch.from_numpy(rows).to(full) @ full @ torch.from_numpy(columns).to(full).T

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        """Masks [B, H, W] bool: probability above the threshold, 0.35 officially, at `size` (see `probability`)."""
        return self.probability(output, size) > self.options.threshold

    def score_maps(self, output: Output, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Z+ [B, H, W]: log odds of `probability`; Z-: log odds of the threshold, the same everywhere."""
        plus = self.probability(output, size).double().logit(eps=1e-6)
        minus = torch.full_like(plus, self.options.threshold).logit()
        return plus.float(), minus.float()

    def parameter_groups(self) -> list[ParameterGroup]:
        """The official two groups, adapters and head, and a third where the encoders train too (official code)."""
        adapters = _named(self, "text.adapters") + _named(self, "vision.aligners")
        known = {id(parameter) for _, parameter in adapters}
        encoders = [(n, p) for n, p in _named(self, "text") + _named(self, "vision") if id(p) not in known]
        head = [pair for part in ("neck", "decoder", "head") for pair in _named(self, part)]
        groups = [
            ParameterGroup("adapters", adapters, "encoder", True),
            ParameterGroup("encoders", encoders, "encoder", True),
            ParameterGroup("head", head, "rest", True),
        ]
        return [group for group in groups if group.parameters]


def _named(model: nn.Module, part: str) -> list[tuple[str, nn.Parameter]]:
    members = model.get_submodule(part).named_parameters(prefix=part)
    return [(name, parameter) for name, parameter in members if parameter.requires_grad]


def _size(image: Tensor) -> tuple[int, int]:
    return int(image.shape[-2]), int(image.shape[-1])


def _text_bound() -> UserError:
    return UserError(
        "DETRIS's vision contains language, so picture and sentence are encoded together",
        where="model.name=detris",
        expected="model.encode(image, input_ids, attention_mask); training steps that need free vision are CARIS's",
    )


def build(config: RunConfig, vocab_size: int) -> DETRIS:
    """DETRIS as the configuration describes it; encoders from their files where `init` says `pretrained`.

    Raises `UserError` for wrong options and when pretrained weights are not found or do not fit.
    """
    from amlrepro.models.backbones.locate import find_weights
    from amlrepro.models.detris.pretrained import load_clip, load_dinov2

    options = SPEC.resolve_options(config)
    assert isinstance(options, DetrisOptions)
    needed = needed_weights(config)
    given = {"vision": config.exec.vision_weights, "text": config.exec.text_weights}
    files = {part: find_weights(weights, given[part]) for part, weights in needed.items()}
    model = DETRIS(options, vocab_size, config.pmme.features)
    if "vision" in files:
        load_dinov2(model.vision, files["vision"])
    if "text" in files:
        load_clip(model.text, files["text"])
    return model
