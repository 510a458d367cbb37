"""With the printed numbers as results, the audit's arithmetic on those results gives all of its answers."""

from __future__ import annotations

from pathlib import Path

from injected_store import inject

from amlrepro.suite.cells import CellReader
from amlrepro.suite.experiment import load_experiments
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.store import Store
from amlrepro.verdicts.audit import read_audit, run_audit
from amlrepro.verdicts.audit.paper import load_paper

# One run, two printed numbers: a result can be one of them only, and it is Table 16's.
ONE_RESULT = {("table17", "caris_aml_tau030", "refcoco+.testB")}


def test_injected_numbers_give_all_answers(tmp_path: Path) -> None:
    plan = build_plan(load_experiments(["all"]), load_profile("paper"), Inputs("refer"), Choices(None, "inferred", {}))
    store = Store(tmp_path, "paper")
    inject(store, plan)
    before = run_audit()
    assert read_audit(store) == before

    paper, taken, differ = load_paper(), 0, set()
    for name in dict.fromkeys(cell.experiment for cell in plan.cells):
        reader = CellReader(store, plan, name)
        for cell in (cell for cell in plan.cells if cell.experiment == name and cell.kind == "measured"):
            table = plan.block(name, cell.block).table().key
            found = reader.block(cell.block)[cell.row, cell.column]
            if table not in paper.tables or found.printed is None or found.value is None:
                continue
            text = f"{found.value:.{found.printed.decimals}f}"
            taken += 1
            if text != found.printed.text:
                differ.add((table, cell.row, cell.column))
            else:
                paper = paper.with_cell(table, cell.row, cell.column, text)
    assert taken > 300
    assert differ == ONE_RESULT
    assert {f.id: f.verdict for f in run_audit(paper).findings} == {f.id: f.verdict for f in before.findings}

    # with the one result in both tables, what they contradict each other about is gone, and nothing else changes
    paper = paper.with_cell(*next(iter(ONE_RESULT)), "59.74")
    changed = {f.id for f in run_audit(paper).findings if f.verdict != before.pick(f.id).verdict}
    assert changed == {"T17-B"}
