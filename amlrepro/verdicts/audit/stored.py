"""What an audit measured, kept in the store (`audit.json`), so that the report can show it without torch or data.

Checks are not kept: they are calculated anew from the printed numbers each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from amlrepro.errors import UserError
from amlrepro.files import write_json
from amlrepro.suite.store import Store
from amlrepro.verdicts.audit.leak import Leak
from amlrepro.verdicts.audit.method import Method
from amlrepro.verdicts.audit.report import AuditReport, run_audit

FORMAT = 1


def audit_file(store: Store) -> Path:
    """Where a store keeps what its audits measured."""
    return store.folder / "audit.json"


def read_audit(store: Store) -> AuditReport:
    """The audit with what was measured for this store; raises `UserError` for a file that something else wrote."""
    leaks, methods = read_measured(store)
    return run_audit(leaks=leaks, methods=methods)


def read_measured(store: Store) -> tuple[tuple[Leak, ...], tuple[Method, ...]]:
    """Leaks and methods that are kept; nothing where no audit has measured. Raises as `read_audit`."""
    values = store.read(audit_file(store))
    if values is None:
        return (), ()
    try:
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}")
        leaks = tuple(Leak(**row) for row in values["leaks"])
        return leaks, tuple(Method.from_json(row) for row in values["methods"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "not what an audit has written",
            where=audit_file(store),
            found=str(error),
            hint="move the file away and run amlris audit again",
        ) from error


def keep_measured(store: Store, leaks: Sequence[Leak] | None, methods: Sequence[Method]) -> tuple[Method, ...]:
    """Keep new measurements beside those that are there: a method takes the place of an older one on the same features,
    leaks that of all older ones (None: they stay). Returns all methods kept, those on real features first."""
    old_leaks, old = read_measured(store)
    kept = {method.key: method for method in (*old, *methods)}
    ordered = tuple(sorted(kept.values(), key=lambda method: (method.source == "simulated", method.key)))
    values: dict[str, Any] = {
        "format": FORMAT,
        "leaks": [asdict(leak) for leak in (old_leaks if leaks is None else leaks)],
        "methods": [method.as_json() for method in ordered],
    }
    write_json(audit_file(store), values)
    return ordered
