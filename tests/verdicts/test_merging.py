"""Claims over one's own store and those that were imported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fake_store import fill, make_plan

from amlrepro.files import write_text
from amlrepro.suite.plan import Plan
from amlrepro.suite.sharing.landing import import_archive
from amlrepro.suite.sharing.packing import export_archive
from amlrepro.suite.store import Store
from amlrepro.verdicts.evaluate import evaluate_claims
from amlrepro.verdicts.merging import OWN, LaboratoriesReport, as_json, evaluate_laboratories

PLANS: dict[tuple[int, ...], Plan] = {}


def plan_for(seeds: tuple[int, ...]) -> Plan:
    if seeds not in PLANS:
        PLANS[seeds] = make_plan("demo", seeds, ("table1",))
    return PLANS[seeds]


def plan_of(store: Store) -> Plan:
    return plan_for(tuple(sorted({int(run_id.rpartition("-s")[2]) for run_id in store.run_ids()})))


def filled(root: Path, seeds: tuple[int, ...], shift: float = 0.0) -> Store:
    store = Store(root, "demo")
    fill(store, plan_for(seeds), samples=60, images=20, shift=shift)
    return store


def sent(root: Path, store: Store, name: str) -> None:
    file = root.parent / f"{name}.zip"
    export_archive(store, file, store.run_ids(), name)
    import_archive(root, file)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, LaboratoriesReport]:
    """One's own runs, those of B, and those of C, who has two seeds only and copies of B's."""
    folder = tmp_path_factory.mktemp("labs")
    own, b = filled(folder / "a", (0, 1, 2)), filled(folder / "b", (3, 4, 5), shift=-0.03)
    c = filled(folder / "c", (6, 7))
    sent(own.root, b, "lab-b")
    file = folder / "b-again.zip"
    export_archive(b, file, b.run_ids()[:2], "lab-b")
    import_archive(c.root, file, merge=True)
    for run_id in b.run_ids()[:2]:  # C passes them on as its own
        (c.run(run_id).path / "origin.json").unlink()
    sent(own.root, c, "lab-c")
    report = evaluate_laboratories(own, plan_for((0, 1, 2)), plan_of)
    assert report is not None
    return own, report


def test_without_others_nothing_is_merged(tmp_path: Path) -> None:
    store = filled(tmp_path / "a", (0, 1, 2))
    assert evaluate_laboratories(store, plan_for((0, 1, 2)), plan_of) is None


def test_each_laboratory_is_read_for_itself(three: tuple[Store, LaboratoriesReport]) -> None:
    own, report = three
    assert report.names == (OWN, "lab-b", "lab-c")
    single = [
        {v.claim.id: v for v in evaluate_claims(store, plan_of(store), secondary=False).verdicts}
        for store in (own, Store(own.root / "labs/lab-b", "demo"))
    ]
    assert report.verdicts
    for verdict in report.verdicts:
        assert len(verdict.lead.laboratories) == 2
        for each, alone in zip(verdict.lead.laboratories, single, strict=True):
            pair = alone[verdict.claim.id].pairs[verdict.leading]
            assert each.difference.estimate == pytest.approx(pair.estimate)
            assert each.difference.sigma == pytest.approx(pair.sigma)
        first, second = (each.difference for each in verdict.lead.laboratories)
        tau2 = max(0.0, ((first.estimate - second.estimate) ** 2 - first.se**2 - second.se**2) / 2)
        weights = [1 / (d.se**2 + tau2) for d in (first, second)]
        mean = (weights[0] * first.estimate + weights[1] * second.estimate) / sum(weights)
        assert verdict.lead.estimate == pytest.approx(mean)
        assert verdict.lead.se == pytest.approx(math.sqrt(1 / sum(weights)), rel=1e-6)


def test_labels_are_about_these_numbers_only(three: tuple[Store, LaboratoriesReport]) -> None:
    _, report = three
    assert report.watermark
    allowed = {"undecided", "direction holds here", "direction reversed here", "equal here", "different here"}
    assert {v.label for v in report.verdicts} <= {*allowed, "best here", "not best here"}
    assert all("2 laboratories" in v.text for v in report.verdicts)
    json.dumps(as_json(report))


def test_copies_count_once(three: tuple[Store, LaboratoriesReport]) -> None:
    own, report = three
    there = Store(own.root / "labs/lab-b", "demo").run_ids()[:2]
    assert report.copies == {"lab-c": tuple(there)}
    for verdict in report.verdicts:
        (state,) = (state for state in verdict.states if state.name == "lab-c")
        assert state.look is None
        assert state.reason == "fewer than 3 seeds"


def test_a_copy_of_ones_own_store_adds_nothing(tmp_path: Path) -> None:
    """The archive itself is recognised as one's own; what went on since it was made (here a step more in its state) is
    taken in, and its records tell that it is a copy."""
    own = filled(tmp_path / "a", (0, 1, 2))
    sent(own.root, own, "twin")
    assert evaluate_laboratories(own, plan_for((0, 1, 2)), plan_of) is None
    for run_id in own.run_ids():
        state = own.run(run_id).state
        write_text(state, json.dumps({**json.loads(state.read_text()), "step": 777}))
    import_archive(own.root, own.root.parent / "twin.zip")
    report = evaluate_laboratories(own, plan_for((0, 1, 2)), plan_of)
    assert report is not None
    assert report.verdicts == ()
    assert report.copies == {"twin": tuple(own.run_ids())}


def test_missing_samples_make_it_invalid(three: tuple[Store, LaboratoriesReport], tmp_path: Path) -> None:
    own, b = filled(tmp_path / "a", (0, 1, 2)), filled(tmp_path / "b", (3, 4, 5))
    from amlrepro.files import read_json
    from amlrepro.metrics.records import Records

    for meta in b.run(b.run_ids()[0]).evals.glob("*.json"):
        path = meta.with_suffix(".parquet")
        records = Records.read(path)
        fewer = Records(**{name: column[:-1] for name, column in records.columns().items()})
        fewer.write(path)
        values = {**read_json(meta), "samples": len(fewer), "records_sha256": fewer.digest()}
        write_text(meta, json.dumps(values))
    sent(own.root, b, "lab-b")
    report = evaluate_laboratories(own, plan_for((0, 1, 2)), plan_of)
    assert report is not None
    invalid = [verdict for verdict in report.verdicts if verdict.label == "invalid"]
    assert invalid
    assert all(gate.startswith("lab-b: samples missing") for verdict in invalid for gate in verdict.gates)
