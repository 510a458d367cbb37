"""The page on the paper against itself: what a reader should see before spending GPU hours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from amlrepro.report.html.anchors import anchor
from amlrepro.report.html.content import Chapter, Grid, Page, Text, Tile, Tone, grid
from amlrepro.verdicts.audit import AuditReport, Finding
from amlrepro.verdicts.audit.checks import Verdict
from amlrepro.verdicts.audit.method import TABLE12, Method

_LEAD = (
    "Every statement of the paper that arithmetic can check, recomputed from its own printed numbers when this "
    "page was made. No training is behind it."
)
_TONES: dict[Verdict, Tone] = {"consistent": "good", "off_by": "open", "contradictory": "bad", "unclear": "open"}
_WORDS: dict[Verdict, str] = {"off_by": "off by a little"}


def audit_page(audit: AuditReport) -> Page:
    """What matters most, the released code, the method measured, leaks, then every check by topic."""
    chapters = [_summary(audit), _released(audit), *map(_method, audit.methods), _checks(audit)]
    if audit.leaks:
        texts = tuple(f"{leak.text}." for leak in audit.leaks)
        chapters.insert(2, Chapter("leak", "Training pictures among the evaluated (Table 15)", points=texts))
    return Page("audit", "Arithmetic, no runs", "Audit", _LEAD, tuple(chapters), runs=False)


def _summary(audit: AuditReport) -> Chapter:
    tiles = tuple(Tile(_word(verdict).capitalize(), str(count)) for verdict, count in audit.counts.items())
    lines: list[list[Text | str]] = [
        [Text(f"{k}. {matter.says}"), Text(", ".join(f.id for f in matter.findings), href=_link(matter.findings[0]))]
        for k, matter in enumerate(audit.matters, 1)
    ]
    return Chapter(
        "matters",
        "What matters most",
        (f"{audit.summary}. {audit.rule}",),
        tiles,
        (),
        (grid("In order", ["What", "Checks"], lines),),
    )


def _released(audit: AuditReport) -> Chapter:
    lines: list[list[Text | str]] = [
        [
            Text(each.topic, detail=f"`{each.setting}`" if each.setting else ""),
            each.paper,
            each.released,
            Text(each.consequence, detail="calculated here" if each.measured else "stated, not measured here"),
        ]
        for each in audit.differences
    ]
    table = grid("Where they differ", ["Topic", "Paper", "Released code", "What it does"], lines)
    return Chapter("released", "The paper against its released code", grids=(table,))


def _method(method: Method) -> Chapter:
    mark = (f"{method.watermark[0].upper()}{method.watermark[1:]}.",) if method.watermark else ()
    asked = f"tau {method.tau:g}, rho {method.rho:g}; {method.images} samples of {method.patches} patches."
    return Chapter(
        anchor("method", method.key),
        f"The method as printed, on {_source(method)}",
        (method.says, *mark, asked),
        grids=tuple(each for each in (_readings(method), _distortion(method), _cross(method)) if each.rows),
    )


def _source(method: Method) -> str:
    return {"simulated": "simulated features", "file": "given features"}.get(method.source, "features of a model")


def _readings(method: Method) -> Grid:
    headers = [
        "Reading",
        ">Mean S",
        ">Deviation",
        ">S < 0.2",
        ">S ≥ 0.9",
        ">Weak blocks",
        ">Blanked",
        ">Images blanked wholly",
    ]
    lines: list[list[Text | str]] = [
        [
            Text(each.name, detail=each.says),
            f"{each.mean:.3f}",
            f"{each.std:.3f}",
            _percent(each.below_020),
            _percent(each.from_090),
            _percent(each.weak_blocks),
            _percent(each.masked),
            _percent(each.blank),
        ]
        for each in method.readings
    ]
    return grid("S and the masks of each reading", headers, lines, f"Table 12 prints of epoch 1: {_table12()}.")


def _table12() -> str:
    """What Table 12 prints of the model after its first epoch."""
    from amlrepro.suite.printed import load_printed

    table = load_printed("table12")
    first = table.columns[0]
    names = {"mean": "mean", "std": "deviation", "below_020": "S < 0.2", "from_050": "S ≥ 0.5", "from_090": "S ≥ 0.9"}
    values = {name: table.value(row, first.key) for name, row in TABLE12.items()}
    return ", ".join(f"{names[name]} {value.text}" for name, value in values.items() if value is not None)


def _distortion(method: Method) -> Grid:
    headers = [
        ">D_a",
        ">Bound of Eq. 9",
        ">Within vision: mean, largest error",
        ">Within text: mean, largest error",
        ">Patch and token after projection: r.m.s., largest",
    ]
    lines: list[list[Text | str]] = [
        [
            str(each.dim),
            f"{each.bound:.4f}",
            f"{each.vision_mean:.4f}, {each.vision_max:.4f}",
            f"{each.text_mean:.4f}, {each.text_max:.4f}",
            f"{each.cross_rms:.4f}, {each.cross_max:.4f}",
        ]
        for each in method.distortion
    ]
    note = (
        "The bound holds within a modality. Between them there is nothing to keep: where widths differ the product "
        "before projection does not exist (THM1)."
    )
    return grid("What the projection does to inner products", headers, lines, note)


def _cross(method: Method) -> Grid:
    headers = [
        ">D_a",
        ">Cosine before",
        ">Two matrices: mean after",
        ">within ε",
        ">One matrix: mean after",
        ">within ε",
    ]
    lines: list[list[Text | str]] = [
        [
            str(each.dim),
            f"{each.cosine:g}",
            f"{each.independent_mean:.3f}",
            _percent(each.independent_within, 0),
            f"{each.shared_mean:.3f}",
            _percent(each.shared_within, 0),
        ]
        for each in method.cross
    ]
    note = "ε is what Table 5 prints for that D_a. Two independent matrices are the printed method."
    return grid("Eq. 10 put to the test", headers, lines, note)


def _checks(audit: AuditReport) -> Chapter:
    grids = [_topic(topic, list(found)) for topic, found in groupby(audit.findings, key=lambda each: each.topic)]
    return Chapter("checks", f"All {len(audit.findings)} checks", grids=tuple(grids))


def _topic(topic: str, findings: Sequence[Finding]) -> Grid:
    lines: list[list[Text | str]] = [
        [
            Text(each.id, detail=each.where, anchor=anchor("check", each.id)),
            each.claim,
            each.printed,
            Text(each.text, detail=each.note or ""),
            Text(_word(each.verdict), _TONES[each.verdict]),
            each.adopted,
        ]
        for each in findings
    ]
    return grid(topic, ["Check", "Statement", "Printed", "Recomputed", "Verdict", "Adopted here"], lines)


def _word(verdict: Verdict) -> str:
    return _WORDS.get(verdict, verdict)


def _link(finding: Finding) -> str:
    return f"#{anchor('check', finding.id)}"


def _percent(share: float, places: int = 1) -> str:
    return f"{100 * share:.{places}f} %"
