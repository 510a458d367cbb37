"""Which model a file of weights belongs to, told from its keys. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable

# Kind, and key parts that it must contain, most specific first.
_SIGNATURES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("amlris", "official AMLRIS (CARIS)", ("backbone.vis_encoder.", "pixel_decoder.encoder.", "aug.text_proj.")),
    ("caris", "official CARIS", ("backbone.vis_encoder.", "pixel_decoder.encoder.")),
    ("caris-ours", "CARIS of this project", ("visual.swin.", "decoder.layers.", "text.bert.")),
    ("detris", "official DETRIS", ("dinov2.", "txt_backbone.", "neck.")),
    ("detris-ours", "DETRIS of this project", ("vision.aligners.", "text.clip.", "neck.")),
    ("rela", "official ReLA", ("sem_seg_head.predictor.", "text_encoder.")),
    ("rela-ours", "ReLA of this project", ("vision.fusions.", "regions.layers.", "text.bert.")),
    ("lavt", "official LAVT", ("backbone.layers.", "fusion")),
    ("swin", "Swin (ImageNet classification)", ("patch_embed.proj.", "relative_position_bias_table")),
    ("bert", "BERT", ("embeddings.word_embeddings.", "encoder.layer.")),
    ("dinov2", "DINOv2", ("cls_token", "patch_embed.proj.", "blocks.")),
    ("clip", "CLIP", ("token_embedding.", "text_projection")),
)


def identify(keys: Iterable[str]) -> str | None:
    """Short name of the kind of checkpoint, or None for one that is not known."""
    found = _match(keys)
    return found[0] if found else None


def describe(keys: Iterable[str]) -> str:
    """The kind of checkpoint in words, or some of its keys."""
    names = list(keys)
    found = _match(names)
    if found:
        return f"a checkpoint of another kind: {found[1]}"
    return f"an unknown checkpoint with keys {', '.join(sorted(names)[:4])}, ..."


def title(kind: str) -> str:
    """The kind in words."""
    return next(words for name, words, _ in _SIGNATURES if name == kind)


def _match(keys: Iterable[str]) -> tuple[str, str] | None:
    names = list(keys)
    for kind, words, parts in _SIGNATURES:
        if all(any(part in name for name in names) for part in parts):
            return kind, words
    return None
