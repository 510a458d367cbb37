"""Evaluation against plain loops over single samples, and against two other libraries' IoU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from sklearn.metrics import jaccard_score
from tiny_refer import make_refer, tiny_config
from torch import Tensor

from amlrepro.config import EvalConfig
from amlrepro.data.loader import EvaluationData, open_evaluation
from amlrepro.data.tokens import Tokenizer
from amlrepro.engine import evaluate as module
from amlrepro.engine.evaluate import count_pixels, evaluate, evaluate_run
from amlrepro.engine.train import train
from amlrepro.engine.validation import selection_score
from amlrepro.files import read_json
from amlrepro.metrics.compute import value
from amlrepro.metrics.records import Records
from amlrepro.models import build_model
from amlrepro.models.caris.spec import SPEC
from amlrepro.models.contract import Encoded, Output, ParameterGroup, RISModel, Textual, Visual
from amlrepro.rundir import RunDir

Resolution = Literal["resized", "original"]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZE = 112


class BrightChannel(RISModel):
    """Foreground where the colour channel that the sentence chooses is bright: no sums, so exact in any batch."""

    protocol = SPEC.protocol

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.encoded = 0

    def encode_image(self, image: Tensor) -> Visual:
        self.encoded += len(image)
        return Visual([image])

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        return Textual(input_ids[..., None].float(), attention_mask)

    def segment(self, encoded: Encoded, attention_bias: Tensor | None = None) -> Output:
        last = encoded.textual.tokens[..., 0].amax(1).long() % 3
        value = encoded.visual.levels[0][torch.arange(len(last)), last]
        return Output(torch.stack([torch.zeros_like(value), value - 0.25], 1), encoded.input_size)

    def loss(self, output: Output, target: Tensor, no_target: Tensor | None = None) -> dict[str, Tensor]:
        raise NotImplementedError

    def predict(self, output: Output, size: Sequence[int]) -> Tensor:
        rows = torch.arange(int(size[0])) * output.logits.shape[-2] // int(size[0])
        columns = torch.arange(int(size[1])) * output.logits.shape[-1] // int(size[1])
        return output.logits[:, 1][:, rows][:, :, columns] > 0

    def parameter_groups(self) -> list[ParameterGroup]:
        return []


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_refer(tmp_path_factory.mktemp("refer") / "data", train=5, val=5)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.words(["the box on left right red green blue yellow"])


def opened(root: Path, tokenizer: Tokenizer, resolution: Resolution = "resized", batch: int = 4) -> EvaluationData:
    evaluation = EvalConfig(dataset="refcoco", split="val", resolution=resolution)
    return open_evaluation(tiny_config(root, **{"exec.eval_batch": batch}), evaluation, tokenizer, SPEC.protocol)


def plain_samples(root: Path) -> list[dict[str, Any]]:
    """The val samples read without the package: refs in file order, sentences in ref order."""
    import pickle

    tables = json.loads((root / "refcoco" / "instances.json").read_text())
    images = {image["id"]: image for image in tables["images"]}
    annotations = {annotation["id"]: annotation for annotation in tables["annotations"]}
    out = []
    for ref in pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes()):
        info = images[ref["image_id"]]
        codes = coco_mask.frPyObjects(annotations[ref["ann_id"]]["segmentation"], info["height"], info["width"])
        mask = coco_mask.decode(coco_mask.merge(codes)).astype(bool)
        picture = Image.open(root / "train2014" / info["file_name"]).convert("RGB")
        pixels = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) / 255
        small = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.NEAREST)) > 0
        for sentence in ref["sentences"]:
            image = torch.from_numpy(((pixels - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)
            sample = {"ref": ref, "sent": sentence, "info": info, "image": image, "original": mask, "resized": small}
            out.append(sample if ref["split"] == "val" else None)
    return [sample for sample in out if sample is not None]


def plain_masks(model: RISModel, tokenizer: Tokenizer, sample: dict[str, Any], size: Sequence[int]) -> Any:
    """The prediction for one sample, computed alone."""
    ids, mask = tokenizer.encode(sample["sent"]["sent"], 8)
    with torch.no_grad():
        output = model.eval()(sample["image"][None], torch.tensor([ids]), torch.tensor([mask]))
        return model.predict(output, size)[0].numpy()


@pytest.mark.parametrize("resolution", ["resized", "original"])
def test_counts_equal_a_plain_loop(root: Path, tokenizer: Tokenizer, resolution: Resolution) -> None:
    model = BrightChannel()
    records = evaluate(model, opened(root, tokenizer, resolution), resolution)
    samples = plain_samples(root)
    assert len(records) == len(samples) == 20
    flat: list[tuple[Any, Any]] = []
    for i, sample in enumerate(samples):
        target = sample[resolution]
        predicted = plain_masks(model, tokenizer, sample, target.shape)
        flat.append((target.ravel(), predicted.ravel()))
        info = sample["info"]
        assert (records.ref_id[i], records.sent_id[i]) == (sample["ref"]["ref_id"], sample["sent"]["sent_id"])
        assert (records.image_id[i], records.height[i], records.width[i]) == (info["id"], info["height"], info["width"])
        assert records.intersection[i] == np.sum(predicted & target)
        assert records.union[i] == np.sum(predicted | target)
        assert (records.predicted_area[i], records.target_area[i]) == (predicted.sum(), target.sum())
        code, truth = (coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in (predicted, target))
        iou = coco_mask.iou([code], [truth], [0])[0, 0]
        assert records.intersection[i] / records.union[i] == pytest.approx(iou, abs=1e-12)
    assert 0 < records.intersection.sum() < records.union.sum()
    truth, predicted = (np.concatenate(parts) for parts in zip(*flat, strict=True))
    assert value("oiou", records) == pytest.approx(100 * jaccard_score(truth, predicted), abs=1e-9)


def test_each_image_is_encoded_once(root: Path, tokenizer: Tokenizer) -> None:
    model = BrightChannel()
    evaluate(model, opened(root, tokenizer), "resized")
    assert model.encoded == 5  # images, not the 20 samples


def test_where_text_enters_vision_every_sample_is_encoded(root: Path, tokenizer: Tokenizer) -> None:
    once, apart = BrightChannel(), BrightChannel()
    apart.protocol = SPEC.protocol.__class__(**{**SPEC.protocol.__dict__, "vision_text_free": False})
    digests = [evaluate(model, opened(root, tokenizer), "resized").digest() for model in (once, apart)]
    assert apart.encoded == 20
    assert digests[0] == digests[1]


def test_caris_image_once_equals_each_sentence_alone(root: Path, tokenizer: Tokenizer) -> None:
    """Logits of CARIS with one vision pass for all sentences of an image, against one pass a sentence."""
    torch.manual_seed(3)
    model = build_model(tiny_config(root), tokenizer.vocab_size).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    samples = plain_samples(root)
    done = 0
    for batch in opened(root, tokenizer, batch=7).batches():
        with torch.no_grad():
            together = module.segment(model, batch, "cpu").logits
        for row, position in enumerate(batch.positions):
            ids, mask = tokenizer.encode(samples[position]["sent"]["sent"], 8)
            with torch.no_grad():
                alone = model(samples[position]["image"][None], torch.tensor([ids]), torch.tensor([mask])).logits[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-4, atol=1e-4 * float(alone.std()))
            done += 1
    assert done == 20


def test_batch_size_does_not_change_the_records(root: Path, tokenizer: Tokenizer) -> None:
    digests = {evaluate(BrightChannel(), opened(root, tokenizer, batch=b), "resized").digest() for b in (1, 3, 100)}
    assert len(digests) == 1


def test_counts_are_exact_beyond_float32() -> None:
    """A float32 sum stops counting at 2^24 pixels; masks here are larger."""
    side = 4100
    predicted = torch.ones(1, side, side, dtype=torch.bool)
    target = predicted.clone()
    target[0, 0, 0] = False
    assert count_pixels(predicted, target).tolist() == [[side * side - 1, side * side, side * side - 1]]


def test_modes_are_given_back_and_watch_can_stop(root: Path, tokenizer: Tokenizer) -> None:
    model = BrightChannel().train()
    seen: list[tuple[int, int]] = []
    evaluate(model, opened(root, tokenizer, batch=8), "resized", watch=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 20), (16, 20), (20, 20)]
    assert model.training

    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate(model, opened(root, tokenizer), "resized", watch=stop)
    assert model.training


def test_data_of_the_other_resolution_is_refused(root: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="original size"):
        evaluate(BrightChannel(), opened(root, tokenizer, "original"), "resized")
    with pytest.raises(ValueError, match="input size"):
        evaluate(BrightChannel(), opened(root, tokenizer, "resized"), "original")


def test_what_a_no_target_head_says_is_kept_in_order(root: Path, tokenizer: Tokenizer) -> None:
    class Doubting(BrightChannel):
        def predict_no_target(self, output: Output) -> Tensor | None:
            return self.predict(output, output.input_size).flatten(1).sum(1) % 2 == 0

    plain = evaluate(BrightChannel(), opened(root, tokenizer), "resized")
    doubting = evaluate(Doubting(), opened(root, tokenizer, batch=3), "resized")
    assert not plain.no_target.any()
    assert doubting.no_target.tolist() == (doubting.predicted_area % 2 == 0).tolist()
    assert 0 < doubting.no_target.sum() < 20


def test_no_samples(root: Path, tokenizer: Tokenizer) -> None:
    data: Any = opened(root, tokenizer)
    empty = type(data)(**{**data.__dict__, "samples": []})
    records = evaluate(BrightChannel(), empty, "resized")
    assert (len(records), selection_score(records, "oiou")) == (0, 0.0)


def test_an_evaluated_run_keeps_records_and_what_they_are_of(root: Path, tmp_path: Path) -> None:
    run, config = RunDir(tmp_path / "run"), tiny_config(root, **{"train.horizon": 1})
    train(config, run)
    first = EvalConfig(dataset="refcoco", split="val")
    for evaluation in (first, first.model_copy(update={"resolution": "original"})):
        evaluate_run(run, config, evaluation)
        meta = read_json(run.eval_meta(evaluation.eval_id))
        records = Records.read(run.eval_records(evaluation.eval_id))
        assert meta["eval"] == evaluation.model_dump(mode="json")
        assert meta["records_sha256"] == meta["summary"]["records"] == records.digest()
        assert (meta["run_id"], meta["epoch"], meta["samples"], meta["split_by"]) == (config.run_id, 1, 20, "unc")
    assert len(list(run.evals.glob("*.parquet"))) == 2
    state = run.read_state()
    assert state["best"]["oiou"] == pytest.approx(
        read_json(run.eval_meta(first.eval_id))["summary"]["metrics"]["oiou"]["value"]
    )


def test_perturbed_evaluations_of_a_run(root: Path, tmp_path: Path) -> None:
    run, config = RunDir(tmp_path / "run"), tiny_config(root, **{"train.horizon": 1})
    train(config, run)
    clean = EvalConfig(dataset="refcoco", split="val")
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"perturbation": "haze"},
        {"perturbation": "haze", "severity": 5},
        {"perturbation": "occlude_50"},
        {"split": "train"},
    )
    evaluations = [clean.model_copy(update=change) for change in changes]
    assert len({evaluation.eval_id for evaluation in evaluations}) == 5
    for evaluation in evaluations:
        evaluate_run(run, config, evaluation)
    metas = [read_json(run.eval_meta(evaluation.eval_id)) for evaluation in evaluations]
    assert "perturbed_by" not in metas[0]
    assert metas[1]["perturbed_by"] == {"title": "Haze", "stage": "picture", "parameters": {"opacity": 0.5}}
    assert metas[3]["perturbed_by"]["parameters"] == {"share": 0.5}
    targets = {tuple(Records.read(run.eval_records(e.eval_id)).target_area.tolist()) for e in evaluations[:4]}
    assert len(targets) == 1
    # images 1 to 5 are train, 6 to 10 val
    assert [meta["train_images"] for meta in metas] == [[], [], [], [], [1, 2, 3, 4, 5]]
    assert not any("train_images_unknown" in meta for meta in metas)


def test_perturbed_pictures_reach_the_model(root: Path, tokenizer: Tokenizer) -> None:
    areas = []
    for name in (None, "haze", "lowlight", "occlude_50"):
        evaluation = EvalConfig(dataset="refcoco", split="val", perturbation=name)
        data = open_evaluation(tiny_config(root), evaluation, tokenizer, SPEC.protocol)
        model = BrightChannel()
        areas.append(int(evaluate(model, data, "resized").predicted_area.sum()))
        assert model.encoded == 5
    clean, hazy, dark, hidden = areas
    # foreground is what is bright: all of it in the haze, little in the dark, half where half is zero
    assert hazy > clean > dark
    assert 0.3 * clean < hidden < 0.75 * clean
