"""Masks on pictures: the same as those that an evaluation at original size counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_refer import make_refer

from amlrepro.config import EvalConfig
from amlrepro.data.images import read_picture
from amlrepro.data.loader import open_evaluation
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine.evaluate import evaluate
from amlrepro.engine.predict import Prediction, predict
from amlrepro.engine.subject import Subject
from amlrepro.models import build_model
from amlrepro.suite.profile import load_profile, resolve


def subject(model: str, root: Path) -> Subject:
    """An untrained small model whose masks are neither empty nor everything."""
    overrides = {"exec.data_root": str(root), "model.size": "smoke"}
    train = "grefcoco" if model == "rela" else "refcoco"
    config = resolve(load_profile("smoke"), model, "baseline", train, source="refer", overrides=overrides)
    torch.manual_seed(3)
    tokenizer = Tokenizer.words(["the box on left right red green blue yellow"])
    built = build_model(config, tokenizer.vocab_size)
    for parameter in built.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return Subject(built.eval(), tokenizer, config, Path("none"), "", "test")


@pytest.mark.parametrize("model", ["caris", "detris", "rela"])
def test_areas_are_those_an_evaluation_counts(model: str, tmp_path: Path) -> None:
    """Pictures that are not square: by CARIS and ReLA stretched, by DETRIS fitted into the input and taken back."""
    root = make_refer(tmp_path / "data", train=1, val=2)
    made = subject(model, root)
    asked = EvalConfig(dataset="refcoco", split="val", resolution="original")
    data = open_evaluation(made.config, asked, made.tokenizer, made.model.protocol)
    records = evaluate(made.model, data, "original")
    found: dict[int, list[Prediction]] = {}
    for image_id in sorted({sample.ref.image_id for sample in data.samples}):
        picture = read_picture(root / "train2014" / f"COCO_train2014_{image_id:012d}.jpg")
        mine = [sample.text for sample in data.samples if sample.ref.image_id == image_id]
        found[image_id] = predict(made, picture, mine)
        for prediction in found[image_id]:
            assert prediction.mask.shape == (picture.height, picture.width)
    areas = [int(p.mask.sum()) for predictions in found.values() for p in predictions]
    order = np.argsort(records.image_id, kind="stable")
    assert areas == records.predicted_area[order].tolist()
    assert 0 < sum(areas) < sum(p.mask.size for predictions in found.values() for p in predictions)


def test_what_the_model_does_not_read_is_told(tmp_path: Path) -> None:
    made = subject("caris", make_refer(tmp_path / "data", train=1, val=1))
    picture = read_picture(next((tmp_path / "data" / "train2014").glob("*.jpg")))
    limit = made.config.data.max_tokens
    plain, strange, long = predict(made, picture, ["red box", "purple box", " ".join(["box"] * limit)])
    assert (plain.unknown, plain.cut) == ((), 0)
    assert strange.unknown == ("purple",)
    assert long.cut == 2  # both marks count


def test_box_and_confidence() -> None:
    mask = np.zeros((8, 10), dtype=bool)
    assert Prediction("", mask, None, None, (), 0).box is None
    mask[2:5, 3:9] = True
    assert Prediction("", mask, 0.7, None, (), 0).box == (3, 2, 6, 3)
