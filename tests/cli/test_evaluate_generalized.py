"""`amlris evaluate` on gRefCOCO: GRES's metrics, and models that cannot answer "nothing"."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from amlrepro.cli.main import main
from amlrepro.config import RunConfig
from amlrepro.data.synth import ensure_synth
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.engine import checkpoint
from amlrepro.metrics.records import Records
from amlrepro.models import build_model
from amlrepro.sections import SynthConfig

VOCABULARY = [*SPECIAL, *["the", "left", "right", "red", "green", "blue", "box", "and", "no"]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SynthConfig(image_size=48, train_images=2, eval_images=3)
    return ensure_synth(config, tmp_path_factory.mktemp("synth") / "data", workers=1)


def ours(folder: Path, model: str, text: str) -> Path:
    """A checkpoint of a small model, as a run would leave it."""
    changes = {
        "model": {"name": model, "size": "smoke"},
        "init": {"vision": "scratch", "text": "scratch"},
        "data": {"train": "grefcoco", "vocabulary": "words", "image_size": 64, "max_tokens": 12, "text": text},
    }
    config = RunConfig().with_changes(changes, model)
    torch.manual_seed(5)
    built = build_model(config, len(VOCABULARY))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    meta = {"run_id": config.run_id, "config": config.model_dump(mode="json")}
    path = folder / f"{model}.safetensors"
    tokenizer = Tokenizer("words", VOCABULARY).to_json()
    checkpoint.write(path, checkpoint.model_tensors(built), {**meta, "tokenizer": tokenizer})
    return path


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as ending:
        main(["evaluate", *map(str, arguments), "--device", "cpu"])
    return ending.value.code


def test_the_metrics_of_gres(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--model", "rela", "--data", "grefcoco:val", "--data-root", root)
    assert not run(ours(tmp_path, "rela", "raw"), *options)
    out = capsys.readouterr().out
    rows = {parts[1]: parts[3] for line in out.splitlines() if len(parts := line.split()) > 4 and parts[0] == "│"}
    assert list(rows) == ["cIoU", "gIoU", "N-acc", "T-acc", "Pr@0.7", "Pr@0.8", "Pr@0.9"]

    (path,) = (tmp_path / "results/paper/subjects").glob("*/evals/*.parquet")
    records = Records.read(path)
    empty, said = records.target_empty, records.no_target
    assert 0 < empty.sum() < len(records)
    rejected = sum(bool(e and s) for e, s in zip(empty, said, strict=True))
    kept = sum(bool(not e and not s) for e, s in zip(empty, said, strict=True))
    assert rows["N-acc"] == f"{100 * rejected / empty.sum():.2f}"
    assert rows["T-acc"] == f"{100 * kept / (len(records) - empty.sum()):.2f}"
    inside = sum(i for i, e, s in zip(records.intersection, empty, said, strict=True) if not e and not s)
    union = sum(u for u, e, s in zip(records.union, empty, said, strict=True) if not (e and s))
    assert rows["cIoU"] == f"{100 * inside / union:.2f}"


def test_a_model_for_one_object_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = ours(tmp_path, "caris", "sent")
    before = sorted(tmp_path.iterdir())
    assert run(file, "--model", "caris", "--data", "grefcoco:val", "--data-root", root) == 2
    error = capsys.readouterr().err
    assert "several objects or none" in error
    assert "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before
