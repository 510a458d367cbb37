"""Presets against the table of axes in the design."""

import subprocess
import sys

import pytest

from amlrepro.aml.presets import PRESETS, describe, preset
from amlrepro.config import RunConfig
from amlrepro.errors import UserError


def run(name: str, **changes: object) -> RunConfig:
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return RunConfig().with_changes({**preset(name), **dotted})


@pytest.mark.parametrize(
    ("name", "normalize", "projection", "dim", "tokens", "mode", "dropout", "step"),
    [
        ("inferred", "none", "gaussian", 2048, "all", "protocol", "block", "forward_only"),
        ("literal", "l2", "gaussian", 2048, "real", "protocol", "pixel", "forward_only"),
        ("released", "none", "text_linear", 1024, "all", "train", "released", "joint"),
    ],
)
def test_readings(
    name: str, normalize: str, projection: str, dim: int, tokens: str, mode: str, dropout: str, step: str
) -> None:
    config = run(name)
    pmme, afm = config.pmme, config.afm
    assert (pmme.normalize, pmme.projection, pmme.dim, pmme.tokens) == (normalize, projection, dim, tokens)
    assert (pmme.mode, afm.dropout, config.train.step) == (mode, dropout, step)
    assert (afm.tau, afm.rho, afm.block, afm.fill, afm.source, afm.level) == (0.4, 0.25, 32, 0.0, "pmme", "image")
    assert (pmme.scale, pmme.stage) == (1.0, "early")


def test_baseline_is_the_plain_run() -> None:
    assert run("baseline").recipe_id == RunConfig().recipe_id
    assert run("released", afm__tau=0.0).recipe_id == RunConfig().recipe_id
    assert run("random").random.share == 0.25


def test_presets_differ() -> None:
    assert len({run(name).recipe_id for name in PRESETS}) == len(PRESETS)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (run("inferred"), "inferred"),
        (run("literal"), "literal"),
        (run("released"), "released"),
        (run("released", pmme__dim=64), "released"),
        (run("baseline"), "baseline"),
        (run("literal", afm__tau=0.0), "baseline"),
        (run("random"), "random mask 25 %"),
        (run("random", afm__tau=0.0, afm__block=16, random__share=0.125), "random mask 12.5 %, block 16"),
        (run("random", random__share="matched", afm__tau=0.3), "random mask, matched to inferred, tau 0.3"),
        (run("maskris"), "MaskRIS"),
        (run("maskris", maskris__words=0.3, afm__block=16, afm__rho=0.5), "MaskRIS, words 30 %, block 16"),
        (run("inferred", afm__tau=0.3, pmme__dim=64), "inferred, tau 0.3, D_a 64"),
        (run("literal", afm__rho=0.5, pmme__scale=480.0), "literal, rho 0.5, scale 480"),
        (run("inferred", pmme__stage="late", pmme__mode="eval"), "inferred, stage late, stage one eval"),
        (run("inferred", pmme__stage="late", pmme__late="raw"), "inferred, stage late, late text raw"),
        (run("inferred", pmme__stage="pred", pmme__pred="product"), "inferred, stage pred, prediction as product"),
        (run("inferred", pmme__projection="learnable"), "inferred, projection learnable"),
        (run("inferred", afm__level="feature", afm__rho=0.5, afm__block=16), "inferred, level feature"),
        (run("inferred", pmme__late="raw", pmme__pred="product"), "inferred"),
        (run("random", random__share="random"), "random mask of random share"),
    ],
)
def test_describe(config: RunConfig, expected: str) -> None:
    assert describe(config) == expected


def test_every_axis_of_the_method_is_described() -> None:
    """A departure on any single axis must not pass for the preset itself."""
    axes = {f"{group}.{field}" for group in ("pmme", "afm") for field in getattr(RunConfig(), group).model_dump()}
    assert axes | {"train.step"} == set(PRESETS["inferred"])
    other = {"pmme.mode": "eval", "pmme.stage": "pred", "afm.level": "feature", "train.step": "joint", "afm.fill": 1.0}
    for key, value in other.items():
        assert describe(RunConfig().with_changes({**preset("inferred"), key: value})) != "inferred"


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="inferred"):
        preset("infered")


def test_a_preset_cannot_be_changed_through_the_answer() -> None:
    preset("inferred")["afm.tau"] = 0.9
    assert preset("inferred")["afm.tau"] == 0.4


def test_torch_is_not_imported() -> None:
    code = "import sys, amlrepro.aml.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
