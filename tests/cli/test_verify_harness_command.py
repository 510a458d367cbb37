"""`amlris verify-harness` from the outside, with a small file in the official form."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_refer import make_refer, tiny_config

from amlrepro.cli.main import main
from amlrepro.cli.verify_harness import _table
from amlrepro.data import specs
from amlrepro.data.specs import SplitCounts
from amlrepro.data.tokens import SPECIAL
from amlrepro.files import read_json
from amlrepro.metrics.records import Records
from amlrepro.models import build_model
from amlrepro.models.caris.official import to_official
from amlrepro.suite.store import Store
from amlrepro.verdicts import harness

WORDS = [*SPECIAL, "the", "box", "on", "left", "right", "red", "green", "blue", "yellow"]
VOCABULARY = [*WORDS, *(f"word{i}" for i in range(64 - len(WORDS)))]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command in an empty folder; returns exit code, standard output and error."""
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "no-settings.yaml"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            main(["verify-harness", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(ending.value.code or 0), captured.out, captured.err

    return call


@pytest.mark.slow
def test_an_official_file_from_evaluation_to_verdict(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_refer(tmp_path / "data", train=1, val=1)
    torch.manual_seed(5)
    model = build_model(tiny_config(root, **{"model.options": {"width": 32, "groups": 32}}), len(VOCABULARY))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    file = tmp_path / "weights" / "caris_refcoco.pth"
    file.parent.mkdir()
    torch.save({"model": to_official(model), "epoch": 49}, file)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    given = ("--folder", file.parent, "--data-root", root, "--vocab", tmp_path / "vocab.txt", "--device", "cpu")

    code, out, err = run(*given)
    assert code == 1
    assert "caris-refcoco val: evaluating caris_refcoco.pth" in err
    assert "4 samples, the official split has 10,834" in out
    assert "has no testA refs" in out
    assert "harness unverified" in out
    (entry,) = read_json(tmp_path / "results" / "paper" / "harness.json")["checkpoints"]
    (records,) = (tmp_path / "results" / "paper" / "subjects").glob("*/evals/*.parquet")
    kept = Records.read(records)
    oiou, miou = 100 * kept.intersection.sum() / kept.union.sum(), 100 * (kept.intersection / kept.union).mean()
    assert 0 < oiou < 100
    assert entry["splits"]["val"]["values"] == {"oiou": pytest.approx(oiou), "miou": pytest.approx(miou)}

    # the same numbers, had the official split these four samples and the authors published what we measured
    published = tmp_path / "experiments" / "paper"
    published.mkdir(parents=True)
    text = f"""
- {{id: caris-refcoco, model: caris, data: refcoco, size: tiny, required: true, source: this test,
   values: {{val: {{oiou: "{oiou:.2f}", miou: "{miou:.2f}"}}}}}}
"""
    (published / "published.yaml").write_text(text.replace('"', ""))
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(published.parent))
    splits = {**specs.DATASETS["refcoco"].partitions["unc"].splits, "val": SplitCounts(2, 4, 1)}
    monkeypatch.setitem(specs.DATASETS["refcoco"].partitions, "unc", specs.Partition("unc", splits))
    code, out, err = run(*given)
    assert (code, "evaluated before" in err) == (0, True)
    assert "harness verified: 2 published values of CARIS on RefCOCO came out within 0.05" in out
    code, out, _ = run("--json")  # what was found before
    assert (code, json.loads(out)["verified"]) == (0, True)

    (published / "published.yaml").write_text(text.replace('"', "").replace(f"{oiou:.2f}", f"{oiou + 0.2:.2f}"))
    from amlrepro.suite.published import _read

    _read.cache_clear()
    code, out, _ = run()
    assert code == 1
    assert "stale: the published value was" in out
    code, out, _ = run(*given)
    assert code == 1
    assert "-0.20, more than 0.05" in out
    _read.cache_clear()


def test_without_checkpoints_it_shows_how_things_stand(run: Run) -> None:
    code, out, _ = run()
    assert code == 1
    assert "harness unverified: no official checkpoint was evaluated" in out
    assert "not evaluated" in out
    assert "amlris verify-harness --checkpoint refcoco+=FILE" in out
    code, out, _ = run("--json")
    assert (code, json.loads(out)["verified"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "demo"], "official checkpoints are of full size"),
        (["--checkpoint", "refcoco=absent.pth"], "no such checkpoint"),
        (["--checkpoint", "refcoc=weights.pth"], "'caris-refcoco'"),
        (["--checkpoint", "refcoco=weights.pth"], "no data root is given"),
        (["--checkpoint", "refcoco=weights.pth", "--data-root", "nowhere"], "not a folder"),
        (["--checkpoint", "refcoco=weights.pth", "--data-root", ".", "--vocab", "none"], "no such vocabulary"),
    ],
)
def test_what_is_wrong_is_one_message(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "weights.pth").write_bytes(b"")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert not (tmp_path / "results").exists()


def test_the_table_fits_eighty_columns(tmp_path: Path) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_table(harness.read_harness(Store(tmp_path, "paper")).rows))
    lines = console.export_text().splitlines()
    assert len(lines) == 2 + 36  # a head with its rule; two metrics of 18 splits
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert any("RefCOCOg (google)" in line for line in lines)
