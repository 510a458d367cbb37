"""Whose runs these are: names of laboratories, the mark in a run that came from an archive, the stores of others.

<root>/<profile>/runs/<run_id>/                one's own runs; a merged one has an `origin.json`
<root>/labs/<laboratory>/<profile>/runs/...    what another laboratory sent: a store of its own
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from amlrepro.errors import UserError
from amlrepro.files import read_json, write_json
from amlrepro.rundir import RunDir
from amlrepro.suite.settings import load_settings, settings_path
from amlrepro.suite.store import Store

LABS = "labs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
NAME_RULE = "1 to 40 letters, digits, dots, hyphens and underscores, the first a letter or digit"


@dataclass(frozen=True)
class Origin:
    """Where an imported run comes from. archive: SHA-256 of the archive's manifest, which names every file's hash.

    package: the version of this package that made the archive. imported: seconds since 1970. later: archives that
    brought further results of the run.
    """

    laboratory: str
    archive: str
    package: str
    imported: float
    later: tuple[str, ...] = ()


def check_laboratory(name: str, where: object = "--lab") -> str:
    """The name of a laboratory, which becomes a folder's name. Raises `UserError` for one that cannot."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UserError("not a name for a laboratory", where=where, found=repr(name), expected=NAME_RULE)
    return name


def own_laboratory(flag: str | None = None) -> str | None:
    """This laboratory's name: from `--lab`, else from the user's configuration file; None without either."""
    if flag is not None:
        return check_laboratory(flag)
    named = load_settings().laboratory
    return None if named is None else check_laboratory(named, f"{settings_path()}: laboratory")


def require_laboratory(flag: str | None) -> str:
    """As `own_laboratory`; raises `UserError` where nothing names it."""
    name = own_laboratory(flag)
    if name is None:
        raise UserError(
            "an archive carries the name of its laboratory, and none is given",
            expected=NAME_RULE,
            hint=f"name it by --lab NAME, or once for all by `laboratory: NAME` in {settings_path()}",
        )
    return name


def read_origin(run: RunDir) -> Origin | None:
    """Where a run comes from; None for one that was trained here. Raises `UserError` for a file that says nothing."""
    path = run.origin
    if not path.exists():
        return None
    values: Any = read_json(path)
    try:
        return Origin(**{**values, "later": tuple(values.get("later", ()))})
    except (TypeError, AttributeError) as error:
        raise UserError("not the mark of an imported run", where=path, found=str(error)) from error


def write_origin(run: RunDir, origin: Origin) -> None:
    """Mark a run as imported; a further archive is added to the mark that is there."""
    known = read_origin(run)
    if known is not None:
        later = dict.fromkeys([*known.later, origin.archive])
        later.pop(known.archive, None)
        origin = replace(known, later=tuple(later))
    write_json(run.origin, asdict(origin))


def laboratory_store(store: Store, name: str) -> Store:
    """The store that holds what the laboratory sent, of the same profile."""
    return Store(store.root / LABS / name, store.profile)


def laboratories(store: Store) -> list[tuple[str, Store]]:
    """The other laboratories whose runs of this profile lie beside a store, by name."""
    folder = store.root / LABS
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = [(name, laboratory_store(store, name)) for name in names if _NAME.fullmatch(name)]
    return [(name, other) for name, other in found if other.run_ids()]
