"""Token ids against transformers' BERT tokenizer and a vocabulary worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from amlrepro.config import RunConfig
from amlrepro.data.refer import load_refer
from amlrepro.data.tokens import Tokenizer, build_tokenizer, find_bert_vocabulary
from amlrepro.errors import UserError

ODD = [
    "The Man, in RED!  (left-most)",
    "café naïve Zürich",
    "日本 player",
    "a" * 120 + " cat",
    "tab\tnewline\nzero\u200bwidth",
    "don't [SEP] stop",
    "",
]


def test_words_by_hand() -> None:
    tokenizer = Tokenizer.words(["Left man", "man in red", "left MAN"])
    # man 3, left 2, then in and red once each in alphabetical order
    assert tokenizer.vocabulary == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "man", "left", "in", "red"]
    assert tokenizer.vocab_size == 9
    assert tokenizer.encode("Red man", 6) == ([2, 8, 5, 3, 0, 0], [1, 1, 1, 1, 0, 0])
    assert tokenizer.encode("blue man", 4) == ([2, 1, 5, 3], [1, 1, 1, 1])
    # a long sentence loses its [SEP], as in CARIS
    assert tokenizer.encode("left man in red", 4) == ([2, 6, 5, 7], [1, 1, 1, 1])
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 1, 2, 3, 4)


def test_encode_all_agrees_with_encode() -> None:
    tokenizer = Tokenizer.words(["left man", "man in red"])
    texts = ["left man", "man in red shirt", "", "left"]
    ids, mask = tokenizer.encode_all(texts, 5)
    assert (ids.dtype, ids.shape, mask.dtype) == (np.int32, (4, 5), bool)
    for row, text in enumerate(texts):
        expected_ids, expected_mask = tokenizer.encode(text, 5)
        assert ids[row].tolist() == expected_ids
        assert mask[row].astype(int).tolist() == expected_mask


def test_wordpiece_equals_transformers(shared: Path) -> None:
    from transformers import BertTokenizer

    path = find_bert_vocabulary()
    official = BertTokenizer(str(path), do_lower_case=True)
    tokenizer = Tokenizer.bert()
    assert tokenizer.vocab_size == 30522
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 100, 101, 102, 103)
    data = [load_refer(shared / "data" / "refcoco_mini", name) for name in ("refcoco", "refcoco+", "refcocog")]
    texts = [s.sent for part in data for ref in part.refs for s in ref.sentences]
    for text in texts + ODD:
        expected = official.encode(text, add_special_tokens=True)[:20]
        assert tokenizer.encode(text, 20) == (
            expected + [0] * (20 - len(expected)),
            [1] * len(expected) + [0] * (20 - len(expected)),
        )


def test_a_checkpoint_can_carry_its_tokenizer() -> None:
    import json

    for tokenizer in (Tokenizer.words(["left man"]), Tokenizer.bert()):
        again = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
        assert again.encode("left man surfing", 8) == tokenizer.encode("left man surfing", 8)
        assert again.vocab_size == tokenizer.vocab_size
    with pytest.raises(UserError, match="not a stored tokenizer"):
        Tokenizer.from_json({"kind": "bert"})
    with pytest.raises(UserError, match="lacks"):
        Tokenizer.from_json({"kind": "words", "vocabulary": ["a"]})


def test_where_berts_vocabulary_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bert").mkdir()
    given = tmp_path / "bert" / "vocab.txt"
    given.write_text("[PAD]\n")
    for source in (given, given.parent, given.parent / "pytorch_model.bin"):
        assert find_bert_vocabulary(source) == given
    hub = tmp_path / "hub"
    cached = hub / "models--bert-base-uncased" / "snapshots" / "abc" / "vocab.txt"
    cached.parent.mkdir(parents=True)
    cached.write_text("[PAD]\n")
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    assert find_bert_vocabulary() == cached
    cached.unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="vocabulary is not on this machine"):
        find_bert_vocabulary()


def test_the_configuration_chooses() -> None:
    words = RunConfig().with_changes({"data.vocabulary": "words"})
    assert build_tokenizer(words, ["a b"]).vocab_size == 7
    assert build_tokenizer(RunConfig(), ["a b"]).vocab_size == 30522
