"""Archives that were damaged or made to do harm: each is refused with a reason, and nothing is written."""

from __future__ import annotations

import io
import json
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sharing_store import Entries, agree, edit_json, lab_store, pack, tree, unpack

from amlrepro.errors import UserError
from amlrepro.suite.sharing.archive import Archive
from amlrepro.suite.sharing.landing import import_archive
from amlrepro.suite.sharing.manifest import MANIFEST
from amlrepro.suite.sharing.packing import export_archive

Change = Callable[[Entries], Entries]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sent")
    store = lab_store(folder / "b")
    return export_archive(store, folder / "b.zip", store.run_ids()[:1], "lab-b", checkpoints=True).file


def refused(file: Path, root: Path) -> str:
    """The message with which an archive is refused; nothing may be left of it."""
    root.mkdir()
    (root / "precious").write_text("mine")
    before = tree(root.parent)
    with pytest.raises(UserError) as error:
        import_archive(root, file)
    assert tree(root.parent) == before
    return str(error.value)


def first(entries: Entries, part: str) -> str:
    return next(name for name in sorted(entries) if part in name)


def other(part: str, change: Callable[[bytes], bytes], covered: bool = True) -> Change:
    """Change one file; the manifest is made to agree where `covered`."""

    def apply(entries: Entries) -> Entries:
        name = first(entries, part)
        changed = {**entries, name: change(entries[name])}
        return agree(changed) if covered else changed

    return apply


def named(name: str, data: bytes = b"{}") -> Change:
    """A file of that name more, with the manifest's blessing."""
    return lambda entries: agree({**entries, name: data})


def without(part: str, covered: bool = True) -> Change:
    def apply(entries: Entries) -> Entries:
        left = {name: data for name, data in entries.items() if name != first(entries, part)}
        return agree(left) if covered else left

    return apply


def in_manifest(**changes: object) -> Change:
    return lambda entries: {**entries, MANIFEST: edit_json(entries[MANIFEST], **changes)}


