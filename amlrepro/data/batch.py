"""The tensors that loaders hand to strategies and evaluations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor


@dataclass
class Batch:
    """One training batch.

    image [B, 3, H, W] float32, normalised by the model's protocol; input_ids, attention_mask [B, L] int64;
    target [B, H, W], 1 on the referent: int64, or float32 in [0, 1] where the protocol keeps soft edges; index [B]
    int64, the sample's position in the run's endless sample sequence (seeds its mask draw); update: zero-based number
    of the optimiser step this batch feeds; no_target [B] bool: the sentence names nothing, or None for data where every
    sentence names an object.
    """

    image: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    target: Tensor
    index: Tensor
    update: int
    no_target: Tensor | None = None

    def to(self, device: str) -> Batch:
        """The same batch on `device` (non-blocking copies)."""

        def move(t: Tensor) -> Tensor:
            return t.to(device, non_blocking=True)

        return Batch(
            move(self.image),
            move(self.input_ids),
            move(self.attention_mask),
            move(self.target),
            self.index,
            self.update,
            None if self.no_target is None else move(self.no_target),
        )


@dataclass
class EvalBatch:
    """Whole images with all their sentences: each image is encoded once.

    image [U, 3, H, W]; image_index [N] int64, row of `image` each sentence belongs to; input_ids, attention_mask
    [N, L]; target [N, H, W] bool at the network's input size, or None when scoring at original size; original: for
    each sentence its mask [h, w] bool at the picture's own size (only when scoring there); ids: per sentence
    (ref_id, sent_id, image_id, height, width) with the picture's own size; positions: each sentence's place in
    evaluation order (refs in file order, sentences in ref order), by which records are sorted; no_target [N] bool: the
    sentence names nothing, or None for data where every sentence names an object.
    """

    image: Tensor
    image_index: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    target: Tensor | None
    original: list[Tensor] | None
    ids: list[tuple[int, int, int, int, int]]
    positions: list[int] = field(default_factory=list)
    no_target: Tensor | None = None

    def to(self, device: str) -> EvalBatch:
        """The same batch with its inputs on `device` (non-blocking copies); targets are moved when they are counted."""

        def move(t: Tensor) -> Tensor:
            return t.to(device, non_blocking=True)

        return replace(
            self,
            image=move(self.image),
            image_index=move(self.image_index),
            input_ids=move(self.input_ids),
            attention_mask=move(self.attention_mask),
        )

    def pinned(self) -> EvalBatch:
        """The same batch in page-locked memory, from which a GPU copies while it computes."""
        return replace(
            self,
            image=self.image.pin_memory(),
            image_index=self.image_index.pin_memory(),
            input_ids=self.input_ids.pin_memory(),
            attention_mask=self.attention_mask.pin_memory(),
            target=None if self.target is None else self.target.pin_memory(),
            no_target=None if self.no_target is None else self.no_target.pin_memory(),
        )
