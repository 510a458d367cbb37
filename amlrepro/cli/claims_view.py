"""Verdicts on a terminal: a table of many, everything of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.markup import escape

from amlrepro.verdicts.labels import (
    CONTRADICTED,
    HERE,
    INVALID,
    NOT_RUN,
    REPRODUCED,
    TOO_EARLY,
    UNDECIDABLE,
    UNKNOWN,
    Label,
)
from amlrepro.verdicts.wording import SHORT, interval, number

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from amlrepro.verdicts.verdict import ClaimsReport, PairResult, Verdict

NOISES = 6  # groups of noise that are listed
MANY = 1000  # seeds that are not counted any more


def overview(report: ClaimsReport, everything: bool) -> list[RenderableType]:
    """A table of the verdicts by family, what came out, and what all of it rests on.

    everything: list claims that have not been run one by one.
    """
    parts: list[RenderableType] = []
    if report.watermark:
        parts.append(f"[bold]{escape(report.watermark)}[/bold]; verdicts are about these numbers, not about the paper")
    shown = [v for v in report.verdicts if everything or v.label != NOT_RUN]
    if shown:
        parts.append(_table(shown, report))
    return [*parts, *_summary(report, everything)]


def _table(verdicts: list[Verdict], report: ClaimsReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=False)
    table.add_column("claim")
    if not report.watermark:
        table.add_column("printed", justify="right", no_wrap=True)
    table.add_column("ours (interval)", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("verdict")
    family = ""
    for verdict in verdicts:
        if verdict.claim.family != family:
            family = verdict.claim.family
            table.add_section()
            table.add_row(f"[bold]{escape(family)}[/bold]")
        table.add_row(*_row(verdict, bool(report.watermark), report.lock is not None))
    return table


def _row(verdict: Verdict, watermark: bool, locked: bool) -> list[str]:
    printed = [] if watermark else ["-" if verdict.printed is None else number(verdict.printed)]
    label = _label(verdict) + ("\n[dim]exploratory[/dim]" if locked and verdict.exploratory else "")
    about = f"{escape(verdict.claim.id)}\n[dim]{escape(verdict.claim.says)}[/dim]"
    return [about, *printed, _ours(verdict), _seeds(verdict), label]


def _ours(verdict: Verdict) -> str:
    if verdict.estimate is None:
        return "-"
    if verdict.low is None or verdict.high is None:
        return number(verdict.estimate)
    return f"{number(verdict.estimate)}\n[dim]{interval(verdict.low, verdict.high)}[/dim]"


def _seeds(verdict: Verdict) -> str:
    if not verdict.n_first:
        return "-"
    return str(verdict.n_first) if verdict.n_second is None else f"{verdict.n_first}+{verdict.n_second}"


def _label(verdict: Verdict) -> str:
    said = f"[{colour(verdict.label)}]{SHORT.get(verdict.label, verdict.label)}[/]"
    if verdict.label == INVALID and verdict.provisional:
        said += f"\n[dim]else {SHORT.get(verdict.provisional, verdict.provisional)}[/dim]"
    if verdict.outcome is not None and verdict.outcome.seeds is not None and verdict.label != INVALID:
        seeds = verdict.outcome.seeds
        shown = str(seeds) if seeds < MANY else f"over {MANY}"
        enough = verdict.label != UNDECIDABLE
        said += f"\n[dim]{f'{shown} seeds would decide' if enough else f'would take {shown} seeds'}[/dim]"
    if verdict.repeated and verdict.why_not is None:
        said += f"\n[dim]{len(verdict.pairs)} of {len(verdict.claim.pairs)} comparisons differ[/dim]"
    if verdict.label == TOO_EARLY:
        said += f"\n[dim]{verdict.seeds} of 3 seeds[/dim]"
    if verdict.label == UNKNOWN:
        said += f"\n[dim]nu {min(pair.nu for pair in verdict.pairs)}[/dim]"
    return said


def colour(label: Label) -> str:
    """Of a label: green and red for what is decided, yellow for what is open, dim for what has no verdict."""
    if label in REPRODUCED or label in (HERE[each] for each in HERE if each in REPRODUCED):
        return "green"
    if label in CONTRADICTED or label in HERE.values():
        return "red"
    return "dim" if label in (NOT_RUN, INVALID, UNKNOWN, TOO_EARLY) else "yellow"


def _summary(report: ClaimsReport, everything: bool) -> Iterable[str]:
    yield ""
    total = len(report.verdicts)
    counted = ", ".join(f"{count} {label}" for label, count in report.counts.items())
    yield f"[bold]{total} claim{'s' * (total > 1)}:[/bold] {escape(counted)}."
    absent = report.counts.get(NOT_RUN, 0)
    if absent and not everything:
        missing = dict.fromkeys(e for v in report.verdicts if v.label == NOT_RUN for e in v.claim.experiments)
        yield f"[dim]Not run, and not listed (--all lists them): {absent} claims on {', '.join(missing)}.[/dim]"
    touched = [family for family in report.families if family.reached]
    if touched:
        told = [f"{f.name} {f.decided} of {f.size}{' (Holm)' if f.method == 'holm' else ''}" for f in touched]
        yield f"[dim]Decided in each family, not run ones counted: {escape('; '.join(told))}.[/dim]"
    yield from _rests_on(report)


def _rests_on(report: ClaimsReport) -> Iterable[str]:
    if report.noise:
        known = sorted(report.noise, key=lambda group: -group.noise.nu)
        listed = [f"{g.metric} {g.where} {g.noise.sigma:.3g} (nu {g.noise.nu})" for g in known[:NOISES]]
        more = f", and {len(known) - NOISES} more" if len(known) > NOISES else ""
        yield f"[dim]Noise between seeds: {escape('; '.join(listed))}{more}.[/dim]"
    else:
        yield "[dim]Noise between seeds: unknown, no recipe has two seeds.[/dim]"
    if not report.watermark:
        yield f"[dim]{escape(report.harness.says)}.[/dim]"
    unlocked = "nothing is locked: every verdict is exploratory (amlris claims lock)"
    yield f"[dim]{escape(report.lock.says if report.lock else unlocked)}.[/dim]"


def detail(verdict: Verdict, report: ClaimsReport) -> Iterable[RenderableType]:
    """Everything of one claim."""
    claim = verdict.claim
    yield f"\n[bold]{escape(claim.id)}[/bold]  {escape(claim.says)}"
    yield f"[{colour(verdict.label)}]{escape(verdict.label)}[/]  {escape(verdict.text)}"
    if report.watermark:
        yield f"[dim]{escape(report.watermark)}[/dim]"
    about = [f"{claim.where}; {claim.kind}, family {claim.family}"]
    if claim.margin is not None:
        about.append(f"margin {claim.margin:g}")
    if claim.quoted is not None and not report.watermark:
        about.append(f"quoted as {number(claim.quoted)}")
    if claim.see:
        about.append(f"see audit {', '.join(claim.see)}")
    yield f"[dim]{escape('; '.join(about))}[/dim]"
    yield _pairs(verdict, bool(report.watermark))
    yield from (f"[dim]{escape(line)}[/dim]" for line in _background(verdict))


def _pairs(verdict: Verdict, watermark: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("first", "second", *([] if watermark else ["printed"]), "ours", "interval", "noise", "Welch"):
        table.add_column(name, justify="left" if name in ("first", "second") else "right", overflow="fold")
    for pair in verdict.pairs:
        table.add_row(*_pair(pair, watermark))
    return table


def _pair(pair: PairResult, watermark: bool) -> list[str]:
    second = pair.second_values
    other = f"{second:g} as printed" if isinstance(second, int | float) else _values(second)
    printed = [] if watermark else ["-" if pair.printed is None else number(pair.printed)]
    return [
        f"{escape(str(pair.first))}\n[dim]{_values(pair.first_values)}[/dim]",
        f"{escape(str(pair.second))}\n[dim]{other}[/dim]",
        *printed,
        "-" if pair.estimate is None else number(pair.estimate),
        "-" if pair.low is None or pair.high is None else interval(pair.low, pair.high),
        "-" if pair.sigma is None else f"{pair.sigma:.3g}, nu {pair.nu}",
        "-" if pair.welch is None else f"p {pair.welch[1]:.2g}",
    ]


def _values(values: Iterable[float]) -> str:
    return " ".join(f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}" for value in values) or "no results"


def _background(verdict: Verdict) -> Iterable[str]:
    outcome = verdict.outcome
    if outcome is not None and verdict.p is not None and verdict.p_adjusted is not None:
        yield (
            f"look at {verdict.look} seeds, judged at a level of {outcome.level:.2g}; p {verdict.p:.2g}, "
            f"in its family {verdict.p_adjusted:.2g}"
        )
        if verdict.nominal is not None:
            yield f"by itself, at 5 %: {interval(*verdict.nominal)}"
        if verdict.seeds > (verdict.look or 0):
            yield f"{verdict.seeds} seeds an arm are there; only the first {verdict.look} take part (looks at 3 and 5)"
    found = verdict.secondary
    if found is not None:
        yield (
            f"over other images too: {interval(found.low, found.high)} (bootstrap of {found.images} images and of "
            f"seeds, {found.draws:,} draws; describes, decides nothing)"
        )
    yield from (f"invalid: {reason}" for reason in verdict.gates)
    if verdict.why_exploratory:
        yield f"exploratory: {verdict.why_exploratory}"
