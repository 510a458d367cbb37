"""`amlris weights`: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from amlrepro.cli.weights import app
from amlrepro.errors import UserError
from amlrepro.models import load_official


@pytest.fixture
def official(shared: Path) -> Path:
    return shared / "parity/caris_micro_official_sd.pth"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_there_and_back(official: Path, tmp_path: Path) -> None:
    ours, again = tmp_path / "ours.safetensors", tmp_path / "again.pth"
    run("convert", official, ours, "--to", "ours")
    run("convert", ours, again, "--to", "official")
    first = torch.load(official, weights_only=True)["model"]
    second = torch.load(again, weights_only=True)["model"]
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert load_official("caris", ours).state_dict().keys() == load_official("caris", official).state_dict().keys()


def test_check_counts_keys(official: Path) -> None:
    found = json.loads(run("check", official, "--json"))
    with_buffers = torch.load(official, weights_only=True)["model"]
    assert (found["origin"], found["tensors"], found["mapped"]) == ("official", len(with_buffers), len(with_buffers))
    assert found["left over"] == []
    assert found["vocabulary"] == 128
    assert found["sizes"]["depths"] == [2, 2, 2, 2]


def test_existing_files_stay(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pth"
    out.write_text("precious")
    with pytest.raises(UserError, match="exists"):
        run("convert", official, out, "--to", "official")
    assert out.read_text() == "precious"
    run("convert", official, out, "--to", "official", "--force")
    assert len(torch.load(out, weights_only=True)["model"]) > 400


@pytest.mark.parametrize(
    ("out", "to", "message"),
    [("out.pth", "ours", r"writes a \.safetensors file"), ("out.pth", "oficial", "did you mean 'official'")],
)
def test_wrong_forms(official: Path, tmp_path: Path, out: str, to: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run("convert", official, tmp_path / out, "--to", to)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_it_is_not_of(official: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="official CARIS"):
        run("check", official, "--model", "detris")
    ours = tmp_path / "ours.safetensors"
    run("convert", official, ours, "--to", "ours")
    with pytest.raises(UserError, match="another model"):
        run("check", ours, "--model", "detris")


def test_list_says_what_is_needed_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "swin.pth"
    file.touch()
    for name in ("AMLRIS_BERT", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("AMLRIS_SWIN", str(file))
    rows = {row["part"]: row for row in json.loads(run("list", "--model", "caris", "--json"))}
    assert rows["vision"]["path"] == str(file)
    assert rows["vision"]["name"] == "swin_base_patch4_window7_224_22k"
    assert rows["text"]["path"] is None
    assert "bert-base-uncased" in rows["text"]["get"]
