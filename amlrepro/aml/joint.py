"""The released training step: whole image and masked image in one update, each loss times one half."""

from __future__ import annotations

import torch
from torch import Tensor

from amlrepro.aml.afm import apply_mask
from amlrepro.aml.masking import Masking
from amlrepro.aml.strategies import STRATEGIES, with_parts
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.data.tokens import Tokenizer
from amlrepro.models.contract import Encoded, RISModel


@STRATEGIES.register("joint")
class Joint(Masking):
    """Two passes with gradient; the second sees masked vision and text that was read beside the whole image.

    The order of the encoder calls is that of the released code (whole, whole again, masked), so that dropout and
    drop-path draw as they do there. The released code runs backward after each pass; the sum of the halves has the
    same gradient.
    """

    @classmethod
    def handles(cls, config: RunConfig) -> bool:
        step = config.strategy == "aml" and config.train.step == "joint"
        return step and config.afm.level == "image" and config.pmme.projection != "learnable"

    @classmethod
    def build(cls, config: RunConfig, model: RISModel, tokenizer: Tokenizer) -> Joint:
        return cls(config, model, tokenizer)

    def losses(self, model: RISModel, batch: Batch) -> dict[str, Tensor]:
        """Half the loss on the whole image and half the loss on the masked one; both are among the parts."""
        inputs = (batch.input_ids, batch.attention_mask)
        whole = model.encode(batch.image, *inputs)
        output = model.segment(whole)
        whole_loss = model.loss(output, batch.target, batch.no_target)["loss"]

        similarity = self.similarity(model, whole, batch.input_ids, output)
        blank = self.blank(similarity, batch)
        self.record(blank, similarity, batch)

        text = model.encode(batch.image, *inputs).textual
        vision = model.encode_image(apply_mask(batch.image, blank, self.afm.fill))
        with torch.no_grad():
            model.encode_text(*inputs, vision)  # discarded there too, but draws from the dropout's random state
        masked = model.segment(Encoded(vision, text, whole.input_size))
        masked_loss = model.loss(masked, batch.target, batch.no_target)["loss"]
        loss = 0.5 * whole_loss + 0.5 * masked_loss
        return with_parts(loss, {"loss_whole": whole_loss, "loss_masked": masked_loss})
