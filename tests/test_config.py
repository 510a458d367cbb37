"""The schema: what is in a run's name and what is not, and what wrong input says."""

from __future__ import annotations

import hashlib
import json

import pytest

from amlrepro import config as schema
from amlrepro.aml.presets import preset
from amlrepro.config import EvalConfig, RunConfig, dump_config, load_config, parse_config
from amlrepro.errors import UserError
from amlrepro.schema import nest, parse_set

# Names of runs as they were on the day this was written. They must never change: a changed name means that finished
# runs are not found any more. Each hash is that of the fields that differ from their neutral values, see below.
GOLDEN = {
    "caris_plain_refcoco-44136fa355-s0": {},
    "caris_plain_refcoco+-aa1561e842-s3": {"data.train": "refcoco+", "seed": 3},
    "caris_aml_refcoco_tau0.4-4d3028f016-s0": preset("inferred"),
    "caris_aml_refcoco+_tau0.3-3a398ee3be-s0": {**preset("inferred"), "data.train": "refcoco+", "afm.tau": 0.3},
    "caris_aml_refcoco_tau0.4-a1cd5a9a95-s0": {**preset("inferred"), "pmme.stage": "late"},
    "caris_aml_refcoco_tau0.4-1df31e0c8f-s0": {**preset("inferred"), "pmme.stage": "pred"},
    "caris_aml_refcoco_tau0.4-7f462041e4-s0": {**preset("inferred"), "pmme.projection": "learnable"},
    "caris_aml_refcoco_tau0.4-550c296564-s0": {**preset("inferred"), "afm.level": "feature"},
}


def made(changes: dict[str, object]) -> RunConfig:
    return RunConfig().with_changes(changes)


def digest(value: object, length: int) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def test_golden_run_ids() -> None:
    assert [made(changes).run_id for changes in GOLDEN.values()] == list(GOLDEN)


def test_recipe_is_the_hash_of_what_differs_from_neutral() -> None:
    config = made({**preset("inferred"), "afm.tau": 0.3, "train.horizon": 10, "data.train": "refcoco+"})
    differing = {"data": {"train": "refcoco+"}, "train": {"horizon": 10}, "afm": {"tau": 0.3}}
    assert config.recipe_id == digest(differing, 10)
    assert RunConfig().recipe_id == digest({}, 10) == "44136fa355"  # SHA-256 of "{}"


@pytest.mark.parametrize(
    "change",
    [
        {"exec.device": "cpu"},
        {"exec.threads": 2},
        {"exec.workers": 4},
        {"exec.until": 3},
        {"exec.milestones": [1, 2]},
        {"exec.data_root": "/somewhere/else"},
        {"exec.vision_weights": "/a/file.pth"},
        {"exec.deterministic": True},
        {"exec.log_every": 1},
    ],
)
def test_where_and_how_far_a_run_goes_is_not_in_its_name(change: dict[str, object]) -> None:
    base = made(preset("inferred"))
    assert base.with_changes(change).run_id == base.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"data.digest": "0123456789ab"},
        {"init.vision": "scratch"},
        {"init.vision_digest": "0123456789ab"},
        {"train.numerics": "fast"},
        {"train.epoch_refs": 192},
        {"model.size": "tiny"},
        {"model.options": {"layers": 3}},
        {"data.source": "synth"},
        {"pmme.dim": 1024},
        {"afm.rho": 0.5},
        {"train.step": "joint"},
    ],
)
def test_what_can_change_the_result_is_in_the_name(change: dict[str, object]) -> None:
    base = made(preset("inferred"))
    assert base.with_changes(change).recipe_id != base.recipe_id


