"""Archives taken into stores: byte for byte, whole or not at all, nothing replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_store import make_records
from sharing_store import agree, lab_store, pack, state_of, tree, unpack

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.metrics.records import Records
from amlrepro.suite.lease import acquire
from amlrepro.suite.overview import look
from amlrepro.suite.sharing.landing import Landed, import_archive
from amlrepro.suite.sharing.origins import laboratories, read_origin
from amlrepro.suite.sharing.packing import Packed, export_archive
from amlrepro.suite.store import Store


@pytest.fixture
def sent(tmp_path: Path) -> Packed:
    """The archive of laboratory B."""
    theirs = lab_store(tmp_path / "b", seeds=(1,), shift=0.01)
    return export_archive(theirs, tmp_path / "b.zip", theirs.run_ids(), "lab-b", checkpoints=True)


def outcomes(landed: Landed) -> set[str]:
    return {run.outcome for run in landed.runs}


def test_what_arrives_is_what_was_sent(sent: Packed, tmp_path: Path) -> None:
    landed = import_archive(tmp_path / "a", sent.file)
    assert landed.store.folder == tmp_path / "a/labs/lab-b/smoke"
    assert outcomes(landed) == {"imported"}
    assert landed.archive == sent.digest
    entries = unpack(sent.file)
    arrived = {f"runs/{n}": d for n, d in tree(landed.store.folder / "runs").items() if d and "origin" not in n}
    assert arrived == {name: data for name, data in entries.items() if name != "manifest.json"}
    for run_id in sent.manifest.runs:  # the records, as the laboratory itself has them
        own = Store(tmp_path / "b", "smoke").run(run_id).evals
        for records in own.glob("*.parquet"):
            assert records.read_bytes() == (landed.store.run(run_id).evals / records.name).read_bytes()
        origin = read_origin(landed.store.run(run_id))
        assert origin is not None
        assert (origin.laboratory, origin.archive, origin.later) == ("lab-b", sent.digest, ())


def test_the_archive_of_an_import_is_the_archive(sent: Packed, tmp_path: Path) -> None:
    there = import_archive(tmp_path / "a", sent.file).store
    again = export_archive(there, tmp_path / "again.zip", there.run_ids(), "lab-b", checkpoints=True)
    assert again.file.read_bytes() == sent.file.read_bytes()


def test_two_laboratories_beside_ones_own(sent: Packed, tmp_path: Path) -> None:
    mine = lab_store(tmp_path / "a")
    before = tree(mine.folder)
    theirs = lab_store(tmp_path / "c", seeds=(0, 1))
    other = export_archive(theirs, tmp_path / "c.zip", theirs.run_ids(), "lab-c")
    import_archive(mine.root, sent.file)
    import_archive(mine.root, other.file)
    assert [(name, len(store.run_ids())) for name, store in laboratories(mine)] == [
        ("lab-b", len(sent.manifest.runs)),
        ("lab-c", 2 * len(sent.manifest.runs)),
    ]
    assert tree(mine.folder) == before
    assert {run.run_id for run in look(mine).runs} == set(mine.run_ids())


def test_ones_own_archive_is_merged(tmp_path: Path) -> None:
    elsewhere = lab_store(tmp_path / "cluster", seeds=(1,))
    archive = export_archive(elsewhere, tmp_path / "cluster.zip", elsewhere.run_ids(), "lab-a")
    mine = lab_store(tmp_path / "a")
    before = tree(mine.folder)
    landed = import_archive(mine.root, archive.file, merge=True, own="lab-a")
    assert outcomes(landed) == {"imported"}
    assert landed.store.folder == mine.folder
    after = tree(mine.folder)
    assert {name: after[name] for name in before} == before
    assert set(mine.run_ids()) > set(archive.manifest.runs)
    assert not laboratories(mine)


def test_a_second_time_all_is_there(sent: Packed, tmp_path: Path) -> None:
    root = import_archive(tmp_path / "a", sent.file).store.root
    before = tree(root)
    assert outcomes(import_archive(tmp_path / "a", sent.file)) == {"already there"}
    assert tree(root) == before
    theirs = Store(tmp_path / "b", "smoke")  # where it came from, with paths and hosts that the archive lacks
    before = tree(theirs.folder)
    assert outcomes(import_archive(theirs.root, sent.file, merge=True)) == {"already there"}
    assert tree(theirs.folder) == before


def test_a_conflict_is_shown_and_nothing_replaced(sent: Packed, tmp_path: Path) -> None:
    mine = lab_store(tmp_path / "a", seeds=(1,), shift=0.01)
    run_id, *others = mine.run_ids()
    run = mine.run(run_id)
    meta = next(run.evals.glob("*.json"))
    records = make_records(0.9, 40, 10, seed=3)
    records.write(run.evals / f"{meta.stem}.parquet")
    write_json(meta, {**read_json(meta), "records_sha256": records.digest()})
    shutil.rmtree(mine.run(others[0]).path)
    before = tree(run.path)
    landed = import_archive(mine.root, sent.file, merge=True)
    found = {landing.run_id: landing for landing in landed.runs}
    assert found[run_id].outcome == "conflict"
    assert {d.file for d in found[run_id].differences} == {f"evals/{meta.stem}.json", f"evals/{meta.stem}.parquet"}
    shown = {d.what: (float(d.ours), float(d.theirs)) for d in found[run_id].differences if "IoU" in d.what}
    theirs = Records.read(Store(tmp_path / "b", "smoke").run(run_id).eval_records(meta.stem))
    for position, each in enumerate((records, theirs)):
        assert shown["oIoU"][position] == pytest.approx(100 * each.intersection.sum() / each.union.sum(), abs=1e-4)
        assert shown["mIoU"][position] == pytest.approx(100 * (each.intersection / each.union).mean(), abs=1e-4)
    assert tree(run.path) == before
    assert found[others[0]].outcome == "imported"  # all or nothing is per run
    assert {found[name].outcome for name in others[1:]} <= {"already there"}


def test_further_results_of_a_run_are_added(tmp_path: Path) -> None:
    theirs = lab_store(tmp_path / "b", seeds=(1,))
    run_id = theirs.run_ids()[0]
    meta = sorted(theirs.run(run_id).evals.glob("*.json"))[0]
    aside = {path: path.read_bytes() for path in meta.parent.glob(f"{meta.stem}.*")}
    for path in aside:
        path.unlink()
    first = export_archive(theirs, tmp_path / "1.zip", [run_id], "lab-b")
    for path, data in aside.items():
        path.write_bytes(data)
    second = export_archive(theirs, tmp_path / "2.zip", [run_id], "lab-b", checkpoints=True)
    there = import_archive(tmp_path / "a", first.file).store
    before = tree(there.folder)
    (landing,) = import_archive(tmp_path / "a", second.file).runs
    assert landing.outcome == "more results"
    names = {f"evals/{meta.name}", f"evals/{meta.stem}.parquet"}
    names |= {f"checkpoints/{name}.{kind}" for name in ("last", "best") for kind in ("json", "safetensors")}
    assert set(landing.files) == names
    after = tree(there.folder)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {f"runs/{run_id}/origin.json"}
    origin = read_origin(there.run(run_id))
    assert origin is not None
    assert (origin.archive, origin.later) == (first.digest, (second.digest,))
    assert {run.outcome for run in import_archive(tmp_path / "a", first.file).runs} == {"already there"}


def test_a_run_that_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    theirs = lab_store(tmp_path / "b", seeds=(1,))
    sent = export_archive(theirs, tmp_path / "b.zip", theirs.run_ids(), "lab-b", checkpoints=True)
    mine = lab_store(tmp_path / "a", seeds=(1,))
    run = mine.run(mine.run_ids()[0])
    shutil.rmtree(run.checkpoints)
    with acquire(run, lambda reason: None):
        landing = import_archive(mine.root, sent.file, merge=True).runs[0]
    assert landing.outcome == "busy"
    assert "worked on by another process" in str(landing.reason)
    assert not run.checkpoints.exists()


def test_a_dry_run_writes_nothing(sent: Packed, tmp_path: Path) -> None:
    landed = import_archive(tmp_path / "new/results", sent.file, dry_run=True)
    assert outcomes(landed) == {"imported"}
    assert not (tmp_path / "new").exists()


def test_the_very_records_are_told(sent: Packed, tmp_path: Path) -> None:
    """Trained at another time, and with the same records to the byte: it may be so, and then they count once."""
    mine = lab_store(tmp_path / "a", seeds=(1,), shift=0.01)
    trained_at(mine, 5.0)
    landed = import_archive(mine.root, sent.file)
    assert not landed.ours
    assert {run.copies for run in landed.runs} == {("own runs",)}
    other = lab_store(tmp_path / "o", seeds=(1,), shift=0.02)
    assert {run.copies for run in import_archive(other.root, sent.file).runs} == {()}


def trained_at(store: Store, start: float) -> None:
    """Give the only session of every run another start."""
    for run_id in store.run_ids():
        values = read_json(store.run(run_id).provenance)
        values["sessions"][0]["start"] = start
        write_json(store.run(run_id).provenance, values)


@pytest.mark.parametrize("name", [None, "elsewhere"])
def test_an_archive_of_this_very_store_makes_no_laboratory(sent: Packed, tmp_path: Path, name: str | None) -> None:
    """Under whatever name; results that came since do not matter. What came from elsewhere is not one's own, and a run
    more is something to take in."""
    home = tmp_path / "b"
    before = tree(home)
    landed = import_archive(home, sent.file, laboratory=name)
    assert landed.ours
    assert outcomes(landed) == {"already there"}
    assert tree(home) == before
    other = tmp_path / "a"
    assert outcomes(import_archive(other, sent.file)) == {"imported"}
    assert not import_archive(other, sent.file).ours
    shutil.rmtree(home / "smoke/runs" / sent.manifest.runs[0])
    assert outcomes(import_archive(home, sent.file)) == {"imported"}


def test_where_an_archive_belongs(sent: Packed, tmp_path: Path) -> None:
    root = tmp_path / "a"
    with pytest.raises(UserError, match="this laboratory itself"):
        import_archive(root, sent.file, own="lab-b")
    with pytest.raises(UserError, match="another laboratory is not merged"):
        import_archive(root, sent.file, merge=True, own="lab-a")
    with pytest.raises(UserError, match="exclude each other"):
        import_archive(root, sent.file, merge=True, laboratory="x")
    assert not root.exists()
    assert import_archive(root, sent.file, laboratory="north").store.folder == root / "labs/north/smoke"
    with pytest.raises(UserError, match="nearly that name"):
        import_archive(root, sent.file, laboratory="North")


def test_a_killed_import_leaves_nothing_for_long(sent: Packed, tmp_path: Path) -> None:
    from amlrepro.machine import writer

    root = tmp_path / "a"
    mine, _, pid = writer().partition("-")
    dead = root / f".import.{mine}-99999999.abc"
    alive = root / f".import.{mine}-{pid}.abc"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
    import_archive(root, sent.file)
    assert not dead.exists()
    assert alive.exists()


def test_a_run_of_another_name_is_refused(sent: Packed, tmp_path: Path) -> None:
    entries = unpack(sent.file)
    first = sent.manifest.runs[0]
    renamed = {name.replace(first, first[:-1] + "7"): data for name, data in entries.items()}
    with pytest.raises(UserError, match="not what its configuration is called"):
        import_archive(tmp_path / "a", pack(tmp_path / "x.zip", agree(renamed)))
    assert state_of(Store(tmp_path / "b", "smoke").run(first))["state"] == "done"
    assert not (tmp_path / "a").exists()
