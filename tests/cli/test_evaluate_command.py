"""`amlris evaluate` from the outside: an official checkpoint, one of ours, and everything that can be wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_refer import make_refer, tiny_config

from amlrepro.cli.main import main
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine import checkpoint
from amlrepro.metrics.records import Records
from amlrepro.models import build_model, load_official

WORDS = ["the", "box", "on", "left", "right", "red", "green", "blue", "yellow"]
VOCABULARY = [*SPECIAL, *WORDS]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_refer(tmp_path_factory.mktemp("refer") / "data", train=2, val=2)


@pytest.fixture(scope="module")
def ours(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of our checkpoints, with weights loud enough that its masks are not empty."""
    config, path = tiny_config(root), tmp_path_factory.mktemp("ours") / "best.safetensors"
    torch.manual_seed(5)
    model = build_model(config, len(VOCABULARY))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    meta = {"run_id": config.run_id, "config": config.model_dump(mode="json")}
    tokenizer = Tokenizer("words", VOCABULARY).to_json()
    checkpoint.write(path, checkpoint.model_tensors(model), {**meta, "tokenizer": tokenizer})
    return path


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command in an empty folder; returns exit code, standard output and error."""
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "no-settings.yaml"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            main(["evaluate", *map(str, arguments), "--device", "cpu"])
        captured = capsys.readouterr()
        code = ending.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def test_our_checkpoint_prints_what_its_records_say(run: Run, root: Path, ours: Path, tmp_path: Path) -> None:
    code, out, _ = run(ours, "--data", "refcoco:val", "--data-root", root)
    assert code == 0
    (path,) = (tmp_path / "results" / "paper" / "subjects").glob("*/evals/*.parquet")
    records = Records.read(path)
    assert len(records) == 8
    iou = records.intersection / records.union
    assert 0 < iou.mean() < 1
    assert f"{100 * records.intersection.sum() / records.union.sum():.2f}" in out
    assert f"{100 * iou.mean():.2f}" in out
    for word in (
        "RefCOCO (unc) val",
        "8 samples",
        "2 images",
        "112 x 112",
        "text field `sent`",
        "P@0.9",
        "oIoU",
        "mIoU",
    ):
        assert word in out


def test_both_resolutions_as_json(run: Run, root: Path, ours: Path, tmp_path: Path) -> None:
    areas = {}
    for resolution in ("resized", "original"):
        out_folder = tmp_path / resolution
        options = ("--data-root", root, "--resolution", resolution, "--out", out_folder, "--json")
        code, out, _ = run(ours, "--data", "refcoco(unc):val", *options)
        meta = json.loads(out)
        assert (code, meta["eval"]["resolution"], meta["split_by"]) == (0, resolution, "unc")
        assert set(meta["summary"]["metrics"]) >= {"oiou", "miou", "pr50", "pr70", "pr90"}
        areas[resolution] = Records.read(Path(meta["records"])).target_area
        assert Path(meta["records"]).parent == out_folder
    assert not (tmp_path / "results").exists()
    assert np.all(areas["original"] < areas["resized"])  # pictures are smaller than the network's input


def test_bf16_is_another_evaluation_and_says_so(run: Run, root: Path, ours: Path, tmp_path: Path) -> None:
    names = []
    for precision in ("float32", "bf16"):
        options = ("--data-root", root, "--precision", precision, "--out", tmp_path / "out")
        code, out, _ = run(ours, "--data", "refcoco(unc):val", *options, "--json")
        meta = json.loads(out)
        assert (code, meta["precision"], meta["eval"]["precision"]) == (0, precision, precision)
        names.append(meta["eval_id"])
    assert len({*names}) == 2
    assert "-bf16-" in names[1]
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 2
    code, out, _ = run(ours, "--data", "refcoco(unc):val", *options)
    assert (code, "| bf16" in out) == (0, True)


def test_perturbed_pictures_and_what_was_seen_in_training(run: Run, root: Path, ours: Path, tmp_path: Path) -> None:
    options = ("--data-root", root, "--perturbation", "haze", "--severity", "4", "--out", tmp_path / "out")
    code, out, _ = run(ours, "--data", "refcoco:val", *options)
    assert code == 0
    assert "haze, severity 4 (opacity 0.65)" in out
    assert "not in its train split" not in out
    (path,) = (tmp_path / "out").glob("*.json")
    meta = json.loads(path.read_text())
    assert (meta["eval"]["perturbation"], meta["eval"]["severity"], meta["train_images"]) == ("haze", 4, [])
    clean = json.loads(run(ours, "--data", "refcoco:val", "--data-root", root, "--json")[1])
    assert clean["records_sha256"] != meta["records_sha256"]
    # every picture of its own train split was seen, so nothing is left
    code, out, _ = run(ours, "--data", "refcoco:train", "--data-root", root)
    assert code == 0
    assert "on the 0 images that are not in its train split: oIoU -" in out


@pytest.mark.slow
def test_official_checkpoint_as_it_is(run: Run, root: Path, shared: Path, tmp_path: Path) -> None:
    """The micro official file: counts equal those of its model on each sample alone, fed as CARIS feeds."""
    file = shared / "parity" / "caris_micro_official_sd.pth"
    vocabulary = [*VOCABULARY, *(f"word{i}" for i in range(128 - len(VOCABULARY)))]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    options = ("--data-root", root, "--vocab", tmp_path / "vocab.txt", "--json")
    code, out, _ = run(file, "--model", "caris", "--data", "refcoco:val", *options)
    assert code == 0
    meta = json.loads(out)
    assert (meta["scored_at"], meta["origin"], meta["samples"]) == ("448 x 448", "official", 8)
    assert meta["train_images"] is None
    assert "does not say what it was trained on" in meta["train_images_unknown"]
    records = Records.read(Path(meta["records"]))

    model = load_official("caris", file)
    tables = json.loads((root / "refcoco" / "instances.json").read_text())
    info = next(image for image in tables["images"] if image["id"] == records.image_id[0])
    picture = (
        Image.open(root / "train2014" / info["file_name"]).convert("RGB").resize((448, 448), Image.Resampling.BILINEAR)
    )
    pixels = (np.asarray(picture) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    colour = _first_sentence(root, int(records.ref_id[0]))
    ids = [vocabulary.index(piece) for piece in ("[CLS]", *colour.split(), "[SEP]")]
    padded = torch.tensor([ids + [0] * (20 - len(ids))])
    with torch.no_grad():
        image = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
        logits = model(image, padded, (padded > 0).long()).logits
        full = torch.nn.functional.interpolate(logits, size=(448, 448), mode="bilinear", align_corners=True)
    area = int((full.argmax(1) == 1).sum())
    assert 0 < area < 448 * 448
    assert abs(int(records.predicted_area[0]) - area) <= 4  # pixels on the boundary, by the order of sums


def _first_sentence(root: Path, ref_id: int) -> str:
    import pickle

    refs: list[dict[str, Any]] = pickle.loads((root / "refcoco" / "refs(unc).p").read_bytes())
    return str(next(ref for ref in refs if ref["ref_id"] == ref_id)["sentences"][0]["sent"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--data": "refcoco:vall"}, "did you mean 'val'"),
        ({"--data": "refcoco"}, "DATASET:SPLIT"),
        ({"--data": "refcocoo:val"}, "did you mean 'refcoco'"),
        ({"--data": "refcoco:testA"}, "is empty"),
        ({"--data": "refcoco+:val"}, "not under this data root"),
        ({"--data-root": None}, "no data root is given"),
        ({"--data-root": "nowhere"}, "not a folder"),
        ({"--model": "carris"}, "did you mean 'caris'"),
        ({"--resolution": "full"}, "unknown resolution"),
        ({"--precision": "fp8"}, "unknown precision"),
        ({"--image-root": "nowhere"}, "no folder with the COCO"),
        ({"checkpoint": "absent.pth"}, "no such checkpoint"),
        ({"checkpoint": "torn.pth"}, "not a readable weight file"),
        ({"checkpoint": "other.pth"}, "no official CARIS checkpoint"),
    ],
)
def test_bad_input_is_one_message_and_nothing_written(
    run: Run, root: Path, ours: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 and no more")
    torch.save({"model": {"layer.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    before = sorted(os.listdir(tmp_path))
    options = {"--data": "refcoco:val", "--data-root": root, **changes}
    file = options.pop("checkpoint", ours)
    flat = [part for name, value in options.items() if value is not None for part in (name, value)]
    code, out, err = run(file, *flat)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == before


def test_a_checkpoint_of_another_model(run: Run, root: Path, ours: Path, tmp_path: Path) -> None:
    code, _, err = run(ours, "--data", "refcoco:val", "--data-root", root, "--model", "detris")
    assert code == 2
    assert "of another model" in err


def test_a_truncated_picture(run: Run, root: Path, ours: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(root, damaged)
    for picture in (damaged / "train2014").iterdir():
        os.truncate(picture, picture.stat().st_size // 2)
    code, _, err = run(ours, "--data", "refcoco:val", "--data-root", damaged)
    assert code == 2
    assert "truncated" in err
    assert not (tmp_path / "results").exists()
