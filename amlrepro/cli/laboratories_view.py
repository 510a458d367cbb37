"""Verdicts over several laboratories on a terminal: the merged effect, and under it each laboratory's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from amlrepro.verdicts.labels import LEVEL

if TYPE_CHECKING:
    from rich.console import RenderableType

    from amlrepro.verdicts.merging import LaboratoriesReport, MergedVerdict
    from amlrepro.verdicts.noise import Difference


def merged_claims(report: LaboratoriesReport) -> list[RenderableType]:
    """A table of what several laboratories say together, and what was left out."""
    names = ", ".join(report.names)
    parts: list[RenderableType] = [f"\n[bold]over {len(report.names)} laboratories[/bold]: {escape(names)}"]
    for name, runs in report.copies.items():
        parts.append(f"{len(runs)} runs of {escape(name)} have the very records of others before it: left out")
    if not report.verdicts:
        return [*parts, "no claim has three seeds an arm and known noise in two of them"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("claim", overflow="fold")
    for column in ("effect (interval)", "seeds", "weight", "between"):
        table.add_column(column, justify="right")
    table.add_column("verdict", ratio=1, min_width=16)
    for verdict in report.verdicts:
        _add(table, verdict)
        table.add_section()
    widest = min((v.lead for v in report.verdicts), key=lambda m: len(m.laboratories))
    note = (
        "merged: the interval at the family's level, t with (laboratories - 1) degrees of freedom; each laboratory's "
        f"own at {LEVEL:.0%}. between: standard deviation of laboratories, I^2, p of Q. With "
        f"{len(widest.laboratories)} laboratories a 95 % interval is {widest.width(LEVEL):.1f} times that of many"
    )
    return [*parts, table, note]


def _add(table: Table, verdict: MergedVerdict) -> None:
    lead, outcome = verdict.lead, verdict.outcome
    effect = f"{lead.estimate:+.2f} ({outcome.low:+.2f} to {outcome.high:+.2f})"
    between = f"{lead.tau2**0.5:.2f}, {lead.i2:.0%}, {lead.q_p:.2g}"
    label = verdict.label if not verdict.gates else f"{verdict.label}: {verdict.gates[0]}"
    table.add_row(escape(verdict.claim.id), f"[bold]{effect}[/bold]", _seeds(lead), "", between, escape(label))
    for each in lead.laboratories:
        low, high = each.difference.interval(LEVEL)
        own = f"{each.difference.estimate:+.2f} ({low:+.2f} to {high:+.2f})"
        table.add_row(f"  {escape(each.name)}", own, _seeds(each.difference), f"{each.weight:.0%}", "", "")
    for state in verdict.states:
        if state.look is None:
            table.add_row(
                f"  {escape(state.name)}", "", str(state.seeds), "", "", f"no part: {escape(state.reason or '')}"
            )


def _seeds(difference: Difference) -> str:
    second = "" if difference.n_second is None else f" + {difference.n_second}"
    return f"{difference.n_first}{second}"
