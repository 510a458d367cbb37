"""The audit as plain data: every check with its finding, what matters most, the released code, the method measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from amlrepro.errors import unknown_name
from amlrepro.verdicts.audit import (  # noqa: F401  (each registers its checks)
    comparison,
    cost,
    described,
    early,
    equations,
    loss,
    projection,
    public,
    robustness,
    similarity,
    threshold,
)
from amlrepro.verdicts.audit.checks import CHECKS, VERDICTS, By, Verdict
from amlrepro.verdicts.audit.differences import Difference, differences
from amlrepro.verdicts.audit.leak import Leak
from amlrepro.verdicts.audit.method import TABLE12, Method
from amlrepro.verdicts.audit.paper import Paper, load_paper
from amlrepro.verdicts.audit.rounding import RULE

BY_READING = "a finding by reading, not by calculation"
BY_BOTH = "read from the text; the numbers are calculated"


@dataclass(frozen=True)
class Finding:
    """One check. printed, text, numbers: what is printed and what follows; by: how it was found; adopted: what this
    project takes. See `Entry` and `Outcome`."""

    id: str
    topic: str
    where: str
    claim: str
    experiments: tuple[str, ...]
    by: By
    verdict: Verdict
    printed: str
    text: str
    numbers: Mapping[str, float]
    adopted: str

    @property
    def note(self) -> str | None:
        """What has to be said where a finding is not pure calculation."""
        return {"reading": BY_READING, "both": BY_BOTH}.get(self.by)


@dataclass(frozen=True)
class MatterFound:
    """Something a reader should see first, and its checks that are not consistent."""

    says: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class AuditReport:
    """The whole audit. rule: the rounding rule. leaks: counted on annotations, where they were there. methods: the
    readings of the method on features, where that was measured. printed: fields of `Reading` as Table 12 prints them of
    the first epoch, to set beside those."""

    findings: tuple[Finding, ...]
    matters: tuple[MatterFound, ...]
    differences: tuple[Difference, ...]
    leaks: tuple[Leak, ...]
    methods: tuple[Method, ...]
    printed: Mapping[str, float]
    rule: str = RULE

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many findings have each verdict."""
        return {verdict: sum(f.verdict == verdict for f in self.findings) for verdict in VERDICTS}

    @property
    def summary(self) -> str:
        """126 checks: 46 contradictory, ..."""
        parts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in self.counts.items())
        return f"{len(self.findings)} checks: {parts}"

    def pick(self, name: str) -> Finding:
        """The finding of a check; raises `UserError` with the nearest id."""
        known = {finding.id.lower(): finding for finding in self.findings}
        if name.lower() not in known:
            raise unknown_name("check", name, [finding.id for finding in self.findings])
        return known[name.lower()]

    def select(
        self, checks: Sequence[str] = (), verdict: str | None = None, experiment: str | None = None
    ) -> tuple[Finding, ...]:
        """Findings of the named checks (all where none is named), with that verdict, about that experiment.

        Raises `UserError` with the nearest for names that do not exist, and for an experiment without a check.
        """
        if verdict is not None and verdict not in VERDICTS:
            raise unknown_name("verdict", verdict, VERDICTS, "--verdict")
        there = list(dict.fromkeys(name for finding in self.findings for name in finding.experiments))
        if experiment is not None and experiment not in there:
            raise unknown_name("experiment with checks", experiment, there, "--experiment")
        chosen = [self.pick(name) for name in checks] if checks else self.findings
        return tuple(
            finding
            for finding in chosen
            if verdict in (None, finding.verdict) and (experiment is None or experiment in finding.experiments)
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "counts": self.counts, "summary": self.summary}


def run_audit(paper: Paper | None = None, *, leaks: Sequence[Leak] = (), methods: Sequence[Method] = ()) -> AuditReport:
    """All checks, calculated now. paper: other printed numbers than those of the paper, for tests.

    leaks: as counted on annotations (`count_leaks`); complete ones take the place of the public counts in X-LEAK1.
    methods: measurements on features (`engine.probes.method`).
    """
    paper = _counted(paper or load_paper(), leaks)
    findings = tuple(_finding(paper, name) for name in paper.entries)
    by_id = {finding.id: finding for finding in findings}
    matters = []
    for matter in paper.matters:
        found = tuple(by_id[name] for name in matter.checks if by_id[name].verdict != "consistent")
        if found:
            matters.append(MatterFound(matter.says, found))
    printed = {field: float(paper.number("table12", row, "ep1")) for field, row in TABLE12.items()}
    return AuditReport(findings, tuple(matters), differences(methods), tuple(leaks), tuple(methods), printed)


def _finding(paper: Paper, name: str) -> Finding:
    entry, check = paper.entries[name], CHECKS[name]
    outcome = check.find(paper)
    return Finding(
        id=entry.id,
        topic=entry.topic,
        where=entry.where,
        claim=entry.claim,
        experiments=entry.experiments,
        by=check.by,
        verdict=outcome.verdict,
        printed=outcome.printed,
        text=outcome.text,
        numbers=outcome.numbers,
        adopted=entry.adopted,
    )


def _counted(paper: Paper, leaks: Sequence[Leak]) -> Paper:
    """The paper beside what was counted in place of the public counts, where the split is complete."""
    for leak in leaks:
        if leak.evaluated == "refcocog" and leak.complete:
            counts = {name: str(getattr(leak, name)) for name in paper.entries["X-LEAK1"].public}
            return paper.with_public("X-LEAK1", **counts)
    return paper