def in_first_file(**changes: object) -> Change:
    def apply(entries: Entries) -> Entries:
        manifest = json.loads(entries[MANIFEST])
        manifest["files"][0].update(changes)
        return {**entries, MANIFEST: json.dumps(manifest).encode()}

    return apply


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def table(columns: dict[str, object]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def one_more_pixel(data: bytes) -> bytes:
    """Records that are a little better than they were."""
    import pyarrow.parquet as pq

    found = pq.read_table(io.BytesIO(data))
    columns = {name: found.column(name).to_numpy().copy() for name in found.column_names}
    columns["intersection"][0] += 1
    columns["union"][0] -= 1
    return table(columns)


RUN = "caris_refcoco+-0123456789-s0"

MANIPULATED: dict[str, tuple[Change, str]] = {
    "a changed byte of records": (other("evals/", flipped, covered=False), "not the one that the manifest names"),
    "a changed byte of a configuration": (other("config", flipped, covered=False), "not the one that the manifest"),
    "a longer file": (other("state", lambda d: d + b" ", covered=False), "another size"),
    "a file missing": (without("history", covered=False), "lacks a file that its manifest names"),
    "a file too many": (lambda e: {**e, "runs/x": b""}, "holds a file that its manifest does not name"),
    "no manifest": (without(MANIFEST, covered=False), "has no manifest.json"),
    "another hash": (in_first_file(sha256="0" * 64), "not the one that the manifest names"),
    "a hash of another shape": (in_first_file(sha256="x"), "files.0.sha256"),
    "a negative size": (in_first_file(size=-1), "files.0.size"),
    "a file named twice": (
        lambda e: in_manifest(files=[json.loads(e[MANIFEST])["files"][0]] * 2)(e),
        "names a file twice",
    ),
    "a run without files": (in_manifest(runs=["a-s0"]), "runs and files do not agree"),
    "another kind": (in_manifest(kind="cake"), "not an archive of runs"),
    "another format": (in_manifest(format=2), "another format"),
    "a strange profile": (in_manifest(profile="../paper"), "unknown profile"),
    "a laboratory that climbs": (in_manifest(laboratory="../../evil"), "not a name for a laboratory"),
    "an unknown entry": (in_manifest(evil=1), "unknown key"),
    "a manifest that is no JSON": (lambda e: {**e, MANIFEST: b"{"}, "not a JSON file"),
    "a manifest nested endlessly": (lambda e: {**e, MANIFEST: b"[" * 200_000}, "not a JSON file"),
    "a path that climbs": (named("runs/../../../evil.json"), "holds what no run has"),
    "a path that climbs inside a run": (named(f"runs/{RUN}/evals/../../../evil.json"), "holds what no run has"),
    "an absolute path": (named("/etc/evil.json"), "holds what no run has"),
    "a backslash": (named("runs\\evil\\state.json"), "holds what no run has"),
    "a hidden file": (named(f"runs/{RUN}/.lease.json"), "holds what no run has"),
    "a script": (named(f"runs/{RUN}/evals/evil.py"), "holds what no run has"),
    "a pickle": (named(f"runs/{RUN}/checkpoints/last.pt"), "holds what no run has"),
    "a mark of origin": (named(f"runs/{RUN}/origin.json"), "holds what no run has"),
    "a lease": (named(f"runs/{RUN}/lease.json"), "holds what no run has"),
    "a run without configuration": (without("config.yaml"), "without its configuration"),
    "another configuration": (
        other("config.yaml", lambda d: d.replace(b"lr: 0.001\n", b"lr: 0.002\n")),
        "not what its configuration is called",
    ),
    "a configuration that runs code": (
        other("config.yaml", lambda d: d + b"evil: !!python/object/apply:os.system ['true']\n"),
        "not a YAML file",
    ),
    "a configuration of aliases": (
        other("config.yaml", lambda d: d + b"a: &a [1]\nb: [*a, *a]\n"),
        "has no aliases",
    ),
    "an unknown setting": (other("config.yaml", lambda d: d + b"evil: 1\n"), "unknown key"),
    "a configuration that is no text": (other("config.yaml", lambda d: b"\xff\xfe\x00"), "not a YAML file"),
    "better records": (other("parquet", one_more_pixel), "not those that the evaluation names"),
    "records of other columns": (other("parquet", lambda d: table({"a": [1]})), "not a table of records"),
    "records of texts": (other("parquet", lambda d: table({"ref_id": ["x"]})), "not a table of records"),
    "records that are no table": (other("parquet", lambda d: b"PAR1" + b"x" * 99), "not a Parquet file"),
    "records without description": (without("evals/"), "an evaluation is its records and what they"),
    "metrics brought along": (
        other("evals/", lambda d: edit_json(d, summary={"metrics": {"oiou": {"value": 99.0}}})),
        "brings no metrics",
    ),
    "an evaluation of another run": (other("evals/", lambda d: edit_json(d, run_id="x")), "of another run"),
    "an evaluation of another name": (
        other("evals/", lambda d: edit_json(d, eval={**json.loads(d)["eval"], "split": "testC"})),
        "an evaluation's name",
    ),
    "an evaluation with NaN": (other("evals/", lambda d: d.replace(b'"epoch": 2', b'"epoch": NaN')), "not a JSON"),
    "a probe of texts": (other("probes/", lambda d: edit_json(d, values={"mean": "<b>"})), "values are numbers"),
    "a probe's table of texts": (
        lambda e: agree({**e, first(e, "probes/").replace(".json", ".parquet"): table({"a": ["x"]})}),
        "holds numbers",
    ),
    "a run that is not finished": (other("state", lambda d: edit_json(d, state="running")), "a finished run"),
    "a key twice": (other("state", lambda d: b'{"state": "done", "state": "done", "epoch": 2}'), "not a JSON file"),
    "a history of lists": (other("history", lambda d: b"[1]\n"), "not a row of a history"),
    "another run's provenance": (other("provenance", lambda d: edit_json(d, run_id="x")), "of another run"),
    "torn weights": (other("last.safetensors", lambda d: d[:-1]), "torn or no safetensors"),
    "weights of another run": (
        other("last.safetensors", lambda d: d.replace(b'run_id\\": \\"caris', b'run_id\\": \\"xaris')),
        "the checkpoint is of another run",
    ),
    "weights without what they are": (without("last.json"), "a checkpoint is its weights"),
}


@pytest.mark.parametrize("name", MANIPULATED)
def test_manipulated_archives(sent: Path, tmp_path: Path, name: str) -> None:
    change, reason = MANIPULATED[name]
    message = refused(pack(tmp_path / "x.zip", change(unpack(sent))), tmp_path / "a")
    assert reason in message


def test_the_helpers_alone_change_nothing(sent: Path, tmp_path: Path) -> None:
    landed = import_archive(tmp_path / "a", pack(tmp_path / "x.zip", agree(unpack(sent))))
    assert landed.count("imported") == 1


@pytest.mark.parametrize("left", [0, 10, 0.5, 0.999])
def test_a_truncated_archive(sent: Path, tmp_path: Path, left: float) -> None:
    data = sent.read_bytes()
    (tmp_path / "x.zip").write_bytes(data[: int(left if left >= 1 else left * len(data))])
    assert "not an archive, or not all of it" in refused(tmp_path / "x.zip", tmp_path / "a")


def test_no_changed_byte_reaches_a_store(sent: Path, tmp_path: Path) -> None:
    """Flip single bits all over the file: either it is refused, or what comes out is what was sent."""
    data, whole = sent.read_bytes(), {n: d for n, d in unpack(sent).items() if n != MANIFEST}
    draw = random.Random(0)
    refusals = 0
    places = sorted({*draw.sample(range(len(data)), 120), *range(40), *range(len(data) - 120, len(data))})
    for number, place in enumerate(places):
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        (tmp_path / "x.zip").write_bytes(changed)
        folder = tmp_path / str(number)
        try:
            with Archive(tmp_path / "x.zip") as archive:
                for run_id in archive.manifest.runs:
                    archive.take_out(run_id, folder)
        except UserError:
            refusals += 1
        else:
            found = {name: content for name, content in tree(folder).items() if (folder / name).is_file()}
            assert found == whole, f"byte {place}"
    assert refusals > 100


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFIFO])
def test_links_and_devices(sent: Path, tmp_path: Path, kind: int) -> None:
    entries = unpack(sent)
    link = first(entries, "state.json")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in agree({**entries, link: b"/etc/passwd"}).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((kind if name == link else stat.S_IFREG) | 0o777) << 16
            archive.writestr(info, content)
    assert "no plain file" in refused(tmp_path / "x.zip", tmp_path / "a")


