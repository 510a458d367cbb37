"""The sentence that says what the masks did, on histories made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_store import finish_run, make_plan

from amlrepro.files import append_jsonl
from amlrepro.report.tabledata import build_table
from amlrepro.suite.experiment import load_experiment
from amlrepro.suite.store import Store


@pytest.mark.parametrize(
    ("blocks", "whole", "says"),
    [
        ((0.01, 0.03), (0.0, 0.0), "2.0 % of blocks hidden, 0.0 % of pictures wholly."),
        (
            (0.98, 1.0),
            (0.5, 1.0),
            "99.0 % of blocks hidden, 75.0 % of pictures wholly: the model hardly saw a picture.",
        ),
    ],
)
def test_masked_shares_are_means_over_epochs(
    tmp_path: Path, blocks: tuple[float, float], whole: tuple[float, float], says: str
) -> None:
    """Two epochs a run, the same in every run: the mean is that of the two; baselines have no sentence."""
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    for run in plan.runs.values():
        finish_run(store, run)
        if run.config.strategy == "plain":
            continue
        for epoch, (share, dark) in enumerate(zip(blocks, whole, strict=True), 1):
            row = {"kind": "epoch", "epoch": epoch, "masked_blocks": share, "fully_masked": dark}
            append_jsonl(store.run(run.config.run_id).history, row)
    notes = [note for note in build_table(store, plan, load_experiment("table1")).notes if note.startswith("Masks of")]
    assert len(notes) == 1
    assert notes[0].startswith("Masks of inferred")
    assert notes[0].endswith(says)
