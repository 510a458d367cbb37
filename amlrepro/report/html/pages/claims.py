"""The page on the paper's claims: what can be said of each, and what it rests on."""

from __future__ import annotations

from itertools import groupby

from amlrepro.report.html.anchors import anchor
from amlrepro.report.html.content import Chapter, Grid, Page, Text, Tile, Tone, grid
from amlrepro.verdicts.claims import CellRef
from amlrepro.verdicts.labels import CONTRADICTED, INVALID, LEVEL, NOT_RUN, ONE_READING, REPRODUCED, Label
from amlrepro.verdicts.merging import LaboratoriesReport, MergedVerdict
from amlrepro.verdicts.verdict import ClaimsReport, PairResult, Verdict
from amlrepro.verdicts.wording import SHORT, interval, number

_LEAD = (
    "Every comparative statement of the paper, and whether the trainings that are there support it, contradict it, or "
    "cannot tell. A difference inside the noise between seeds is never called a win."
)
_BAD = frozenset({*CONTRADICTED, INVALID, ONE_READING, "direction reversed here", "different here", "not best here"})
_GOOD = frozenset({*REPRODUCED, "direction holds here", "equal here", "best here"})


def claims_page(report: ClaimsReport, laboratories: LaboratoriesReport | None = None) -> Page:
    """Outcome, claims by family, several laboratories together, noise."""
    families = [(name, list(found)) for name, found in groupby(report.verdicts, key=lambda each: each.claim.family)]
    chapters = [_outcome(report), *(_family(report, name, found) for name, found in families)]
    chapters += [_laboratories(laboratories)] if laboratories else []
    chapters.append(_noise(report))
    return Page("claims", "Is it reproduced?", "Claims", _LEAD, tuple(chapters), seeds=report.seeds)


def tone(label: Label) -> Tone:
    """Good, bad, or neither."""
    return "good" if label in _GOOD else "bad" if label in _BAD else "" if label == NOT_RUN else "open"


def _outcome(report: ClaimsReport) -> Chapter:
    tiles = tuple(Tile(label.capitalize(), str(count)) for label, count in report.counts.items())
    lock = (
        report.lock.says if report.lock else "nothing was fixed beforehand (`amlris claims lock`): all is exploratory"
    )
    points = [f"{report.harness.says[0].upper()}{report.harness.says[1:]}.", f"{lock[0].upper()}{lock[1:]}."]
    if report.watermark:
        points.append("These verdicts are about small models' own numbers; no printed number stands beside them.")
    points.append(f"Reading of the method: {report.preset}. `docs/verdicts.md` has the procedure and its error rates.")
    return Chapter("outcome", "Outcome", (), tiles, tuple(points))


def _family(report: ClaimsReport, name: str, verdicts: list[Verdict]) -> Chapter:
    state = next(family for family in report.families if family.name == name)
    how = "Holm" if state.method == "holm" else "Benjamini-Hochberg"
    says = (
        f"{state.size} claims judged together ({how}); {state.reached} have reached a look (3 or 5 seeds an arm), "
        f"{state.decided} are decided at one."
    )
    table = _claims(name, verdicts, printed=not report.watermark, locked=report.lock is not None)
    return Chapter(anchor("family", name), f"Family {name}", (says,), grids=(table,))


def _claims(name: str, verdicts: list[Verdict], printed: bool, locked: bool) -> Grid:
    headers = ["Claim", "Verdict", *([">Printed effect"] if printed else []), ">Here", ">Seeds an arm", "Why"]
    note = "Under our difference stands the interval that decides, at the level that the family grants the claim."
    return grid(f"Claims of {name}", headers, [_line(verdict, printed, locked) for verdict in verdicts], note)


def _line(verdict: Verdict, printed: bool, locked: bool) -> list[Text | str]:
    claim = verdict.claim
    reason = f": {verdict.why_exploratory}" if locked else ""  # without a lock the page says it once
    exploratory = f"exploratory{reason}" if verdict.exploratory else ""
    see = f" Audit: {', '.join(claim.see)}." if claim.see else ""
    effect = [_number(verdict.printed)] if printed else []
    return [
        Text(claim.says, detail=f"{claim.id}, {claim.where}", anchor=anchor("claim", claim.id)),
        Text(SHORT.get(verdict.label, verdict.label), tone(verdict.label), detail=exploratory),
        *effect,
        _here(verdict),
        _seeds(verdict.lead),
        Text(verdict.text + see, detail=_secondary(verdict)),
    ]


