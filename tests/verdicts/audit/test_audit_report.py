"""The report as data: choosing checks, what is kept in a store, pages, the leak."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from amlrepro.errors import UserError
from amlrepro.report.audit_page import audit_markdown
from amlrepro.suite.printed import PrintedNumber
from amlrepro.suite.store import Store
from amlrepro.verdicts.audit import read_audit, run_audit
from amlrepro.verdicts.audit.leak import Leak, count_leaks
from amlrepro.verdicts.audit.method import Method, Passes, Reading
from amlrepro.verdicts.audit.rounding import change_rounds_to, exact, rounds_to
from amlrepro.verdicts.audit.stored import audit_file, keep_measured

LEAK = Leak("refcoco+", "refcocog", "val", 1300, 634, 4896, 2851, complete=True)


def reading(name: str, mean: float, masked: float, weak: float) -> Reading:
    shares = {"below_020": 0.0, "below_tau": weak, "from_050": 0.5, "from_090": 0.4}
    more = {"blank": 0.0, "whole": 0.1, "weak_blocks": weak, "masked": masked}
    return Reading(name, "", 20.0, 5.0, mean, 0.2, 0.1, 1.0, **shares, **more, histogram=(1, 2, 3))


def method(key: str, source: str = "simulated") -> Method:
    rows = (
        reading("literal", 0.2, 1.0, 1.0),
        reading("inferred", 0.76, 0.025, 0.11),
        reading("inferred, real tokens", 0.89, 0.001, 0.005),
        reading("released", 0.74, 0.8, 0.14),
    )
    passes = (Passes("CARIS", 1, 1, 1, 1), Passes("Algorithm 1", 2, 2, 1, 1), Passes("released step", 3, 3, 2, 2))
    return Method(source, key, "features", 4, 9, 5, 0.4, 0.25, rows, (), passes=passes)  # type: ignore[arg-type]


def test_choosing() -> None:
    report = run_audit()
    assert [f.id for f in report.select(["t3-b", "EQ-S"])] == ["T3-B", "EQ-S"]
    assert len(report.select(verdict="off_by")) == 15
    assert {f.id for f in report.select(experiment="table16")} >= {"T16-B", "T17-B", "EQ14"}
    assert [f.id for f in report.select(["T3-A", "T3-B"], verdict="off_by")] == ["T3-B"]
    for wrong in ({"checks": ["T3-Q"]}, {"verdict": "wrong"}, {"experiment": "table99"}):
        with pytest.raises(UserError) as told:
            report.select(**wrong)  # type: ignore[arg-type]
        assert "did you mean" in str(told.value)


def test_report_is_plain_data_and_free_of_torch() -> None:
    code = (
        "import sys, json; from amlrepro.verdicts.audit import run_audit; json.dumps(run_audit().as_json());"
        "print([m for m in ('torch', 'pandas', 'rich', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_measurements_tell_what_differences_do() -> None:
    said = {d.topic: d for d in run_audit(methods=[method("simulated")]).differences}
    assert "inferred, 11.0 % weak" in said["masking rule"].consequence
    assert "from 0.760 to 0.890" in said["padding"].consequence
    assert "released step 3, 3, 2, 2" in said["passes in a step"].consequence
    assert said["padding"].measured
    assert not run_audit().differences[0].measured


def test_toys_do_not_stand_beside_the_paper() -> None:
    toy = replace(method("run 1", "run"), watermark="SYNTHETIC DATA")
    assert not any(d.measured for d in run_audit(methods=[toy]).differences if d.topic == "padding")
    page = audit_markdown(run_audit(methods=[toy]))
    assert "SYNTHETIC DATA" in page
    assert "| printed | Table 12" not in page
    assert "| printed | Table 12" in audit_markdown(run_audit(methods=[method("simulated")]))


def test_kept_measurements_are_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path, "paper")
    assert read_audit(store) == run_audit()
    keep_measured(store, [LEAK], [method("simulated")])
    keep_measured(store, None, [method("file 1", "file")])
    keep_measured(store, None, [replace(method("simulated"), images=9)])
    found = read_audit(store)
    assert [(m.key, m.images) for m in found.methods] == [("file 1", 4), ("simulated", 9)]
    assert found.leaks == (LEAK,)
    assert found.methods[0] == method("file 1", "file")
    audit_file(store).write_text('{"format": 1, "leaks": [], "methods": [{"key": 1}]}')
    with pytest.raises(UserError, match="not what an audit has written"):
        read_audit(store)


def test_counted_leak_takes_the_place_of_the_public_count() -> None:
    assert run_audit(leaks=[LEAK]) == replace(run_audit(), leaks=(LEAK,))
    fewer = run_audit(leaks=[replace(LEAK, seen_images=100)]).pick("X-LEAK1")
    assert "100 of 1,300" in fewer.text
    partial = run_audit(leaks=[replace(LEAK, images=3, complete=False)]).pick("X-LEAK1")
    assert "634 of 1,300" in partial.text


def test_leak_of_the_real_annotations(shared: Path, tmp_path: Path) -> None:
    """634 of 1,300 images, 2,851 of 4,896 sentences (counted before with other code); none of RefCOCO's val."""
    for name, owner, source in (
        ("refcoco", "unc", "refs(unc).p.gz"),
        ("refcoco+", "unc", "refs(unc).p.gz"),
        ("refcocog", "umd", "refs(umd)_val.p.gz"),
    ):
        (tmp_path / name).mkdir()
        packed = (shared / "data" / "refcoco_full_boxes" / name / source).read_bytes()
        (tmp_path / name / f"refs({owner}).p").write_bytes(gzip.decompress(packed))
        (tmp_path / name / "instances.json").write_text("{}")
    refcoco, refcocog = count_leaks(tmp_path)
    assert refcocog == LEAK
    assert (refcoco.images, refcoco.seen_images, refcoco.sentences, refcoco.seen_sentences) == (1500, 0, 10834, 0)
    assert refcoco.complete


def test_page_has_every_check_and_escapes(tmp_path: Path) -> None:
    page = audit_markdown(run_audit(leaks=[LEAK], methods=[method("simulated")]))
    report = run_audit()
    assert all(f"**{finding.id}**" in page for finding in report.findings)
    assert page.index("What matters most") < page.index("released code") < page.index("Table 1 and the main")
    assert "D\\_a" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in rows}
    assert widths == {5, 10}  # four columns of differences, nine of readings


def test_json_round_trip_of_a_method() -> None:
    there = json.loads(json.dumps(method("simulated").as_json()))
    assert Method.from_json(there) == method("simulated")


def test_rounding_rule() -> None:
    """70.95 may be printed 70.9 or 71.0; 23.95 % of two losses of three digits may be 23.9; a count is exact."""
    half = exact(PrintedNumber("70.95"))
    assert rounds_to(half, PrintedNumber("70.9"))
    assert rounds_to(half, PrintedNumber("71.0"))
    assert not rounds_to(half, PrintedNumber("70.8"))
    caris, aml = PrintedNumber("0.0643"), PrintedNumber("0.0489")
    assert change_rounds_to(caris, aml, PrintedNumber("23.9"))
    assert change_rounds_to(caris, aml, PrintedNumber("24.0"))
    assert not change_rounds_to(caris, aml, PrintedNumber("23.7"))
    assert not change_rounds_to(PrintedNumber("12206"), PrintedNumber("12860"), PrintedNumber("5.3"))
