"""The audit as one page of Markdown: what to read before spending GPU hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from amlrepro.verdicts.audit import AuditReport, Finding
from amlrepro.verdicts.audit.method import Method


def audit_markdown(report: AuditReport) -> str:
    """The whole audit: what matters most, the released code, the method measured, every check by topic."""
    lines = ["# AMLRIS (ICLR 2026): the paper checked by arithmetic", "", f"{report.summary}.", "", report.rule, ""]
    lines += ["## What matters most", ""]
    for number, matter in enumerate(report.matters, 1):
        lines.append(f"{number}. {matter.says}")
        lines += [f"   - **{f.id}**: printed {_text(f.printed)}. Found: {_text(f.text)}" for f in matter.findings]
    lines += ["", "## The paper against its released code", ""]
    rows = [(d.topic, d.paper, d.released, _consequence(d.consequence, d.setting)) for d in report.differences]
    lines += _grid(("", "paper", "released code", "what that does"), rows)
    if report.leaks:
        lines += ["", "## Pictures of Table 15 that were trained on", ""]
        lines += [f"- {leak.text}" for leak in report.leaks]
    for method in report.methods:
        lines += ["", *_method(method, report.printed)]
    topic = ""
    for finding in report.findings:
        if finding.topic != topic:
            topic = finding.topic
            lines += ["", f"## {topic}"]
        lines += ["", *_finding(finding)]
    return "\n".join(lines) + "\n"


def _finding(finding: Finding) -> list[str]:
    lines = [f"**{finding.id}** ({finding.where}): {finding.verdict.replace('_', ' ')}", ""]
    lines += [f"- claim: {_text(finding.claim)}", f"- printed: {_text(finding.printed)}"]
    found = "recomputed" if finding.by == "calculation" else "found"
    note = f" ({finding.note})" if finding.note else ""
    return [*lines, f"- {found}{note}: {_text(finding.text)}", f"- adopted: {_text(finding.adopted)}"]


def _consequence(text: str, setting: str | None) -> str:
    return f"{text} (`{setting}`)" if setting else text


def _method(method: Method, printed: Mapping[str, float]) -> list[str]:
    lines = [f"## The method as printed, and other readings, on {method.says}", ""]
    if method.watermark:
        lines += [f"**{method.watermark}**", ""]
    sizes = f"{method.images} samples of {method.patches} patches and {method.positions} token positions"
    lines += [f"{sizes}; tau {method.tau:g}, rho {method.rho:g}.", "", *_readings(method, printed)]
    if method.distortion:
        lines += [
            "",
            "Errors of the printed projection within a modality, and the projected product of patch and token:",
        ]
        lines += ["", *_distortion(method)]
    if method.cross:
        lines += ["", "Eq. 10 on pairs of unit vectors with a known cosine: mean product, and share within epsilon:"]
        lines += ["", *_cross(method)]
    return lines


def _readings(method: Method, printed: Mapping[str, float]) -> list[str]:
    shares = ("S < tau", "S >= 0.9", "weak blocks", "image masked", "blank images")
    rows = []
    for row in method.readings:
        numbers = (row.below_tau, row.from_090, row.weak_blocks, row.masked, row.blank)
        rows.append((row.name, row.says, f"{row.mean:.3f}", f"{row.std:.3f}", *(f"{100 * n:.1f} %" for n in numbers)))
    if method.toy:
        return _grid(("reading", "what", "mean S", "deviation", *shares), rows)
    known = f"{printed['mean']:.3f}", f"{printed['std']:.3f}", "", f"{100 * printed['from_090']:.1f} %"
    rows.append(("printed", "Table 12, epoch 1", *known, "", "", ""))
    return _grid(("reading", "what", "mean S", "deviation", *shares), rows)


def _distortion(method: Method) -> list[str]:
    titles = ("D_a", "bound", "patches, mean", "largest", "tokens, mean", "largest", "patch and token", "largest")
    rows = []
    for row in method.distortion:
        within = (row.vision_mean, row.vision_max, row.text_mean, row.text_max)
        rows.append((str(row.dim), *(f"{n:.3f}" for n in (row.bound, *within, row.cross_rms, row.cross_max))))
    return _grid(titles, rows)


def _cross(method: Method) -> list[str]:
    titles = ("D_a", "epsilon", "cosine", "two matrices", "within", "one matrix", "within")
    rows = []
    for row in method.cross:
        two = _plain(row.independent_mean), f"{100 * row.independent_within:.0f} %"
        one = _plain(row.shared_mean), f"{100 * row.shared_within:.0f} %"
        rows.append((str(row.dim), f"{row.epsilon:.4f}", f"{row.cosine:g}", *two, *one))
    return _grid(titles, rows)


def _plain(number: float) -> str:
    """Three decimals, and no minus before zero."""
    return f"{number:.3f}" if abs(number) >= 0.0005 else "0.000"


def _grid(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    shown = [titles, ["---"] * len(titles), *rows]
    return ["| " + " | ".join(_text(cell).replace("|", "\\|") for cell in row) + " |" for row in shown]


def _text(text: str) -> str:
    """Text whose marks stand for themselves."""
    for mark in "\\*_<>`":
        text = text.replace(mark, "\\" + mark)
    return text
