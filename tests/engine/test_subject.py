"""Official checkpoints of DETRIS and ReLA, micro sizes, evaluated as files and once more by hand."""

from __future__ import annotations

import importlib.util
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_refer import make_grefs, make_refer
from torch import nn

from amlrepro.config import EvalConfig
from amlrepro.data.clip_tokens import ClipTokenizer
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine.subject import Subject, evaluate_subject, open_subject
from amlrepro.errors import UserError
from amlrepro.metrics.records import Records
from amlrepro.models import load_official
from amlrepro.models.contract import RISModel
from amlrepro.models.converted import write_converted
from amlrepro.models.detris import official as detris_official
from amlrepro.models.detris.model import DETRIS
from amlrepro.models.detris.spec import SIZES as DETRIS_SIZES
from amlrepro.models.detris.spec import DetrisOptions
from amlrepro.models.rela import official as rela_official
from amlrepro.models.rela.model import ReLA
from amlrepro.models.rela.spec import SIZES as RELA_SIZES
from amlrepro.models.rela.spec import RelaOptions

WORDS = ["the", "box", "on", "left", "right", "red", "green", "blue", "yellow", "both", "boxes", "giraffe", "big"]
# Numbers of heads that loaders assume, since tensors do not show them.
RELA_HEADS: dict[str, Any] = {"groups": 32, "decoder_heads": 8}
DETRIS_HEADS: dict[str, Any] = {"vision_heads": 1, "text_heads": 1, "decoder_heads": 8, "cross_heads": 8}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """These models are too small to share out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`raw` differs from `sent`: it has one word more."""
    root = make_grefs(make_refer(tmp_path_factory.mktemp("refer") / "data", train=1, val=2))
    path = root / "grefcoco" / "grefs(unc).json"
    refs = json.loads(path.read_text())
    for ref in refs:
        for sentence in ref["sentences"]:
            sentence["raw"] = "Big " + sentence["sent"]
    path.write_text(json.dumps(refs))
    return root


def loud(model: nn.Module) -> Any:
    """The model with weights so large that masks are neither full nor empty."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def rela(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An official file and its vocabulary."""
    folder = tmp_path_factory.mktemp("rela")
    vocabulary = [*SPECIAL, *WORDS]
    (folder / "vocab.txt").write_text("\n".join([*vocabulary, *(f"w{i}" for i in range(120 - len(vocabulary)))]) + "\n")
    torch.manual_seed(0)
    model = loud(ReLA(RelaOptions(**{**RELA_SIZES["micro"], **RELA_HEADS}), 120, image_size=480))
    torch.save({"model": rela_official.to_official(model)}, folder / "rela.pth")
    return folder / "rela.pth", folder / "vocab.txt"


def pictures(root: Path, dataset: str, records: Records) -> list[Any]:
    tables = json.loads((root / dataset / "instances.json").read_text())
    names = {image["id"]: image["file_name"] for image in tables["images"]}
    return [Image.open(root / "train2014" / names[i]).convert("RGB") for i in records.image_id.tolist()]


