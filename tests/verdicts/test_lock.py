"""What was fixed beforehand, and what changed since."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_store import finish_run, make_plan

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store
from amlrepro.verdicts.claims import load_claims, pick_claim
from amlrepro.verdicts.lock import lock_path, read_lock, why_exploratory, write_lock

VAL = pick_claim("T1-D2-val")


@pytest.fixture
def plan() -> Plan:
    return make_plan("smoke", (0, 1, 2), ("figure8",))


def test_a_lock_is_written_once(tmp_path: Path, plan: Plan) -> None:
    store = Store(tmp_path, "smoke")
    assert read_lock(store) is None
    first = write_lock(store, plan, load_claims())
    assert first.seeds == (0, 1, 2)
    assert "before any run was done" in first.says
    with pytest.raises(UserError, match="locked already"):
        write_lock(store, plan, load_claims())
    finish_run(store, next(iter(plan.runs.values())))
    again = write_lock(store, plan, load_claims()[1:], force=True)
    assert again.earlier == (first.hash,)
    assert again.hash != first.hash
    assert again.runs_done == 1


def test_the_hash_is_of_the_content(tmp_path: Path, plan: Plan) -> None:
    """Two stores, the same content: the same hash; a margin that is changed by hand is told."""
    stores = [Store(tmp_path / name, "smoke") for name in "ab"]
    assert len({write_lock(store, plan, load_claims()).hash for store in stores}) == 1
    values = dict(read_json(lock_path(stores[0])))
    assert values["content"]["margins"]["T11-A-ciou"] == 0.5
    values["content"]["margins"]["T11-A-ciou"] = 2.0
    write_json(lock_path(stores[0]), values)
    with pytest.raises(UserError, match="changed after it was written"):
        read_lock(stores[0])


def test_what_changes_later_is_exploratory(tmp_path: Path, plan: Plan) -> None:
    lock = write_lock(Store(tmp_path, "smoke"), plan, load_claims()[:3])
    assert why_exploratory(lock, VAL, plan, [0, 1, 2]) is None
    assert "nothing was fixed" in (why_exploratory(None, VAL, plan, [0]) or "")
    changed = VAL.model_copy(update={"kind": "equivalence", "margin": 1.0})
    assert "(kind, margin)" in (why_exploratory(lock, changed, plan, [0]) or "")
    assert "added after" in (why_exploratory(lock, load_claims()[5], plan, [0]) or "")
    assert "beforehand: 3" in (why_exploratory(lock, VAL, plan, [0, 1, 3]) or "")
    plan.overrides["afm.tau"] = 0.3
    assert "afm.tau" in (why_exploratory(lock, VAL, plan, [0]) or "")
