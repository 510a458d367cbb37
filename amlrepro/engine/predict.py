"""Masks on any picture, for sentences of the user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from amlrepro.data.batch import EvalBatch
from amlrepro.data.tokens import Tokenizer
from amlrepro.data.transforms import network_input, normalize
from amlrepro.engine.evaluate import segment
from amlrepro.engine.subject import Subject
from amlrepro.models.contract import Output, RISModel
from amlrepro.models.geometry import fit_aspect, unwarp


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model makes of a sentence.

    mask [H, W] at the picture's size. confidence: mean probability of the referent inside the mask, None for an empty
    mask. no_target: the model says that the sentence names nothing; None for models without a head for it. unknown:
    words outside a closed vocabulary. cut: tokens beyond the model's limit, which it does not read.
    """

    sentence: str
    mask: NDArray[np.bool_]
    confidence: float | None
    no_target: bool | None
    unknown: tuple[str, ...]
    cut: int

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of the mask in pixels; None for an empty mask."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        if not len(rows):
            return None
        left, top = int(columns[0]), int(rows[0])
        return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


@torch.inference_mode()
def predict(subject: Subject, picture: Image.Image, sentences: Sequence[str], device: str = "cpu") -> list[Prediction]:
    """Segment an RGB picture for each sentence, in float32; where vision is free of text it is encoded once."""
    model = subject.model.to(device).eval()
    data = subject.config.data
    pixels = torch.from_numpy(network_input(picture, data.image_size, model.protocol)[None].copy())
    encoded = [subject.tokenizer.encode(sentence, data.max_tokens) for sentence in sentences]
    batch = EvalBatch(
        image=normalize(pixels, model.protocol.mean, model.protocol.std),
        image_index=torch.zeros(len(sentences), dtype=torch.int64),
        input_ids=torch.tensor([ids for ids, _ in encoded]),
        attention_mask=torch.tensor([mask for _, mask in encoded]),
        target=None,
        original=None,
        ids=[],
    )
    output = segment(model, batch, device)
    absent = model.predict_no_target(output)
    size = (picture.height, picture.width)
    out = []
    for row, sentence in enumerate(sentences):
        index = torch.tensor([row], device=output.logits.device)
        one = dataclasses.replace(output, logits=output.logits[index], fused_vision=None, fused_text=None)
        mask = model.predict(one, size)[0].cpu().numpy()
        inside = _probability(model, one, size)[mask]
        out.append(
            Prediction(
                sentence=sentence,
                mask=mask,
                confidence=float(inside.mean()) if inside.size else None,
                no_target=None if absent is None else bool(absent[row]),
                unknown=_unknown(subject.tokenizer, sentence),
                cut=_cut(subject.tokenizer, sentence, data.max_tokens),
            )
        )
    return out


def _probability(model: RISModel, output: Output, size: tuple[int, int]) -> NDArray[np.float32]:
    """Probability of the referent at each of the picture's pixels [H, W], for an output of one row: of the logits,
    interpolated to the picture, or to the network's input and from there taken back."""
    stretched = model.protocol.resize == "stretch"
    wanted = size if stretched else output.input_size
    logits = functional.interpolate(output.logits.float(), size=wanted, mode="bilinear", align_corners=True)
    large = model.foreground(dataclasses.replace(output, logits=logits))
    probability: NDArray[np.float32] = large[0].cpu().numpy()
    return probability if stretched else unwarp(probability, fit_aspect(size, output.input_size))


def _unknown(tokenizer: Tokenizer, sentence: str) -> tuple[str, ...]:
    """Words that are not in a closed vocabulary; vocabularies of word pieces know all."""
    if tokenizer.kind != "words":
        return ()
    known = set(tokenizer.vocabulary)
    return tuple(dict.fromkeys(word for word in sentence.lower().split() if word not in known))


def _cut(tokenizer: Tokenizer, sentence: str, limit: int) -> int:
    return max(0, len(tokenizer.pieces(sentence)) + 2 - limit)