def pixels_of(picture: Image.Image) -> torch.Tensor:
    """[3, h, w], 0 to 255."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()


def scored(subject: Subject, root: Path, **evaluation: str) -> tuple[Records, Any]:
    asked = EvalConfig.model_validate({"split": "val", **evaluation})
    records, _, config = evaluate_subject(subject, asked, {"data_root": str(root)}, "cpu")
    return records, config


def test_rela_sees_pictures_and_raw_text_as_its_own_code(root: Path, rela: tuple[Path, Path]) -> None:
    """By hand: pixels of 0 to 255 into a model that normalises them itself, as the official one; 480 x 480."""
    file, vocabulary = rela
    subject = open_subject(file, "rela", "grefcoco", None, vocabulary)
    records, config = scored(subject, root, dataset="grefcoco")
    data = config.data
    assert (data.text, data.image_size, data.max_tokens, data.vocabulary) == ("raw", 480, 20, "bert")
    assert len(records) == 12
    refs = {r["ref_id"]: r for r in json.loads((root / "grefcoco" / "grefs(unc).json").read_text())}
    tokenizer = Tokenizer.bert(vocabulary)
    model: Any = load_official("rela", file)
    assert model.pixels
    said = []
    for row, picture in enumerate(pictures(root, "grefcoco", records)):
        ref = refs[int(records.ref_id[row])]
        sentence = next(s for s in ref["sentences"] if s["sent_id"] == records.sent_id[row])
        ids, mask = (torch.tensor([v]) for v in tokenizer.encode(sentence["raw"], 20))
        resized = pixels_of(picture.resize((480, 480), Image.Resampling.BILINEAR))
        with torch.no_grad():
            output = model(resized[None], ids, mask)
        area = int(model.predict(output, (480, 480)).sum())
        assert abs(area - int(records.predicted_area[row])) <= 10  # normalised in another order, so rounded elsewhere
        said.append(bool(model.predict_no_target(output)[0]))
        assert bool(records.target_empty[row]) == (ref["ann_id"] == [-1])
    assert records.no_target.tolist() == said
    assert 0 < records.predicted_area.mean() < 480 * 480
    assert len(set(records.predicted_area.tolist())) > 2


def test_converted_rela_scores_the_same(root: Path, rela: tuple[Path, Path], tmp_path: Path) -> None:
    file, vocabulary = rela
    write_converted(tmp_path / "rela.safetensors", "rela", load_official("rela", file))
    both = [
        scored(open_subject(path, "rela", "grefcoco", None, vocabulary), root, dataset="grefcoco")[0]
        for path in (file, tmp_path / "rela.safetensors")
    ]
    assert both[0].digest() == both[1].digest()


def test_a_checkpoint_of_another_model_is_refused(rela: tuple[Path, Path]) -> None:
    file, vocabulary = rela
    for other in ("caris", "detris"):
        with pytest.raises(UserError, match="ReLA"):
            open_subject(file, other, "refcoco", None, vocabulary)


@pytest.mark.skipif(importlib.util.find_spec("open_clip") is None, reason="open-clip-torch carries the vocabulary")
@pytest.mark.parametrize(("dataset", "words"), [("refcoco", 17), ("refcocog", 22)])
def test_detris_is_fed_by_its_protocol(root: Path, tmp_path: Path, dataset: str, words: int) -> None:
    """By hand: torch's own sampling, CLIP's tokens, at each picture's own size with the threshold 0.35."""
    torch.manual_seed(0)
    model = loud(DETRIS(DetrisOptions(**{**DETRIS_SIZES["micro"], **DETRIS_HEADS}), 49408))
    file = tmp_path / "detris.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in detris_official.to_official(model).items()}}, file)
    subject = open_subject(file, "detris", dataset, None, None)
    data = subject.config.data
    assert (data.text, data.image_size, data.max_tokens, data.vocabulary) == ("sent", 448, words, "clip")
    if dataset != "refcoco":
        return
    records, _ = scored(subject, root, dataset=dataset, resolution="original")
    assert len(records) == 8
    for row, picture in enumerate(pictures(root, "refcoco", records)):
        prediction = by_hand(model, pixels_of(picture), sentence_of(root, records, row))
        share = abs(int(prediction.sum()) - int(records.predicted_area[row])) / prediction.numel()
        assert share < 0.005  # 8-bit pictures and a border of whole numbers there
    assert 0 < records.predicted_area.mean() < 60 * 80


def sentence_of(root: Path, records: Records, row: int) -> str:
    refs = {r["ref_id"]: r for r in pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())}
    sentences = refs[int(records.ref_id[row])]["sentences"]
    return str(next(s["sent"] for s in sentences if s["sent_id"] == records.sent_id[row]))


def warped(image: torch.Tensor, factor: float, offset: tuple[float, float], size: tuple[int, int]) -> torch.Tensor:
    """image [C, h, w] sampled (bicubic, zero outside) at factor * (row, column) + offset of every output pixel."""
    rows, columns = (torch.arange(n) * factor + o for n, o in zip(size, offset, strict=True))
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(2 * rows / (height - 1) - 1, 2 * columns / (width - 1) - 1, indexing="ij")
    return nn.functional.grid_sample(image[None], torch.stack([x, y], -1)[None], "bicubic", align_corners=True)[0]


def by_hand(model: RISModel, picture: torch.Tensor, text: str) -> torch.Tensor:
    """picture [3, h, w] of 0 to 255 -> mask [h, w]."""
    height, width = picture.shape[-2:]
    scale = min(448 / height, 448 / width)
    place = (448 - height * scale) / 2, (448 - width * scale) / 2
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    fed = warped(picture / 255 - mean, 1 / scale, (-place[0] / scale, -place[1] / scale), (448, 448)) / deviation
    ids, mask = (torch.tensor([v]) for v in ClipTokenizer.find().encode(text, 17))
    with torch.no_grad():
        probability = model(fed[None], ids, mask).logits.sigmoid()
    full = nn.functional.interpolate(probability, (448, 448), mode="bicubic", align_corners=True)[0]
    return warped(full, scale, place, (height, width))[0] > 0.35
