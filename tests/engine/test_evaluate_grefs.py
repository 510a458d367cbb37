"""Records and metrics of gRefCOCO evaluations: who decides that a sentence names nothing, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from amlrepro.config import EvalConfig, RunConfig
from amlrepro.data.loader import EvaluationData, open_evaluation
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine.evaluate import evaluate, write_evaluation
from amlrepro.files import read_json
from amlrepro.metrics.compute import value
from amlrepro.models.caris.spec import SPEC
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual

PROTOCOL = replace(SPEC.protocol, multi_target=True)


class Painter(RISModel):
    """Paints the left half where the sentence contains "zebra" or "zebras", nothing elsewhere."""

    protocol = PROTOCOL
    painted: ClassVar[tuple[int, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def encode_image(self, image: Tensor) -> Visual:
        return Visual([image])

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        return Textual(input_ids[..., None].float(), attention_mask)

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        ids = encoded.textual.tokens[..., 0].long()
        found = torch.isin(ids, torch.tensor(self.painted)).any(1)
        logits = torch.zeros(len(ids), 2, *encoded.input_size)
        logits[:, 0] = 0.5
        logits[found, 1, :, : encoded.input_size[1] // 2] = 1.0
        return Output(logits, encoded.input_size)

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        raise NotImplementedError

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        mask = output.logits[:, 1, :1, :1] > output.logits[:, 0, :1, :1]
        columns = torch.arange(int(size[1])) < int(size[1]) // 2
        return (mask & columns).expand(-1, int(size[0]), -1)

    def parameter_groups(self) -> list[ParameterGroup]:
        return []


class Stubborn(Painter):
    """The same with a head that never says "nothing"."""

    def predict_no_target(self, output: Output) -> Tensor | None:
        return torch.zeros(len(output.logits), dtype=torch.bool)


@pytest.fixture(scope="module")
def config(shared: Path) -> RunConfig:
    root = str(shared / "data" / "refcoco_mini")
    return RunConfig().with_changes({"exec.data_root": root, "data.image_size": 64, "data.train": "grefcoco"})


def opened(config: RunConfig, resolution: Literal["resized", "original"] = "resized") -> EvaluationData:
    tokenizer = Tokenizer.bert()
    Painter.painted = tuple(tokenizer.pieces("zebra zebras"))
    evaluation = EvalConfig(dataset="grefcoco", split="testB", resolution=resolution)
    return open_evaluation(config, evaluation, tokenizer, PROTOCOL)


@pytest.mark.parametrize("resolution", ["resized", "original"])
def test_an_empty_mask_decides_where_there_is_no_head(
    config: RunConfig, resolution: Literal["resized", "original"]
) -> None:
    """20 sentences on one picture; the last two name nothing and contain no zebra, so their masks are empty."""
    records = evaluate(Painter(), opened(config, resolution), resolution)
    assert records.target_empty.tolist() == [False] * 18 + [True] * 2
    assert records.no_target.tolist() == records.mask_empty.tolist()
    assert records.no_target[18:].all()
    assert value("n_acc", records) == 100
    named = 18 - int(records.no_target[:18].sum())
    assert value("t_acc", records) == pytest.approx(100 * named / 18)
    assert 0 < named < 18  # "all striped equines" and "the butt" are wrongly rejected


def test_a_head_decides_where_there_is_one(config: RunConfig) -> None:
    """The same masks, empty for the last two: kept all the same, so they count as IoU 0."""
    headless, stubborn = (evaluate(model, opened(config), "resized") for model in (Painter(), Stubborn()))
    assert (headless.intersection == stubborn.intersection).all()
    assert not stubborn.no_target.any()
    assert (value("n_acc", stubborn), value("t_acc", stubborn)) == (0, 100)
    assert value("giou", headless) - value("giou", stubborn) == pytest.approx(100 * 2 / 20)


def test_generalized_metrics_are_written(config: RunConfig, tmp_path: Path) -> None:
    records = evaluate(Painter(), opened(config), "resized")
    evaluation = EvalConfig(dataset="grefcoco", split="testB")
    path = write_evaluation(tmp_path, records, evaluation, {"run_id": "x"}, config)
    metrics = read_json(path)["summary"]["metrics"]
    assert set(metrics) == {"ciou", "giou", "n_acc", "t_acc", "gpr70", "gpr80", "gpr90"}
    assert metrics["giou"]["value"] == pytest.approx(value("giou", records))
    # all samples lie on one picture, so every bootstrap draw repeats it
    assert metrics["ciou"]["low"] == pytest.approx(metrics["ciou"]["high"])
