"""The catalogue of readings, and the experiment that measures them."""

from __future__ import annotations

from collections import Counter

import pytest

from amlrepro.aml.presets import PRESETS
from amlrepro.errors import UserError
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan, ProbeRequest
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.readings import Catalogue, catalogue, readings_experiment
from amlrepro.suite.rows import Choices


def make(profile: str, *, initial_only: bool = False, seeds: tuple[int, ...] = (0, 1)) -> tuple[Catalogue, Plan]:
    spec = load_profile(profile)
    found = catalogue(spec)
    experiment = readings_experiment(found, found.readings, initial_only=initial_only)
    return found, build_plan([experiment], spec, Inputs(spec.source), Choices(seeds=seeds))


@pytest.mark.parametrize("profile", ["paper", "demo", "smoke"])
def test_presets_and_single_axis_departures_are_all_there(profile: str) -> None:
    """Counted by hand from the table of presets (design, section 6): the presets differ in normalize, projection, dim,
    tokens, mode, dropout (three values) and step. From inferred lead 7 departures that change the training, from
    literal 7, from released 6; the mode of stage one is CARIS's own anyway (3), and D_a has no effect on text_linear
    (1)."""
    found = catalogue(load_profile(profile))
    assert Counter(reading.preset for reading in found.readings) == {"inferred": 8, "literal": 8, "released": 7}
    assert [reading.name for reading in found.readings[:3]] == ["inferred", "literal", "released"]
    assert {each.name: each.reason for each in found.left_out} == {
        "inferred:mode=train": "the same training as inferred",
        "literal:mode=train": "the same training as literal",
        "released:da=2048": "the same training as released",
        "released:mode=protocol": "the same training as released",
    }
    for reading in found.readings[3:]:
        ((key, value),) = reading.changes.items()
        assert value in {PRESETS[name][key] for name in ("inferred", "literal", "released")}
        assert value != PRESETS[reading.preset][key]


def test_names_are_looked_up() -> None:
    found = catalogue(load_profile("paper"))
    assert [r.name for r in found.pick(["released", "inferred:tokens=real"])] == ["released", "inferred:tokens=real"]
    assert len(found.pick([])) == 23
    with pytest.raises(UserError, match="inferred:tokens=real"):
        found.pick(["inferred:token=real"])
    with pytest.raises(UserError, match="same training as released"):
        found.pick(["released:da=2048"])


def test_each_reading_is_one_run_a_seed_and_shares_the_tables_runs() -> None:
    _, plan = make("paper")
    assert len(plan.runs) == 2 * (23 + 1)
    assert {run.until for run in plan.runs.values()} == {1}
    presets = Counter(run.preset for run in plan.runs.values())
    assert set(presets.values()) == {2}
    assert presets["inferred"] == presets["inferred, tokens real"] == presets["baseline"] == 2
    from fake_store import make_plan

    table = make_plan("paper", (0, 1), ("table12",))
    for run in table.runs.values():
        ours = plan.runs[run.run_id]
        assert ours.config.train.horizon == 50
        assert [p for p in run.probes if p.checkpoint == "epoch1"] == ours.probes
        assert set(run.milestones) <= set(ours.config.exec.milestones)


def test_validation_is_off_only_where_nobody_goes_on() -> None:
    """What `best` is chosen by is read by no statistic here; presets and CARIS are trained on by the tables."""
    _, plan = make("paper")
    off = {run.preset for run in plan.runs.values() if run.config.exec.validate_at == ()}
    assert len(off) == 20
    assert {run.preset for run in plan.runs.values()} - off == {"baseline", "inferred", "literal", "released"}


def test_before_training_all_readings_are_measured_on_the_same_weights() -> None:
    """23 readings, of which step=joint changes nothing there: inferred and literal with it are measured once, and
    released is released:step=forward_only."""
    _, plan = make("paper", initial_only=True)
    assert [(run.preset, run.until, run.milestones) for run in plan.runs.values()] == [("baseline", 0, (0,))] * 2
    assert {len(run.probes) for run in plan.runs.values()} == {20}
    requests = {cell.row: cell.requests for cell in plan.cells if cell.column == "mean"}
    assert requests["inferred"] == requests["inferred:step=joint"]
    first = requests["released:projection=gaussian"][0]
    assert isinstance(first, ProbeRequest)
    assert first.probe.pmme is not None
    assert first.probe.afm is not None
    assert (first.probe.pmme.projection, first.probe.pmme.dim, first.probe.afm.dropout) == (
        "gaussian",
        1024,
        "released",
    )


def test_numbers_have_the_profiles_size() -> None:
    """D_a 1024 and 2048 are 32 and 64 in the demo (scale 1/32)."""
    found, plan = make("demo")
    configs = {cell.row: plan.runs[cell.requests[0].run_id].config for cell in plan.cells if cell.block == "epoch1"}
    assert configs["inferred"].pmme.dim == 64
    assert configs["inferred:da=1024"].pmme.dim == configs["released:projection=gaussian"].pmme.dim == 32
    assert len({config.recipe_id for config in configs.values()}) == len(found.readings)
    assert {run.until for run in plan.runs.values()} == {5}
