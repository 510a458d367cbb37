"""Training and evaluation batches from a configuration. The order is fixed by `order`; threads only fetch ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.batch import Batch, EvalBatch
from amlrepro.data.buffers import lend
from amlrepro.data.combined import load_combined
from amlrepro.data.masks import ref_mask
from amlrepro.data.order import Int64, TrainingOrder, hash_integers
from amlrepro.data.prefetch import ahead
from amlrepro.data.refer import Ref, ReferData, Sentence, load_refer
from amlrepro.data.source import Source, data_root, open_source
from amlrepro.data.specs import COMBINED, check_split, dataset_spec, is_multi_target
from amlrepro.data.tokens import Tokenizer, build_tokenizer
from amlrepro.data.transforms import normalize_planes, zero_hidden
from amlrepro.errors import UserError
from amlrepro.models.spec import Protocol
from amlrepro.perturb.specs import check_perturbation


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on. expressions: (ref, number of its sentence) pairs in file order, where an epoch goes over
    these; None where it goes over refs and draws a sentence at each visit."""

    source: Source
    refs: list[Ref]
    expressions: list[tuple[Ref, int]] | None
    order: TrainingOrder
    tokenizer: Tokenizer
    max_tokens: int
    text: str
    protocol: Protocol
    workers: int

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps_per_epoch

    @property
    def n_refs(self) -> int:
        return len(self.refs)

    @property
    def n_sentences(self) -> int:
        return sum(len(ref.sentences) for ref in self.refs)

    @property
    def n_images(self) -> int:
        return len({ref.image_id for ref in self.refs})

    def batches(self, start_update: int, stop_update: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches of updates `start_update` to `stop_update` - 1; rank r of `world` gets its share of each.

        The same for any number of workers.
        """
        return ahead(lambda update: self.batch(update, rank, world), range(start_update, stop_update), self.workers)

    def batch(self, update: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of one update, a pure function of (seed, update, rank, world)."""
        positions = self.order.positions(update, rank, world)
        refs, drawn = self._visited(positions)
        texts = [_text(ref.sentences[i], self.text) for ref, i in zip(refs, drawn, strict=True)]
        input_ids, attention_mask = _tokens(self.tokenizer, texts, self.max_tokens)
        return Batch(
            image=_pixels([self.source.planes(ref) for ref in refs], self.protocol),
            input_ids=input_ids,
            attention_mask=attention_mask,
            target=_targets(self.source, refs),
            index=torch.from_numpy(positions),
            update=update,
            no_target=_no_target(self.source.data, refs),
        )

    def _visited(self, positions: Int64) -> tuple[list[Ref], list[int]]:
        """The ref at each position and the number of its sentence."""
        visited = self.order.refs(positions)
        if self.expressions is not None:
            chosen = [self.expressions[i] for i in visited]
            return [ref for ref, _ in chosen], [number for _, number in chosen]
        refs = [self.refs[i] for i in visited]
        counts = np.array([len(ref.sentences) for ref in refs], dtype=np.int64)
        return refs, self.order.sentences(positions, counts).tolist()


@dataclass(frozen=True)
class Sample:
    """One sample of an evaluation: whose object, which text, and its place in evaluation order."""

    ref: Ref
    sentence: Sentence
    text: str
    position: int


@dataclass(frozen=True)
class EvaluationData:
    """The samples of one evaluation."""

    source: Source
    samples: list[Sample]
    tokenizer: Tokenizer
    max_tokens: int
    resolution: str
    protocol: Protocol
    batch: int
    workers: int

    @property
    def n_samples(self) -> int:
        return len(self.samples)

    def batches(self, rank: int = 0, world: int = 1, device: str = "cpu") -> Iterator[EvalBatch]:
        """Whole images with all their samples, images in order of first appearance, at least `batch` samples each
        (the last may have fewer). `positions` says how to sort back to evaluation order. Process `rank` of `world`
        takes every `world`-th batch, so that all samples are taken once, in the same batches as by one process.

        device: where they go. For a GPU they come in page-locked memory, and a thread at least loads ahead of it.
        """
        if not device.startswith("cuda"):
            return ahead(self._batch, self._share(rank, world), self.workers)
        share = self._share(rank, world)
        return ahead(lambda samples: self._batch(samples).pinned(), share, max(self.workers, 1))

    def n_share(self, rank: int, world: int) -> int:
        """How many samples process `rank` of `world` takes."""
        return sum(map(len, self._share(rank, world)))

    def _share(self, rank: int, world: int) -> Iterator[list[Sample]]:
        return islice(_groups(self.samples, self.batch), rank, None, world)

    def _batch(self, samples: list[Sample]) -> EvalBatch:
        first: dict[int, Ref] = {}
        for sample in samples:
            first.setdefault(sample.ref.image_id, sample.ref)
        rows = {image_id: row for row, image_id in enumerate(first)}
        refs = [sample.ref for sample in samples]
        infos = [self.source.data.image_of(ref) for ref in refs]
        input_ids, attention_mask = _tokens(self.tokenizer, [s.text for s in samples], self.max_tokens)
        original = self.resolution == "original"
        return EvalBatch(
            image=zero_hidden(
                _pixels([self.source.planes(ref) for ref in first.values()], self.protocol),
                [self.source.occlusion(ref) for ref in first.values()],
            ),
            image_index=torch.tensor([rows[ref.image_id] for ref in refs]),
            input_ids=input_ids,
            attention_mask=attention_mask,
            target=None if original else torch.from_numpy(np.stack([self.source.mask(ref) for ref in refs])),
            original=[torch.from_numpy(ref_mask(self.source.data, ref)) for ref in refs] if original else None,
            ids=[
                (s.ref.ref_id, s.sentence.sent_id, s.ref.image_id, info.height, info.width)
                for s, info in zip(samples, infos, strict=True)
            ],
            positions=[sample.position for sample in samples],
            no_target=_no_target(self.source.data, refs),
        )


def open_training(config: RunConfig, protocol: Protocol) -> TrainingData:
    """Training data as the configuration says; raises `UserError` for a missing root, data set, split or picture."""
    _require_known_input(protocol, config.data.train)
    root = data_root(config)
    if config.data.train == COMBINED:
        data: ReferData = load_combined(root).data
    else:
        check_split(config.data.train, "train", config.data.split_by)
        data = load_refer(root, config.data.train, config.data.split_by)
    refs = data.split("train")
    silent = [ref.ref_id for ref in refs if not ref.sentences]
    if silent:
        raise UserError(f"{len(silent)} train refs have no sentence", where=data.source, found=f"ref {silent[0]}")
    sentences = (_text(sentence, config.data.text) for ref in refs for sentence in ref.sentences)
    expressions = None
    if config.data.sampling == "expression":
        expressions = [(ref, number) for ref in refs for number in range(len(ref.sentences))]
    n_visited = len(refs) if expressions is None else len(expressions)
    return TrainingData(
        source=open_source(config, root, data, refs, protocol),
        refs=refs,
        expressions=expressions,
        order=TrainingOrder(config.seed, n_visited, config.train.batch, config.train.epoch_refs),
        tokenizer=build_tokenizer(config, sentences),
        max_tokens=config.data.max_tokens,
        text=config.data.text,
        protocol=protocol,
        workers=config.exec.workers,
    )


def open_evaluation(
    config: RunConfig, evaluation: EvalConfig, tokenizer: Tokenizer, protocol: Protocol
) -> EvaluationData:
    """Samples of one evaluation; raises `UserError` for a missing root, data set, split or picture, and for a
    perturbation or severity that does not exist."""
    _require_known_input(protocol, evaluation.dataset)
    check_perturbation(evaluation.perturbation, evaluation.severity)
    root = data_root(config)
    check_split(evaluation.dataset, evaluation.split, evaluation.split_by)
    data = load_refer(root, evaluation.dataset, evaluation.split_by)
    refs = data.split(evaluation.split)
    own = [
        Sample(ref, sentence, _text(sentence, config.data.text), position)
        for position, (ref, sentence) in enumerate(data.samples(evaluation.split))
    ]
    samples = own if evaluation.text == "own" else other_sentences(own, config.data.text)
    if not samples:
        raise UserError(
            f"there is no other sentence: no image of {evaluation.dataset} {evaluation.split} has refs to two objects",
            where=data.source,
        )
    source = open_source(config, root, data, refs, protocol)
    return EvaluationData(
        source=replace(source, perturbation=evaluation.perturbation, severity=evaluation.severity),
        samples=samples,
        tokenizer=tokenizer,
        max_tokens=config.data.max_tokens,
        resolution=evaluation.resolution,
        protocol=protocol,
        batch=config.exec.eval_batch,
        workers=config.exec.workers,
    )


def other_sentences(samples: list[Sample], field: str) -> list[Sample]:
    """The samples with a sentence about another object of the same image in place of their own.

    The sentence is drawn by a hash of the sample's ids among the image's refs whose objects are all others. Samples
    without such a ref are left out; positions stay those of the full evaluation.
    """
    by_image: dict[int, dict[int, Ref]] = {}
    for sample in samples:
        by_image.setdefault(sample.ref.image_id, {})[sample.ref.ref_id] = sample.ref
    out = []
    for sample in samples:
        own = set(sample.ref.ann_ids)
        candidates = [
            sentence
            for _, ref in sorted(by_image[sample.ref.image_id].items())
            if own.isdisjoint(ref.ann_ids)
            for sentence in ref.sentences
        ]
        if candidates:
            draw = int(hash_integers(sample.ref.ref_id, sample.sentence.sent_id)[0] % np.uint64(len(candidates)))
            out.append(Sample(sample.ref, sample.sentence, _text(candidates[draw], field), sample.position))
    return out


def _require_known_input(protocol: Protocol, dataset: str) -> None:
    if is_multi_target(dataset) and not protocol.multi_target:
        raise UserError(
            f"sentences of {dataset_spec(dataset).title} may name several objects or none",
            found="a model for sentences that name one object",
            expected="one for any number (ReLA)",
        )
    if protocol.soft_target and protocol.resize != "affine":
        raise UserError("stretched masks are hard", found="protocol.soft_target", expected="protocol.resize affine")
    if protocol.rasterize == "input" and protocol.resize != "stretch":
        raise UserError("masks are drawn on stretched input only", found=f"protocol.resize {protocol.resize}")


def _targets(source: Source, refs: list[Ref]) -> Tensor:
    """[B, H, W]: int64, or float32 where the protocol keeps soft edges."""
    soft = source.protocol.soft_target
    target = lend((len(refs), source.size, source.size), torch.float32 if soft else torch.int64)
    for row, ref in zip(target, refs, strict=True):
        row.copy_(torch.from_numpy(source.soft_mask(ref) if soft else source.mask(ref)))
    return target


def _no_target(data: ReferData, refs: list[Ref]) -> Tensor | None:
    """[B] bool: the ref has no object; None for data whose sentences name one object each."""
    return torch.tensor([not ref.ann_ids for ref in refs]) if is_multi_target(data.dataset) else None


def _groups(samples: list[Sample], batch: int) -> Iterator[list[Sample]]:
    by_image: dict[int, list[Sample]] = {}
    for sample in samples:
        by_image.setdefault(sample.ref.image_id, []).append(sample)
    group: list[Sample] = []
    for members in by_image.values():
        group += members
        if len(group) >= batch:
            yield group
            group = []
    if group:
        yield group


def _text(sentence: Sentence, field: str) -> str:
    return sentence.raw if field == "raw" else sentence.sent


def _pixels(pictures: list[NDArray[np.uint8]], protocol: Protocol) -> Tensor:
    return normalize_planes(pictures, protocol.mean, protocol.std)


def _tokens(tokenizer: Tokenizer, texts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
    encoded = [tokenizer.encode(text, max_tokens) for text in texts]
    return torch.tensor([ids for ids, _ in encoded]), torch.tensor([mask for _, mask in encoded])
