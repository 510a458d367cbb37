"""Profiles: which layer wins, and where data come from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from amlrepro.aml.presets import PRESETS
from amlrepro.config import PROFILES, RunConfig
from amlrepro.errors import UserError
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.profile import load_profile, resolve
from amlrepro.suite.settings import find_data_root, load_settings


def test_paper_profile_is_the_papers_protocol() -> None:
    paper = load_profile("paper")
    plain = resolve(paper, "caris", "baseline", "refcoco")
    assert plain.run_id == RunConfig().run_id  # the schema's defaults are the protocol
    aml = resolve(paper, "caris", "inferred", "refcoco")
    assert (aml.afm.tau, aml.afm.rho, aml.afm.block, aml.pmme.dim) == (0.4, 0.25, 32, 2048)  # experiments, section 2
    assert (aml.train.horizon, aml.train.batch, aml.data.image_size, aml.data.max_tokens) == (50, 16, 448, 20)


def test_pilot_differs_by_its_horizon_only() -> None:
    pilot = resolve(load_profile("pilot"), "caris", "baseline", "refcoco")
    assert pilot.identity() == {"train": {"horizon": 10}}


@pytest.mark.parametrize("name", ["demo", "smoke"])
@pytest.mark.parametrize("preset", PRESETS)
def test_small_profiles_have_no_degenerate_masking(name: str, preset: str) -> None:
    config = resolve(load_profile(name), "caris", preset, "refcoco")
    assert config.data.source == "synth"
    assert (config.init.vision, config.init.text, config.data.vocabulary) == ("scratch", "scratch", "words")
    assert config.data.image_size % config.afm.block == 0 or preset == "baseline"
    if name == "demo":
        assert config.train.horizon == 50  # every milestone of the paper exists
        assert preset == "baseline" or config.data.image_size // config.afm.block >= 7


@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_small_profiles_are_watermarked_on_any_data(name: str) -> None:
    profile = load_profile(name)
    assert profile.watermark
    assert profile.real_watermark


@pytest.mark.parametrize("name", ["pilot", "paper"])
def test_large_profiles_need_real_data(name: str) -> None:
    assert load_profile(name).source == "refer"


def test_later_layers_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "experiments"
    shutil.copytree(experiments_folder(), copy)
    (copy / "profiles" / "demo.yaml").write_text(
        "id: demo\ntitle: t\nsource: synth\n"
        "set: {train.lr: 0.1, train.batch: 2, pmme.dim: 7}\n"
        "real_data: {train.batch: 3}\n"
        "models: {caris: {train.lr: 0.2}}\n"
        "presets: {inferred: {afm.rho: 0.5, afm.tau: 0.1}}\n"
    )
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(copy))
    demo = load_profile("demo")
    config = resolve(
        demo, "caris", "inferred", "refcoco", row={"afm.tau": 0.2, "afm.block": 8}, overrides={"afm.block": 4}
    )
    assert config.train.lr == 0.2  # the model's entry over the profile's
    assert config.pmme.dim == 2048  # the preset over the profile
    assert config.afm.rho == 0.5  # the profile's entry for the preset over the preset
    assert config.afm.tau == 0.2  # the row over that
    assert config.afm.block == 4  # the command line over the row
    assert config.train.batch == 2
    assert resolve(demo, "caris", "inferred", "refcoco", source="refer").train.batch == 3


def test_the_commands_method_keys_leave_a_baseline_alone() -> None:
    paper = load_profile("paper")
    overrides = {"afm.tau": 0.3, "pmme.normalize": "l2", "train.step": "joint", "train.lr": 1e-3}
    baseline = resolve(paper, "caris", "baseline", "refcoco", overrides=overrides)
    assert baseline.strategy == "plain"
    assert baseline.identity() == {"train": {"lr": 1e-3}}
    assert resolve(paper, "caris", "inferred", "refcoco", overrides=overrides).afm.tau == 0.3


def test_unknown_profile_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean 'demo'"):
        load_profile("dmeo")
    copy = tmp_path / "experiments"
    shutil.copytree(experiments_folder(), copy)
    path = copy / "profiles" / "smoke.yaml"
    path.write_text(path.read_text("utf-8").replace("train.lr:", "train.rl:"), "utf-8")
    monkeypatch.setenv("AMLRIS_EXPERIMENTS", str(copy))
    with pytest.raises(UserError) as error:
        load_profile("smoke")
    assert "smoke.yaml" in str(error.value)
    assert "train.rl" in str(error.value)


def test_every_profile_has_a_file() -> None:
    assert [load_profile(name).id for name in PROFILES] == list(PROFILES)


def test_data_root_from_flag_then_variable_then_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flag", "variable", "file"):
        (tmp_path / name).mkdir()
    settings = tmp_path / "config.yaml"
    monkeypatch.setenv("AMLRIS_CONFIG", str(settings))
    monkeypatch.delenv("AMLRIS_DATA", raising=False)
    assert find_data_root(None) is None
    settings.write_text(f"data_root: {tmp_path / 'file'}\n")
    assert find_data_root(None) == tmp_path / "file"
    monkeypatch.setenv("AMLRIS_DATA", str(tmp_path / "variable"))
    assert find_data_root(None) == tmp_path / "variable"
    assert find_data_root(tmp_path / "flag") == tmp_path / "flag"
    monkeypatch.setenv("AMLRIS_DATA", str(tmp_path / "gone"))
    with pytest.raises(UserError, match="AMLRIS_DATA"):
        find_data_root(None)


def test_settings_are_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data_rot: /data\n")
    monkeypatch.setenv("AMLRIS_CONFIG", str(path))
    with pytest.raises(UserError, match="did you mean 'data_root'"):
        load_settings()


@pytest.mark.parametrize("model", ["detris", "rela"])
@pytest.mark.parametrize("name", ["demo", "smoke"])
def test_small_models_fit_their_inputs_and_their_schedules(name: str, model: str) -> None:
    config = resolve(load_profile(name), model, "inferred", "grefcoco" if model == "rela" else "refcoco")
    side = config.data.image_size
    assert side % config.afm.block == 0
    assert side % (14 if model == "detris" else 16) == 0  # patches of DETRIS; stride of the deepest map of small ReLA
    if name == "demo":
        updates = config.train.horizon * (config.train.epoch_refs or 0) // config.train.batch
        drops = config.train.drops if model == "rela" else ()
        assert [drop / updates for drop in drops] == pytest.approx([110 / 150, 140 / 150][: len(drops)], abs=0.01)
        assert config.data.image_size // config.afm.block >= 7
