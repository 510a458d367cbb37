"""What `amlris audit` shows, as rich tables and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from amlrepro.verdicts.audit import AuditReport, Finding, MatterFound
from amlrepro.verdicts.audit.differences import Difference
from amlrepro.verdicts.audit.method import Method, Reading

STYLES = {"contradictory": "bold red", "off_by": "yellow", "unclear": "cyan", "consistent": "green"}
MANY = 6  # so many checks are shown as a table


def overview(report: AuditReport) -> list[RenderableType]:
    """Everything: summary, what matters most, all checks in short, the released code, the method measured."""
    out: list[RenderableType] = [Text(), _summary(report), Text()]
    out += [Text("What matters most", style="bold"), Text(), *_matters(report.matters), Text()]
    out += [_checks(report.findings), Text()]
    out += [Text("The paper against its released code", style="bold"), *_differences(report.differences), Text()]
    if report.leaks:
        out += [Text("Pictures of Table 15 that were trained on, counted here", style="bold")]
        out += [Text(f"  {leak.text}") for leak in report.leaks] + [Text()]
    for method in report.methods:
        out += [*_method(method, report.printed), Text()]
    if not report.methods:
        out.append(Text("The method on features: not measured (amlris audit --measure)", style="dim"))
    out.append(Text(report.rule, style="dim"))
    out.append(Text(_by_reading(report.findings), style="dim"))
    return out


def in_full(findings: Sequence[Finding], named: bool) -> list[RenderableType]:
    """Some checks: each with all that is known of it; many as a table of what is printed and what is recomputed."""
    if not findings:
        return [Text("no check fits", style="yellow")]
    if named or len(findings) <= MANY:
        return [part for finding in findings for part in _one(finding)]
    table = _table("check", "verdict", "printed", "recomputed")
    table.columns[2].ratio, table.columns[3].ratio = 1, 3
    for f in findings:
        text = Text(f.text)
        if f.note:
            text.append(f" ({f.note})", style="dim")
        table.add_row(f.id, _verdict(f), Text(f.printed), text)
    table.expand = True
    table.show_lines = True
    return [Text(f"{len(findings)} checks"), table]


def _summary(report: AuditReport) -> Text:
    out = Text.assemble((f"{len(report.findings)} checks: ", "bold"))
    for number, (verdict, count) in enumerate(report.counts.items()):
        out.append(", " * (number > 0))
        out.append(f"{count} {_word(verdict)}", style=STYLES[verdict])
    return out


def _word(verdict: str) -> str:
    return verdict.replace("_", " ")


def _verdict(finding: Finding) -> Text:
    return Text(_word(finding.verdict), style=STYLES[finding.verdict])


def _matters(matters: Sequence[MatterFound]) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(justify="right", no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for number, matter in enumerate(matters, 1):
        grid.add_row(f"{number}.", Text(matter.says))
        for finding in matter.findings:
            said = f": printed {finding.printed}. Found: {finding.text}"
            grid.add_row("", Text.assemble((finding.id, STYLES[finding.verdict]), (said, "dim")))
    return [grid]


def _checks(findings: Sequence[Finding]) -> RenderableType:
    table = _table("check", "verdict", "claim")
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            table.add_section()
            table.add_row("", "", Text(topic, style="bold"))
        claim = Text(finding.claim)
        if finding.by == "reading":
            claim.append("  (by reading)", style="dim")
        table.add_row(finding.id, _verdict(finding), claim)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, overflow="fold", no_wrap=number < 2 and titles[0] == "check")
    return table


def _one(finding: Finding) -> list[RenderableType]:
    head = Text.assemble(("\n" + finding.id, "bold"), "  ", _verdict(finding), (f"  {finding.where}", "dim"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    rows = [
        ("claim", finding.claim),
        ("printed", finding.printed),
        ("recomputed" if finding.by == "calculation" else "found", finding.text),
        ("adopted", finding.adopted),
        ("concerns", ", ".join(finding.experiments)),
        ("how", finding.note or "calculated from the printed numbers"),
    ]
    for name, text in rows:
        if text:
            grid.add_row(name, Text(text))
    return [head, Padding(grid, (0, 0, 0, 2))]


def _differences(differences: Sequence[Difference]) -> list[RenderableType]:
    table = _table("", "paper", "released code", "what that does")
    table.show_lines = True
    for each in differences:
        topic = Text(each.topic, style="bold")
        if each.setting:
            topic.append("\n" + each.setting.replace("=", "=\n"), style="not bold dim")
        table.add_row(topic, Text(each.paper), Text(each.released), Text(each.consequence))
    return [table]


def _method(method: Method, printed: Mapping[str, float]) -> list[RenderableType]:
    out: list[RenderableType] = [
        Text(f"The method as printed, and other readings, on {method.says}", style="bold"),
        Text(
            f"{method.images} samples, {method.patches} patches, {method.positions} token positions; "
            f"tau {method.tau:g}, rho {method.rho:g}"
        ),
    ]
    if method.watermark:
        out.append(Text(method.watermark, style="bold yellow"))
    out.append(_readings(method.readings, {} if method.toy else printed))
    out += [Text(f"  {row.name:<22} {bars(row)}") for row in method.readings]
    out.append(Text(f"  {'S':<22} 0{' ' * 23}1", style="dim"))
    if method.distortion:
        out += [Text(), Text("The projection against Eq. 9's bound, unit features", style="bold"), _distortion(method)]
    if method.cross:
        out += [Text(), Text("Eq. 10 on pairs of unit vectors with a known cosine", style="bold"), _cross(method)]
    return out


def bars(reading: Reading, width: int = 25) -> str:
    """The distribution of S as one line of blocks."""
    counts = reading.histogram
    step = len(counts) / width
    sums = [sum(counts[round(k * step) : round((k + 1) * step)]) for k in range(width)]
    top = max(sums)
    return "".join(" ▁▂▃▄▅▆▇█"[min(8, -(-8 * count // top))] for count in sums)


def _readings(readings: Sequence[Reading], printed: Mapping[str, float]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("reading", no_wrap=True)
    for title in ("mean S", "dev.", "< tau", ">= 0.9", "weak\nblocks", "image\nmasked", "blank\nimages"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in readings:
        shares = (row.below_tau, row.from_090, row.weak_blocks, row.masked, row.blank)
        table.add_row(row.name, f"{row.mean:.3f}", f"{row.std:.3f}", *(f"{100 * share:.1f}%" for share in shares))
    if not printed:
        return table
    high = f"{100 * printed['from_090']:.1f}%"
    table.add_row("Table 12, epoch 1", f"{printed['mean']:.3f}", f"{printed['std']:.3f}", "", high, style="dim")
    return table


def _distortion(method: Method) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in (
        "D_a",
        "bound",
        "patches\nmean",
        "largest",
        "tokens\nmean",
        "largest",
        "patch, token\nsize",
        "largest",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for row in method.distortion:
        numbers = (
            row.bound,
            row.vision_mean,
            row.vision_max,
            row.text_mean,
            row.text_max,
            row.cross_rms,
            row.cross_max,
        )
        table.add_row(str(row.dim), *(f"{number:.3f}" for number in numbers))
    table.caption = "errors within a modality; of patch and token the projected product, which should have been theirs"
    table.caption_justify = "left"
    return table


def _cross(method: Method) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in (
        "D_a",
        "epsilon",
        "cosine",
        "two matrices\nmean product",
        "within",
        "one matrix\nmean product",
        "within",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for row in method.cross:
        table.add_row(
            str(row.dim),
            f"{row.epsilon:.4f}",
            f"{row.cosine:g}",
            _plain(row.independent_mean),
            f"{100 * row.independent_within:.0f}%",
            _plain(row.shared_mean),
            f"{100 * row.shared_within:.0f}%",
        )
    return table


def _plain(number: float) -> str:
    """Three decimals, and no minus before zero."""
    return f"{number:.3f}" if abs(number) >= 0.0005 else "0.000"


def _by_reading(findings: Sequence[Finding]) -> str:
    count = {by: sum(finding.by == by for finding in findings) for by in ("reading", "both", "calculation")}
    return (
        f"{count['calculation']} findings are calculated, {count['both']} hold a sentence of the paper against "
        f"calculated numbers, {count['reading']} are by reading. One check in full: amlris audit EQ-S"
    )
