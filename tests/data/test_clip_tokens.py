"""CLIP's tokeniser against the reference's examples and against open_clip's own implementation."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from amlrepro.config import RunConfig
from amlrepro.data.clip_tokens import ClipTokenizer, find_clip_vocabulary, read_merges
from amlrepro.data.tokens import Tokenizer, build_tokenizer
from amlrepro.errors import UserError
from amlrepro.models.detris.spec import END_ID, SPEC

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("open_clip") is None, reason="open-clip-torch carries the vocabulary"
)


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer.find()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("left giraffe closest to people", [49406, 1823, 22826, 14975, 531, 1047, 49407]),
        ("the woman in red", [49406, 518, 2308, 530, 736, 49407]),
        ("lower broccoli", [49406, 4909, 19094, 49407]),
    ],
)
def test_reference_examples(tokenizer: ClipTokenizer, text: str, ids: list[int]) -> None:
    got, mask = tokenizer.encode(text, 17)
    assert got == ids + [0] * (17 - len(ids))
    assert mask == [1] * len(ids) + [0] * (17 - len(ids))


def test_sizes(tokenizer: ClipTokenizer) -> None:
    assert (tokenizer.vocab_size, tokenizer.cls_id, tokenizer.sep_id) == (49408, 49406, 49407)
    assert tokenizer.sep_id == END_ID
    assert tokenizer.vocabulary[0] == "!"


def test_long_text_keeps_its_end_token(tokenizer: ClipTokenizer) -> None:
    ids, mask = tokenizer.encode("the man in the red shirt " * 5, 17)
    assert ids[:3] == [49406, 518, 786]
    assert ids[-1] == 49407
    assert ids.count(49407) == 1
    assert mask == [1] * 17


ODD = [
    "", "  two   spaces ", "it's he'll they've I'M", "café naïve ÀÉ", "&amp;lt;b&amp;gt; R&amp;D", "a1b22 3.5 #7",
    "mojibake: schÃ¶n â€œquotedâ€\x9d", "emoji 😀 and 漢字", "don't!! ?? ...", "under_score-hyphen", "tab\tnew\nline",
]  # fmt: skip


def test_same_as_open_clip(tokenizer: ClipTokenizer, shared: Path) -> None:
    """Odd texts and all sentences of the miniature data."""
    from open_clip.tokenizer import SimpleTokenizer

    reference = SimpleTokenizer()
    files = sorted((shared / "data" / "refcoco_mini" / "grefcoco").glob("*.json"))
    sentences = {s["raw"] for f in files for ref in _refs(f) for s in ref.get("sentences", [])}
    assert sentences
    for text in [*ODD, *sorted(sentences)]:
        assert tokenizer.pieces(text) == reference.encode(text), text


def _refs(path: Path) -> list[dict[str, list[dict[str, str]]]]:
    value = json.loads(path.read_text())
    return value if isinstance(value, list) else []


def test_many_at_once_and_stored(tokenizer: ClipTokenizer) -> None:
    texts = ["the woman in red", "lower broccoli", "a b c d e f g h i j k l m n o p q r s t"]
    ids, mask = tokenizer.encode_all(texts, 17)
    restored = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert isinstance(restored, ClipTokenizer)
    for i, text in enumerate(texts):
        assert restored.encode(text, 17) == (ids[i].tolist(), mask[i].astype(int).tolist())


def test_word_limits() -> None:
    limits = {
        (name, owner): SPEC.protocol.max_tokens(name, owner)
        for name, owner in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd"), ("refcocog", "google"))
    }
    assert list(limits.values()) == [17, 17, 22, 17]


def test_vocabulary_from_a_folder(tmp_path: Path) -> None:
    """transformers' merges.txt beside the weights serves as well; a torn file is refused."""
    raw = gzip.decompress(find_clip_vocabulary().read_bytes()).decode()
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(raw.split("\n")[1:48895]) + "\n")
    weights = tmp_path / "model.safetensors"
    for source in (tmp_path, weights, tmp_path / "merges.txt"):
        assert find_clip_vocabulary(source) == tmp_path / "merges.txt"
    assert ClipTokenizer.find(tmp_path).encode("lower broccoli", 5)[0] == [49406, 4909, 19094, 49407, 0]
    torn = tmp_path / "torn.txt"
    torn.write_text("#version: 0.2\ni n\nt h\n")
    with pytest.raises(UserError, match="not CLIP's vocabulary"):
        read_merges(torn)


def test_the_configuration_chooses_it() -> None:
    tokenizer = build_tokenizer(RunConfig().with_changes({"data.vocabulary": "clip"}), [])
    assert tokenizer.encode("lower broccoli", 5) == ([49406, 4909, 19094, 49407, 0], [1, 1, 1, 1, 0])
    with pytest.raises(UserError, match="not a stored CLIP tokenizer"):
        Tokenizer.from_json({"kind": "clip"})
