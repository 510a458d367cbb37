"""`amlris weights`: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from amlrepro.cli.weights import app
from amlrepro.errors import UserError
from amlrepro.models import load_official
from amlrepro.models.caris.model import CARIS
from amlrepro.models.caris.official import to_official as caris_names
from amlrepro.models.caris.spec import SIZES as CARIS_SIZES
from amlrepro.models.caris.spec import CarisOptions
from amlrepro.models.contract import RISModel
from amlrepro.models.detris.model import DETRIS
from amlrepro.models.detris.official import to_official as detris_names
from amlrepro.models.detris.spec import SIZES as DETRIS_SIZES
from amlrepro.models.detris.spec import DetrisOptions
from amlrepro.models.registry import get_spec
from amlrepro.models.rela.model import ReLA
from amlrepro.models.rela.official import to_official as rela_names
from amlrepro.models.rela.spec import SIZES as RELA_SIZES
from amlrepro.models.rela.spec import RelaOptions

MODELS = ("caris", "detris", "rela")
OTHERS = [(one, other) for one in MODELS for other in MODELS if one != other]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A micro checkpoint of each model under its official names."""
    torch.manual_seed(0)
    models: dict[str, tuple[RISModel, Callable[[Any], dict[str, Tensor]]]] = {
        "caris": (CARIS(CarisOptions(**CARIS_SIZES["micro"]), 128, image_size=112), caris_names),
        "detris": (DETRIS(DetrisOptions(**DETRIS_SIZES["micro"]), 64), detris_names),
        "rela": (ReLA(RelaOptions(**RELA_SIZES["micro"]), 64, image_size=96), rela_names),
    }
    folder = tmp_path_factory.mktemp("official")
    for name, (model, names) in models.items():
        torch.save({"model": names(model)}, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in models}


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


@pytest.mark.parametrize("model", MODELS)
def test_every_model_there_and_back(files: dict[str, Path], tmp_path: Path, model: str) -> None:
    ours, again = tmp_path / "ours.safetensors", tmp_path / "again.pth"
    assert f"of {model}, ours form" in run("convert", files[model], ours, "--model", model, "--to", "ours")
    found = json.loads(run("check", ours, "--model", model, "--json"))
    assert (found["origin"], found["left over"], found["not needed"]) == ("converted", [], [])
    run("convert", ours, again, "--model", model, "--to", "official")
    first, second = (torch.load(file, weights_only=True)["model"] for file in (files[model], again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("model", MODELS)
def test_every_key_is_mapped(files: dict[str, Path], model: str) -> None:
    found = json.loads(run("check", files[model], "--model", model, "--json"))
    keys = len(torch.load(files[model], weights_only=True)["model"])
    assert (found["tensors"], found["mapped"], found["not needed"]) == (keys, keys, [])
    assert found["vocabulary"] == (128 if model == "caris" else 64)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_a_model_that_it_is_not_of(files: dict[str, Path], tmp_path: Path, one: str, other: str) -> None:
    """Official, converted, either way: the message says which model the file is of."""
    with pytest.raises(UserError, match=f"official {get_spec(other).title} checkpoint") as caught:
        run("check", files[one], "--model", other)
    assert f"official {get_spec(one).title}" in str(caught.value.found)
    ours = tmp_path / "ours.safetensors"
    run("convert", files[one], ours, "--model", one, "--to", "ours")
    for command in (("check", ours), ("convert", ours, tmp_path / "out.pth", "--to", "official")):
        with pytest.raises(UserError, match="another model") as caught:
            run(*command, "--model", other)
        assert (caught.value.found, caught.value.expected) == (one, other)
    assert not (tmp_path / "out.pth").exists()


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


def test_list_knows_every_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AMLRIS_SWIN", "AMLRIS_DINOV2", "AMLRIS_CLIP", "AMLRIS_SWIN_WINDOW12", "TORCH_HOME", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = tmp_path / "config.yaml"
    monkeypatch.setenv("AMLRIS_CONFIG", str(settings))
    rows = {(row["model"], row["part"]): row for row in json.loads(run("list", "--json"))}
    assert {key: row["variable"] for key, row in rows.items() if key[1] == "vision"} == {
        ("caris", "vision"): "AMLRIS_SWIN",
        ("detris", "vision"): "AMLRIS_DINOV2",
        ("rela", "vision"): "AMLRIS_SWIN_WINDOW12",
    }
    assert rows["rela", "vision"]["name"] == "swin_base_patch4_window12_384_22k"
    assert rows["detris", "text"]["name"] == "clip-vit-base-patch16"
    file = tmp_path / "weights.pth"
    file.touch()
    settings.write_text(f"vision_weights: {file}\n")
    (row,) = (row for row in json.loads(run("list", "--model", "rela", "--json")) if row["part"] == "vision")
    assert row["path"] == str(file)


def test_window_7_weights_do_not_go_into_a_window_12_swin(tmp_path: Path) -> None:
    from timm.models.swin_transformer import SwinTransformer

    from amlrepro.config import RunConfig
    from amlrepro.models import build_model

    sizes = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24)}
    torch.save({"model": SwinTransformer(img_size=224, window_size=7, **sizes).state_dict()}, tmp_path / "swin7.pth")
    changes = {
        "model": {"name": "rela", "size": "tiny", "options": {"window": 12, "text_layers": 1, "layers": 1}},
        "init.text": "scratch",
        "data.image_size": 96,
        "exec.vision_weights": str(tmp_path / "swin7.pth"),
    }
    with pytest.raises(UserError, match="another window") as caught:
        build_model(RunConfig().with_changes(changes), 64)
    assert "window 7" in str(caught.value.found)
    assert "window 12" in str(caught.value.expected)