def _here(verdict: Verdict) -> Text:
    """The leading pair's difference and the interval that decided; it links to the cell."""
    if verdict.estimate is None:
        return Text("–")
    between = "" if verdict.low is None or verdict.high is None else interval(verdict.low, verdict.high)
    if between and verdict.outcome is not None:
        between += f" ({1 - verdict.outcome.level:.1%})"
    return Text(number(verdict.estimate), href=f"index.html#{cell_place(verdict.lead.first)}", detail=between)


def cell_place(ref: CellRef) -> str:
    """The anchor of a cell on the page of tables."""
    return anchor("cell", ref.experiment, ref.block, ref.row, ref.column)


def _seeds(pair: PairResult) -> str:
    if not pair.n_first:
        return "–"
    second = "cited" if pair.n_second is None else str(pair.n_second)
    return f"{pair.n_first} / {second}"


def _secondary(verdict: Verdict) -> str:
    found = verdict.secondary
    if found is None:
        return ""
    return f"seeds and images both drawn: {interval(found.low, found.high)} ({found.images:,} images)"


def _laboratories(report: LaboratoriesReport) -> Chapter:
    says = (
        f"Over {', '.join(report.names)}: seeds are pooled within a laboratory, and laboratories are a random effect. "
        "A claim is here when two of them have reached a look of it."
    )
    copies = tuple(
        f"{len(runs)} runs of {name} have the very records of others before it and are left out."
        for name, runs in report.copies.items()
    )
    if not report.verdicts:
        return Chapter("laboratories", "Several laboratories", (says, "No claim is yet."), points=copies)
    lines = [line for verdict in report.verdicts for line in _merged(verdict)]
    headers = ["Claim", "Verdict", ">Effect", ">Interval", ">Weight", ">Between: s, I²"]
    note = "Each laboratory's own interval is at 5 %; the merged one at the level of the claim's family."
    return Chapter(
        "laboratories", "Several laboratories", (says,), points=copies, grids=(grid("Merged", headers, lines, note),)
    )


def _merged(verdict: MergedVerdict) -> list[list[Text | str]]:
    """The merged effect, and under it each laboratory's own."""
    lead, outcome = verdict.lead, verdict.outcome
    between = f"{lead.tau2**0.5:.2f}, {lead.i2:.0%}"
    label = Text(SHORT.get(verdict.label, verdict.label), tone(verdict.label), detail="; ".join(verdict.gates))
    head: list[Text | str] = [
        Text(verdict.claim.says, detail=verdict.claim.id),
        label,
        number(lead.estimate),
        interval(outcome.low, outcome.high),
        "",
        between,
    ]
    own: list[list[Text | str]] = [
        [
            f"— {each.name}",
            "",
            number(each.difference.estimate),
            interval(*each.difference.interval(LEVEL)),
            f"{each.weight:.0%}",
            "",
        ]
        for each in lead.laboratories
    ]
    absent: list[list[Text | str]] = [
        [f"— {state.name}", f"no part: {state.reason}", "", "", "", ""]
        for state in verdict.states
        if state.look is None
    ]
    return [head, *own, *absent]


def _noise(report: ClaimsReport) -> Chapter:
    headers = ["Metric", "Measured on", "Trained on", ">Noise s", ">Degrees of freedom", ">Recipes", ">Trainings"]
    lines = [
        [
            each.metric,
            each.where,
            each.train,
            "–" if each.noise.sigma is None else number(each.noise.sigma).removeprefix("+"),
            str(each.noise.nu),
            str(each.noise.recipes),
            str(each.noise.runs),
        ]
        for each in report.noise
    ]
    says = (
        "How much trainings of one recipe differ by their seed alone, pooled over recipes with at least two seeds. "
        "Below 4 degrees of freedom no verdict is given."
    )
    empty = () if lines else ("No recipe has two seeds yet.",)
    return Chapter(
        "noise", "The noise between seeds", (says, *empty), grids=(grid("Noise", headers, lines),) if lines else ()
    )


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)
