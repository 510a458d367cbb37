"""CARIS as a `RISModel`: encoders, decoder, loss, prediction and optimiser groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amlrepro.config import RunConfig
from amlrepro.errors import UserError
from amlrepro.models.backbones.swin_fast import quicken
from amlrepro.models.caris.decoder import Decoded, PixelDecoder
from amlrepro.models.caris.encoders import LanguagePrompts, TextEncoder, VisualEncoder
from amlrepro.models.caris.spec import SPEC, CarisOptions
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual
from amlrepro.models.layers.regroup import set_regrouping
from amlrepro.models.losses import cross_entropy


class CARIS(RISModel):
    """Context-aware referring image segmentation (ACM MM 2023), sizes by `CarisOptions`."""

    protocol = SPEC.protocol
    class_weights: Tensor

    def __init__(
        self,
        options: CarisOptions,
        vocab_size: int,
        class_weights: Sequence[float] = (0.9, 1.1),
        image_size: int = 448,
    ) -> None:
        super().__init__()
        self.options = options
        self.exact_sizes_only = False
        self.visual = VisualEncoder(options, image_size)
        self.text = TextEncoder(options, vocab_size)
        self.prompts = LanguagePrompts(options)
        self.decoder = PixelDecoder(options)
        self.register_buffer("class_weights", torch.tensor(tuple(class_weights)), persistent=False)

    def encode_image(self, image: Tensor, deepest_only: bool = False) -> Visual:
        """image [B, 3, H, W] -> one normalised map a stage, finest first, or the deepest alone."""
        height, width = int(image.shape[-2]), int(image.shape[-1])
        multiple = self.options.size_multiple
        if self.exact_sizes_only and (height % multiple or width % multiple):
            raise UserError(
                "at this image size the official weights would not give the official result",
                found=f"{height} x {width}",
                expected=f"sides that are multiples of {multiple}",
            )
        return Visual(self.visual(image, deepest_only))

    def encode_early(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Both encoders, of vision the deepest map alone: text and PMME read no other."""
        visual = self.encode_image(image, deepest_only=True)
        size = (int(image.shape[-2]), int(image.shape[-1]))
        return Encoded(visual, self.encode_text(input_ids, attention_mask, visual), size)

    def speed_up(self) -> None:
        """Swin as `swin_fast` computes it, and the decoder's products in the cheaper order (`layers/regroup.py`)."""
        quicken(self.visual.swin)
        set_regrouping(self, "always")

    def repeated_layers(self) -> list[nn.Module]:
        """Blocks of Swin, layers of BERT and of the decoder."""
        blocks = [block for stage in self.visual.swin.layers for block in stage.blocks]
        return [*blocks, *self.text.bert.encoder.layer, *self.decoder.layers]

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        """ids, mask [B, L] -> tokens [B, L, D], read together with the prompts [B, P, D] made from the image."""
        length = input_ids.shape[1]
        out = self.text(input_ids, attention_mask, self.prompts(visual.levels[-1]))
        return Textual(out[:, :length], attention_mask, {"prompts": out[:, length:]})

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        """Logits [B, 2, H/4, W/4]. attention_bias [B, M]: added, in every layer, to the scores with which text reads
        the M positions of the coarsest level (row-major), the finer levels are left alone."""
        text = encoded.textual
        decoded = self.decoder(encoded.visual.levels, text.tokens, text.mask, attention_bias)
        return _output(decoded, encoded.input_size)

    def answer(self, image: Tensor, rows: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Output:
        """As `RISModel.answer`. Once an image: Swin, the language prompts, the decoder's convolutions of its maps."""
        levels = self.encode_image(image).levels
        prompts = self.prompts(levels[-1]).index_select(0, rows)
        tokens = self.text(input_ids, attention_mask, prompts)[:, : input_ids.shape[1]]
        decoded = self.decoder.decode(self.decoder.pictured(levels).select(rows), tokens, attention_mask)
        return _output(decoded, (int(image.shape[-2]), int(image.shape[-1])))

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        """Class-weighted cross-entropy at the target's size [B, H, W]."""
        logits = upsample(output.logits, target.shape[-2:])
        return {"loss": cross_entropy(logits, target, self.class_weights.to(logits.dtype))}

    def soft_loss(self, output: Output, probability: Tensor) -> Tensor:
        """Class-weighted cross-entropy against probabilities [B, 2, h, w] at the logits' own size, mean over pixels."""
        return cross_entropy(output.logits, probability, self.class_weights.to(output.logits.dtype))

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        """Masks [B, H, W] bool: argmax of the two channels at `size`."""
        logits = upsample(output.logits, size)
        return logits[:, 1] > logits[:, 0]

    def score_maps(self, output: Output, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Z+ and Z- [B, H, W] at `size`."""
        logits = upsample(output.logits.float(), size)
        return logits[:, 1], logits[:, 0]

    def parameter_groups(self) -> list[ParameterGroup]:
        """The six groups of the official optimiser in its order.

        Without decay: LayerNorms, BERT's tables, relative position tables, and both kinds of prompts. With decay:
        the rest, biases, GroupNorms, gammas and level encodings included.
        """
        undecayed = {id(parameter) for parameter in self._undecayed()}
        parts: list[tuple[str, tuple[str, ...]]] = [
            ("text", ("text",)),
            ("vision", ("visual",)),
            ("decoder", ("prompts", "decoder")),
        ]
        groups = []
        for name, modules in parts:
            named = [
                (f"{module}.{key}", parameter)
                for module in modules
                for key, parameter in self.get_submodule(module).named_parameters()
            ]
            for decay in (False, True):
                members = [(key, p) for key, p in named if (id(p) not in undecayed) is decay]
                label = f"{name}, {'decay' if decay else 'no decay'}"
                groups.append(ParameterGroup(label, members, "rest" if name == "decoder" else "encoder", decay))
        return groups

    def _undecayed(self) -> Iterator[Tensor]:
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                yield from module.parameters()
            table = getattr(module, "relative_position_bias_table", None)
            if table is not None:
                yield table
        yield from (module.weight for module in self.text.modules() if isinstance(module, nn.Embedding))
        yield self.prompts.table
        yield self.decoder.vis_prompts.weight


def _output(decoded: Decoded, input_size: tuple[int, int]) -> Output:
    height, width = decoded.shapes[0]
    fused = decoded.vision[:, : height * width], decoded.text
    return Output(decoded.logits, input_size, *fused, fused_grid=(height, width))


def upsample(logits: Tensor, size: Sequence[int]) -> Tensor:
    """logits [B, K, h, w] -> [B, K, H, W], bilinear with aligned corners."""
    return F.interpolate(logits, size=(int(size[0]), int(size[1])), mode="bilinear", align_corners=True)


def build(config: RunConfig, vocab_size: int) -> CARIS:
    """CARIS as the configuration describes it; encoders from their files where `init` says `pretrained`.

    Raises `UserError` for wrong options and when pretrained weights are not found or do not fit.
    """
    from amlrepro.models.backbones.bert import load_bert
    from amlrepro.models.backbones.locate import find_weights, needed_bert, needed_swin
    from amlrepro.models.backbones.swin import load_swin

    options = SPEC.resolve_options(config)
    assert isinstance(options, CarisOptions)
    swin = bert = None
    if config.init.vision == "pretrained":
        swin = find_weights(needed_swin(options.embed_dim, options.depths, options.window), config.exec.vision_weights)
    if config.init.text == "pretrained":
        bert = find_weights(needed_bert(), config.exec.text_weights)
    model = CARIS(options, vocab_size, config.train.class_weights, config.data.image_size)
    if swin is not None:
        load_swin(model.visual.swin, swin)
    if bert is not None:
        load_bert(model.text.bert, bert)
    return model
