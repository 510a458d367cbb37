"""All of RefCOCO and RefCOCO+: 142,210 and 141,564 sentences, with boxes and without masks."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from amlrepro.data.refer import load_refer
from amlrepro.data.specs import dataset_spec
from amlrepro.data.stats import stats
from amlrepro.data.tokens import Tokenizer

MEASURE = """
import json, re, sys, time
from pathlib import Path
from amlrepro.data.refer import load_refer
start = time.perf_counter()
data = load_refer(Path(sys.argv[1]), sys.argv[2])
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
torch = "torch" in sys.modules
print(json.dumps({"seconds": seconds, "peak_mib": peak, "refs": len(data.refs), "torch": torch}))
"""


@pytest.fixture(scope="module")
def full_root(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The refs unpacked, the box list as annotations, and an image table. Sizes are unknown, so each is a bound."""
    source = shared / "data" / "refcoco_full_boxes"
    root = tmp_path_factory.mktemp("full")
    boxes = json.loads(gzip.decompress((source / "instances_boxes.json.gz").read_bytes()))
    ids = sorted({box["image_id"] for box in boxes})
    images = [{"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "height": 640, "width": 640} for i in ids]
    categories = [{"id": i, "name": str(i)} for i in sorted({box["category_id"] for box in boxes})]
    content = json.dumps({"images": images, "annotations": boxes, "categories": categories})
    for name in ("refcoco", "refcoco+"):
        (root / name).mkdir()
        packed = (source / name / "refs(unc).p.gz").read_bytes()
        (root / name / "refs(unc).p").write_bytes(gzip.decompress(packed))
        (root / name / "instances.json").write_text(content)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "sentences", "words"), [("refcoco", 142_210, None), ("refcoco+", 141_564, 3.53)])
def test_every_sentence_and_the_official_counts(
    full_root: Path, dataset: str, sentences: int, words: float | None
) -> None:
    data = load_refer(full_root, dataset)
    assert sum(len(ref.sentences) for ref in data.refs) == sentences
    for split, official in dataset_spec(dataset).partition("unc").splits.items():
        refs = data.split(split)
        assert len(refs) == official.refs
        assert sum(1 for _ in data.samples(split)) == official.sentences
        assert len({ref.image_id for ref in refs}) == official.images
    assert len({s.sent_id for ref in data.refs for s in ref.sentences}) == sentences
    found = stats(data)
    # Appendix A.1: 3.9 other objects of the referent's class
    assert found.same_class == pytest.approx(3.9, abs=0.05)
    if words is not None:
        assert found.words == pytest.approx(words, abs=0.005)
    texts = [s.sent for ref in data.split("train") for s in ref.sentences]
    tokenizer = Tokenizer.words(texts)
    ids, mask = tokenizer.encode_all(texts, 20)
    assert ids.shape == (len(texts), 20)
    assert not (ids[mask] == tokenizer.unk_id).any()


@pytest.mark.slow
def test_time_and_memory(full_root: Path) -> None:
    # measured on one core of a shared two-core machine: 1.4 s, 240 MiB at the peak
    command = [sys.executable, "-c", MEASURE, str(full_root), "refcoco"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(result.stdout)
    assert measured["refs"] == 50_000
    assert not measured["torch"]
    assert measured["peak_mib"] < 600
    assert measured["seconds"] < 30
