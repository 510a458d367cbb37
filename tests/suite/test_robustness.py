"""Perturbation tables of one's own: their rows, columns and plans, against Table 15's."""

from __future__ import annotations

import pytest

from amlrepro.errors import UserError
from amlrepro.perturb.specs import SEVEN
from amlrepro.suite.experiment import Experiment, load_experiment
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.robustness import parse_method, robustness_experiment
from amlrepro.suite.rows import Choices
from amlrepro.suite.scored import may_leak

SPLITS = [("refcoco", "val"), ("refcocog", "val")]
METHODS = [parse_method("caris"), parse_method("caris_aml")]


def planned(*experiments: Experiment) -> Plan:
    profile = load_profile("demo")
    return build_plan(experiments, profile, Inputs(profile.source), Choices(seeds=(0,)))


def evaluations(plan: Plan) -> set[tuple[str, str]]:
    return {(run.run_id, evaluation.eval_id) for run in plan.runs.values() for evaluation in run.evals}


def test_the_defaults_are_table_15() -> None:
    """The same runs and evaluations, whole pictures and the unseen ones included: nothing is done twice."""
    own = robustness_experiment("refcoco+", METHODS, SPLITS, SEVEN)
    mine, table15 = planned(own), planned(load_experiment("table15"))
    assert evaluations(mine) == evaluations(table15)
    assert len(evaluations(mine)) == 2 * 2 * 8
    cells = {(c.row, c.column): c for c in mine.cells}
    for cell in table15.cells:
        if cell.kind == "measured":
            column = cell.column if cell.subset == "all" else f"refcocog.val.unseen.{cell.column}"
            twin = cells[cell.row, column]
            assert (twin.requests, twin.metric, twin.subset) == (cell.requests, cell.metric, cell.subset)


def test_rows_and_columns() -> None:
    own = robustness_experiment("refcoco+", METHODS, SPLITS, ["haze", "occlude_30"], metrics=["oiou"])
    table = own.block("perturbed").table()
    assert [row.label for row in table.rows] == [
        "Whole / CARIS",
        "Whole / CARIS+AML",
        "Haze / CARIS",
        "Haze / CARIS+AML",
        "30 % occlusion / CARIS",
        "30 % occlusion / CARIS+AML",
        "Average / CARIS",
        "Average / CARIS+AML",
        "Whole less average / CARIS",
        "Whole less average / CARIS+AML",
    ]
    assert [c.header for c in table.columns] == ["RefCOCO val oIoU", "RefCOCOg val oIoU", "RefCOCOg val unseen oIoU"]
    cells = {(c.row, c.column): c for c in planned(own).cells}
    assert cells["average__caris", "refcoco.val.oiou"].parts == (
        ("perturbed", "haze__caris", "refcoco.val.oiou"),
        ("perturbed", "occlude_30__caris", "refcoco.val.oiou"),
    )
    (request,) = cells["occlude_30__caris_aml", "refcocog.val.unseen.oiou"].evaluations
    assert (request.eval.dataset, request.eval.perturbation, request.eval.severity) == ("refcocog", "occlude_30", None)
    assert any("50 % opacity" in note for note in own.notes)


def test_severities_are_curves_and_the_third_is_the_papers() -> None:
    own = robustness_experiment("refcoco+", METHODS, [("refcoco", "testA")], ["haze", "contrast"], [1, 3, 5])
    assert own.id != robustness_experiment("refcoco+", METHODS, SPLITS, SEVEN).id  # reports stand side by side
    (block,), (figure,) = own.blocks, own.figures
    assert [c.header for c in block.table().columns] == [
        "Whole",
        *("Haze 1", "Haze 3", "Haze 5"),
        *("Contrast 1", "Contrast 3", "Contrast 5"),
    ]
    assert figure.kind == "curves"
    assert figure.x == [0, 1, 3, 5]
    assert figure.panels == {
        "Haze": ["clean", "haze.1", "haze.3", "haze.5"],
        "Contrast": ["clean", "contrast.1", "contrast.3", "contrast.5"],
    }
    assert figure.rows == ["caris", "caris_aml"]
    (run, _) = planned(own).runs.values()
    asked = [(e.perturbation, e.severity) for e in run.evals]
    expected = [(None, None), *((name, level) for name in ("haze", "contrast") for level in (1, None, 5))]
    assert asked == expected
    assert any("1: opacity 0.2; 3: opacity 0.5; 5: opacity 0.8" in note for note in own.notes)


def test_where_training_pictures_may_be_evaluated() -> None:
    """RefCOCOg is partitioned otherwise than the three of UNC; the combined set leaves evaluated pictures out."""
    assert [may_leak("refcoco+", d) for d in ("refcoco", "refcoco+", "refcocog")] == [False, False, True]
    assert [may_leak("refcocog", d) for d in ("refcoco", "grefcoco", "refcocog")] == [True, True, False]
    assert not any(may_leak("combined", d) for d in ("refcoco", "refcocog"))


@pytest.mark.parametrize(
    ("name", "title", "model", "preset"),
    [
        ("caris", "CARIS", "caris", "baseline"),
        ("detris_aml", "DETRIS+AML", "detris", "aml"),
        ("caris_random_mask", "CARIS + random mask", "caris", "random"),
        ("caris_literal", "CARIS+AML (literal)", "caris", "literal"),
    ],
)
def test_methods_by_name(name: str, title: str, model: str, preset: str) -> None:
    method = parse_method(name)
    assert (method.title, method.model, method.preset) == (title, model, preset)


def test_grefcoco_is_for_rela_and_scored_its_own_way() -> None:
    rela = [parse_method("rela"), parse_method("rela_aml")]
    own = robustness_experiment("grefcoco", rela, [("grefcoco", "val")], ["haze"])
    assert [c.key for c in own.block("perturbed").table().columns] == ["grefcoco.val.giou", "grefcoco.val.ciou"]
    with pytest.raises(UserError, match="several objects or none"):
        robustness_experiment("grefcoco", METHODS, [("grefcoco", "val")], ["haze"])
    with pytest.raises(UserError, match="ciou is no metric of RefCOCO"):
        robustness_experiment("refcoco", METHODS, [("refcoco", "val")], ["haze"], metrics=["ciou"])


def test_wrong_names() -> None:
    with pytest.raises(UserError, match="did you mean 'caris_aml'"):
        parse_method("caris_alm")
    with pytest.raises(UserError, match="did you mean 'lowlight'"):
        robustness_experiment("refcoco+", METHODS, SPLITS, ["low_light"])
    with pytest.raises(UserError, match="one strength only"):
        robustness_experiment("refcoco+", METHODS, SPLITS, ["occlude_50"], [1])
