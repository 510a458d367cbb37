"""CLIP's byte-pair tokeniser, as DETRIS feeds it. Torch-free; `tokenizers`, `ftfy` are imported when first used."""

from __future__ import annotations

import gzip
import html
import importlib.util
import os
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from amlrepro.data.tokens import Tokenizer
from amlrepro.errors import UserError

MERGES = 49152 - 256 - 2  # of the longer list in the file, those that CLIP's vocabulary uses
_FILES = ("bpe_simple_vocab_16e6.txt.gz", "merges.txt")
_HUB = ("openai/clip-vit-base-patch16", "openai/clip-vit-base-patch32", "openai/clip-vit-large-patch14")
_PACKAGES = ("open_clip", "clip")
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer(Tokenizer):
    """Text to CLIP ids: the start token, byte pairs of the cleaned lower-cased text, the end token (official code).

    merges: pairs "left right" in order of rank. Ids: 256 byte symbols, the same closing a word, one piece a merge, then
    start and end token; the end token's is the largest. Padding has id 0, which is also the symbol "!". A text that is
    too long is cut and its last place given to the end token.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        self.kind = "clip"
        self.merges = list(merges)
        symbols = byte_symbols()
        pieces = ["".join(pair.split()) for pair in self.merges]
        self.vocabulary = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *pieces]
        self.vocabulary += ["<|startoftext|>", "<|endoftext|>"]
        self.pad_id = 0
        self.cls_id, self.sep_id = len(self.vocabulary) - 2, len(self.vocabulary) - 1
        self.unk_id = self.mask_id = None  # bytes spell every text; nothing is ever masked
        self._cache = {}

    def pieces(self, text: str) -> list[int]:
        """Ids of the text alone, without start, end and padding."""
        ids: list[int] = self._pipeline.encode(clean(text), add_special_tokens=False).ids
        return ids

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint carries so that its tokens can be made again anywhere."""
        return {"kind": "clip", "merges": self.merges}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ClipTokenizer:
        """The inverse of `to_json`."""
        if value.get("kind") != "clip" or not isinstance(value.get("merges"), list):
            raise UserError("not a stored CLIP tokenizer", found=sorted(value))
        return cls(value["merges"])

    @classmethod
    def find(cls, source: str | Path | None = None) -> ClipTokenizer:
        """From the place `find_clip_vocabulary` finds; raises `UserError` when there is none or it is torn."""
        return cls(read_merges(find_clip_vocabulary(source)))

    def _row(self, text: str, max_tokens: int) -> list[int]:
        ids = [self.cls_id, *self.pieces(text), self.sep_id]
        return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], self.sep_id]

    @cached_property
    def _pipeline(self) -> Any:
        from tokenizers import Regex, Tokenizer
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        ids = {piece: i for i, piece in enumerate(self.vocabulary)}
        pairs = [(left, right) for left, right in (merge.split() for merge in self.merges)]
        pipeline: Any = Tokenizer(BPE(ids, pairs, end_of_word_suffix="</w>"))
        words = Split(Regex(_SPLIT), behavior="removed", invert=True)
        pipeline.pre_tokenizer = Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
        return pipeline


def clean(text: str) -> str:
    """Broken encodings mended, HTML entities undone twice, white space collapsed, lower case."""
    import ftfy

    mended = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(mended.split()).lower()


def byte_symbols() -> list[str]:
    """One printable character for each byte, in CLIP's order: printable Latin-1 bytes first, then the others, which
    take the characters from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(others)]


def read_merges(path: Path) -> list[str]:
    """The merges of a vocabulary file, packed or not, without its first line (a version)."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError("not a readable vocabulary", where=path, found=str(error)) from error
    merges = text.split("\n")[1 : MERGES + 1]
    if len(merges) < MERGES or any(len(pair.split()) != 2 for pair in merges):
        raise UserError("not CLIP's vocabulary", where=path, found=f"{len(merges)} merges", expected=f"{MERGES} merges")
    return merges


def find_clip_vocabulary(source: str | Path | None = None) -> Path:
    """Path of CLIP's merges: `source` (the file, its folder, or a weights file beside it), else the hub cache, else an
    installed package that carries them. Raises `UserError` naming the places looked at."""
    places: list[Path] = []
    if source is not None:
        given = Path(source).expanduser()
        places += [given] if given.name.endswith((".txt", ".txt.gz")) else []
        places += [folder / name for folder in (given, given.parent) for name in _FILES]
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface") / "hub")
    for name in _HUB:
        snapshots = hub.expanduser() / f"models--{name.replace('/', '--')}" / "snapshots"
        places += sorted(snapshots.glob("*/merges.txt"))
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            places += [Path(folder) / _FILES[0] for folder in spec.submodule_search_locations]
    for place in places:
        if place.is_file():
            return place
    raise UserError(
        "CLIP's vocabulary is not on this machine",
        where=", ".join(map(str, places)) or hub,
        expected=" or ".join(_FILES),
        hint="give its folder with --set exec.text_weights=FOLDER, or `pip install open-clip-torch`",
    )
