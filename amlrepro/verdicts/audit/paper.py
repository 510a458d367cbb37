"""What the paper prints, as the checks of the audit see it: tables, numbers of the prose, what is claimed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError, unknown_name
from amlrepro.suite.experiment import experiment_names
from amlrepro.suite.folder import experiments_folder
from amlrepro.suite.printed import PrintedNumber, PrintedRow, PrintedTable, load_all_printed, load_exact_yaml
from amlrepro.verdicts.audit.rounding import exact

Numbers = Mapping[str, tuple[PrintedNumber, ...]]
_FIELDS = {"id", "where", "claim", "experiments", "quoted", "public", "adopted"}


@dataclass(frozen=True)
class Entry:
    """One check as `experiments/paper/inconsistencies.yaml` states it.

    where: of the paper. claim: in our words. experiments: tables and figures it concerns. quoted: numbers of the prose;
    public: of public material (single numbers are tuples of one). adopted: what this project takes.
    """

    id: str
    topic: str
    where: str
    claim: str
    experiments: tuple[str, ...]
    quoted: Numbers
    public: Numbers
    adopted: str


@dataclass(frozen=True)
class Matter:
    """Checks that a reader should see first, and why."""

    checks: tuple[str, ...]
    says: str


@dataclass(frozen=True)
class Paper:
    """All printed numbers. A check reads from here alone, so that a changed number shows in its answer."""

    tables: Mapping[str, PrintedTable]
    entries: Mapping[str, Entry]
    matters: tuple[Matter, ...]

    def number(self, table: str, row: str, column: str) -> PrintedNumber:
        """A printed cell; raises `UserError` for an unknown one and `ValueError` for a dash."""
        number = self.tables[table].value(row, column)
        if number is None:
            raise ValueError(f"nothing is printed in {table}, {row}, {column}")
        return number

    def exact(self, table: str, row: str, column: str) -> Fraction:
        """The same as a fraction."""
        return exact(self.number(table, row, column))

    def row(self, table: str, row: str, columns: Sequence[str]) -> list[Fraction]:
        """Several cells of a row as fractions."""
        return [self.exact(table, row, column) for column in columns]

    def gains(self, table: str, first: str, second: str, columns: Sequence[str]) -> list[Fraction]:
        """Row `first` less row `second`, column by column."""
        pairs = zip(self.row(table, first, columns), self.row(table, second, columns), strict=True)
        return [a - b for a, b in pairs]

    def quoted(self, check: str, key: str) -> PrintedNumber:
        """A number that the prose prints."""
        (number,) = self.entries[check].quoted[key]
        return number

    def quotes(self, check: str, key: str) -> tuple[PrintedNumber, ...]:
        """Several of them."""
        return self.entries[check].quoted[key]

    def public(self, check: str, key: str) -> PrintedNumber:
        """A number from public material."""
        (number,) = self.entries[check].public[key]
        return number

    def publics(self, check: str, key: str) -> tuple[PrintedNumber, ...]:
        """Several of them."""
        return self.entries[check].public[key]

    def with_cell(self, table: str, row: str, column: str, text: str) -> Paper:
        """The paper with another number in one cell; `delta:column` is the difference printed beside it."""
        source = self.tables[table]
        kind, _, name = column.rpartition(":")
        number = {name: PrintedNumber(text)}

        def changed(old: PrintedRow) -> PrintedRow:
            return (
                replace(old, delta={**old.delta, **number}) if kind else replace(old, values={**old.values, **number})
            )

        rows = tuple(changed(old) if old.key == row else old for old in source.rows)
        return replace(self, tables={**self.tables, table: replace(source, rows=rows)})

    def with_public(self, check: str, **texts: str) -> Paper:
        """The paper beside other numbers of public material."""
        entry = self.entries[check]
        public = {**entry.public, **{key: (PrintedNumber(text),) for key, text in texts.items()}}
        return replace(self, entries={**self.entries, check: replace(entry, public=public)})

    def with_quote(self, check: str, key: str, *texts: str) -> Paper:
        """The paper with other numbers in its prose."""
        entry = self.entries[check]
        quoted = {**entry.quoted, key: tuple(PrintedNumber(text) for text in texts)}
        return replace(self, entries={**self.entries, check: replace(entry, quoted=quoted)})


def audit_path() -> Path:
    """Where the checks are stated."""
    return experiments_folder() / "paper" / "inconsistencies.yaml"


def load_paper() -> Paper:
    """The paper as printed (read once); raises `UserError` for a broken file."""
    return _read(audit_path())


@cache
def _read(path: Path) -> Paper:
    raw = load_exact_yaml(path)
    try:
        entries = [_entry(check, topic["title"], path) for topic in raw["topics"] for check in topic["checks"]]
        matters = tuple(Matter(tuple(each["checks"]), each["says"]) for each in raw["matters"])
    except (KeyError, TypeError) as error:
        raise UserError("the list of checks is incomplete", where=path, found=str(error)) from error
    known = {entry.id: entry for entry in entries}
    if len(known) < len(entries):
        raise UserError("two checks have one id", where=path)
    for name in (name for matter in matters for name in matter.checks):
        if name not in known:
            raise unknown_name("check", name, known, path)
    return Paper(load_all_printed(), known, matters)


def _entry(raw: Mapping[str, Any], topic: str, path: Path) -> Entry:
    place = f"{path}: {raw['id']}"
    if set(raw) - _FIELDS:
        raise unknown_name("field of a check", min(set(raw) - _FIELDS), sorted(_FIELDS), place)
    for name in raw["experiments"]:
        if name not in experiment_names():
            raise unknown_name("experiment", name, experiment_names(), place)
    return Entry(
        id=raw["id"],
        topic=topic,
        where=raw["where"],
        claim=raw["claim"],
        experiments=tuple(raw["experiments"]),
        quoted=_numbers(raw.get("quoted", {}), place),
        public=_numbers(raw.get("public", {}), place),
        adopted=raw["adopted"],
    )


def _numbers(raw: Mapping[str, Any], place: str) -> Numbers:
    out = {key: tuple(value) if isinstance(value, list) else (value,) for key, value in raw.items()}
    for key, values in out.items():
        if not all(isinstance(value, PrintedNumber) for value in values):
            raise UserError("not a number", where=f"{place}: {key}", found=raw[key])
    return out