def test_a_file_twice(sent: Path, tmp_path: Path) -> None:
    entries = unpack(sent)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(first(entries, "state"), b"{}")
    assert "holds a file twice" in refused(tmp_path / "x.zip", tmp_path / "a")


def test_names_that_differ_in_case_only(sent: Path, tmp_path: Path) -> None:
    entries = unpack(sent)
    name = first(entries, "evals/")
    twice = agree({**entries, name.replace("evals/refcoco", "evals/Refcoco"): entries[name]})
    assert "names a file twice" in refused(pack(tmp_path / "x.zip", twice), tmp_path / "a")


def test_a_bomb(sent: Path, tmp_path: Path) -> None:
    """100 MB of blanks in a small file: they are never unpacked."""
    entries = unpack(sent)
    blank = agree({**entries, first(entries, "history"): b" " * 100_000_000})
    file = pack(tmp_path / "x.zip", blank)
    assert file.stat().st_size < 300_000
    assert "unpacks to far more than runs do" in refused(file, tmp_path / "a")


def test_a_file_too_large_for_its_kind(sent: Path, tmp_path: Path) -> None:
    entries = unpack(sent)
    large = agree({**entries, first(entries, "config.yaml"): b"#" * ((1 << 20) + 1)})
    assert "too large for its kind" in refused(pack(tmp_path / "x.zip", large), tmp_path / "a")


def test_a_table_that_claims_endless_rows(sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amlrepro.suite.sharing.contents.MOST_ROWS", 39)  # the store's records have 40
    assert "a table is too large" in refused(sent, tmp_path / "a")


def test_what_is_no_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.zip.npz", a=np.zeros(3))
    assert "has no manifest.json" in refused(tmp_path / "x.zip.npz", tmp_path / "a")
    with pytest.raises(UserError, match="no such file"):
        import_archive(tmp_path / "a", tmp_path / "missing.zip")
    with pytest.raises(UserError, match="not a file"):
        import_archive(tmp_path / "a", tmp_path / "a")