@pytest.mark.parametrize(
    ("base", "inactive"),
    [
        ({}, {"pmme.dim": 64, "pmme.normalize": "l2", "afm.rho": 0.5, "afm.block": 16, "random.share": 0.5}),
        ({}, {"train.step": "joint"}),
        (preset("random"), {"pmme.dim": 64, "afm.tau": 0.1, "afm.rho": 0.5, "afm.dropout": "pixel"}),
        (preset("inferred"), {"random.share": 0.5, "maskris.keep": 0.5}),
        (preset("random"), {"maskris.words": 0.5}),
        ({}, {"maskris.keep": 0.5, "maskris.words": 0.5}),
        (
            preset("maskris"),
            {"pmme.dim": 64, "afm.tau": 0.1, "afm.rho": 0.5, "afm.dropout": "pixel", "random.share": 0.5},
        ),
        (preset("released"), {"pmme.dim": 77}),  # its projection has the text's own width
        (preset("inferred"), {"pmme.late": "raw", "pmme.pred": "product"}),
        ({**preset("inferred"), "pmme.stage": "late"}, {"pmme.pred": "product"}),
        ({**preset("inferred"), "pmme.stage": "pred"}, {"pmme.late": "raw"}),
        (
            {**preset("inferred"), "pmme.stage": "pred", "pmme.pred": "probability"},
            {"pmme.dim": 64, "pmme.normalize": "l2", "pmme.tokens": "real", "pmme.scale": 2.0},
        ),
        (
            {**preset("inferred"), "afm.level": "feature"},
            {"afm.rho": 0.5, "afm.block": 16, "afm.dropout": "pixel", "afm.fill": 1.0, "pmme.mode": "eval"},
        ),
        ({"data.source": "synth"}, {"data.digest": "0123456789ab"}),
        ({}, {"data.synth.train_images": 7}),
        ({"init.vision": "scratch"}, {"init.vision_digest": "0123456789ab"}),
    ],
)
def test_fields_without_effect_are_not_in_the_name(base: dict[str, object], inactive: dict[str, object]) -> None:
    assert made({**base, **inactive}).run_id == made(base).run_id


def test_matched_random_mask_depends_on_the_method_it_matches() -> None:
    matched = {**preset("random"), "random.share": "matched", "afm.tau": 0.4}
    assert made({**matched, "afm.tau": 0.3}).recipe_id != made(matched).recipe_id
    assert made({**matched, "pmme.dim": 64}).recipe_id != made(matched).recipe_id


def test_maskris_is_named_by_what_it_uses() -> None:
    config = made(preset("maskris"))
    assert config.run_id.startswith("caris_maskris_refcoco-")
    assert config.recipe_id == digest({"afm": {"source": "maskris"}}, 10)
    for change in ({"maskris.keep": 0.5}, {"maskris.words": 0.3}, {"afm.block": 16}, {"afm.fill": 1.0}):
        assert made({**preset("maskris"), **change}).recipe_id != config.recipe_id


def test_a_later_field_with_its_neutral_value_leaves_names_alone() -> None:
    neutral = {"train": {"horizon": 50, "batch": 16}}
    later = {"train": {"horizon": 50, "batch": 16, "ema": 0.0}}
    old = schema._differences({"train": {"horizon": 10, "batch": 16}}, neutral)
    assert old == schema._differences({"train": {"horizon": 10, "batch": 16, "ema": 0.0}}, later)


def test_a_raised_version_renames_only_runs_that_use_the_component(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, aml = RunConfig().run_id, made(preset("inferred")).run_id
    monkeypatch.setitem(schema.VERSIONS, "afm", 2)
    assert RunConfig().run_id == plain
    assert made(preset("inferred")).run_id != aml


def test_variants_have_versions_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"late": {"pmme.stage": "late"}, "learnable": {"pmme.projection": "learnable"}}
    changes |= {"pred": {"pmme.stage": "pred"}, "feature": {"afm.level": "feature"}}
    before = {name: made({**preset("inferred"), **change}).run_id for name, change in changes.items()}
    own = made(preset("inferred")).run_id
    for name in changes:
        with monkeypatch.context() as patch:
            patch.setitem(schema.VERSIONS, name, 2)
            after = {other: made({**preset("inferred"), **change}).run_id for other, change in changes.items()}
            assert {other for other in before if before[other] != after[other]} == {name}
            assert made(preset("inferred")).run_id == own


def test_the_features_level_keeps_what_acts() -> None:
    """tau and everything of S; not what blanks pictures."""
    base = {**preset("inferred"), "afm.level": "feature"}
    for change in ({"afm.tau": 0.3}, {"pmme.dim": 64}, {"pmme.tokens": "real"}, {"pmme.normalize": "l2"}):
        assert made({**base, **change}).recipe_id != made(base).recipe_id


def test_seed_is_beside_the_recipe() -> None:
    first, second = made({"seed": 0}), made({"seed": 1})
    assert first.recipe_id == second.recipe_id
    assert first.run_id != second.run_id


def test_evaluation_names() -> None:
    own = EvalConfig(dataset="refcoco", split="val")
    assert own.eval_id == f"refcoco-val-last-{digest({'dataset': 'refcoco', 'split': 'val'}, 8)}"
    others = [{"text": "other"}, {"resolution": "original"}, {"data_digest": "abc"}, {"split_by": "google"}]
    assert len({own.eval_id, *(own.model_copy(update=change).eval_id for change in others)}) == 5
    reduced = own.model_copy(update={"precision": "bf16"})  # never under the name of records in float32
    changed = {"dataset": "refcoco", "split": "val", "precision": "bf16"}
    assert reduced.eval_id == f"refcoco-val-bf16-last-{digest(changed, 8)}"


@pytest.mark.parametrize(
    ("variant", "named_by"),
    [
        ({"pmme.stage": "late"}, {"pmme": {"stage": "late"}}),
        ({"pmme.stage": "late", "pmme.late": "raw"}, {"pmme": {"stage": "late", "late": "raw"}}),
        ({"pmme.stage": "pred"}, {"pmme": {"stage": "pred"}}),
        ({"pmme.stage": "pred", "pmme.pred": "product"}, {"pmme": {"stage": "pred", "pred": "product"}}),
        ({"pmme.projection": "learnable"}, {"pmme": {"projection": "learnable"}}),
        ({"afm.level": "feature"}, {"afm": {"level": "feature"}}),
    ],
)
def test_variants_are_named_by_what_they_change(variant: dict[str, object], named_by: dict[str, object]) -> None:
    """Their hash is that of the changed fields beside tau, whatever the settings hold that is without effect."""
    config = made({**preset("inferred"), **variant})
    differing = {"afm": {"tau": 0.4, **named_by.get("afm", {})}, "pmme": named_by.get("pmme")}  # type: ignore[dict-item]
    assert config.recipe_id == digest({key: value for key, value in differing.items() if value}, 10)


def test_yaml_round_trip(tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = made({**preset("released"), "exec.milestones": [1, 10], "train.class_weights": [1.0, 1.0]})
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), "utf-8")
    assert load_config(path) == config


def test_set_reads_numbers_lists_and_words() -> None:
    values = parse_set(["train.lr=1e-4", "exec.milestones=[1, 10]", "pmme.normalize=l2", "seed=3", "train.clip=null"])
    assert values == {
        "train.lr": 1e-4,
        "exec.milestones": [1, 10],
        "pmme.normalize": "l2",
        "seed": 3,
        "train.clip": None,
    }
    assert nest(values)["train"] == {"lr": 1e-4, "clip": None}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"afm": {"tua": 0.3}}, "did you mean 'afm.tau'?"),
        ({"trian": {"lr": 1.0}}, "did you mean 'train'?"),
        ({"data": {"synth": {"sede": 3}}}, "did you mean 'data.synth.seed'?"),
    ],
)
def test_unknown_key_names_the_nearest(values: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match="unknown key") as error:
        parse_config(values, "somewhere")
    assert says in str(error.value)


@pytest.mark.parametrize("wrong", [{"afm": {"tau": "high"}}, {"train": {"horizon": 1.5}}, {"afm": {"tau": 1.2}}])
def test_wrong_type_or_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"afm\.tau|train\.horizon"):
        parse_config(wrong)


def test_set_without_value_is_refused() -> None:
    with pytest.raises(UserError, match="key=value"):
        parse_set(["afm.tau"])
