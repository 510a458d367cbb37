"""What was fixed before the results: claims, readings, margins, seeds and the checkpoint rule, with their hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from amlrepro.aml.presets import PRESETS, READINGS
from amlrepro.errors import UserError
from amlrepro.files import canonical_hash, write_json
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store
from amlrepro.verdicts.claims import Claim
from amlrepro.verdicts.families import HEADLINE, LOOKS
from amlrepro.verdicts.labels import LEVEL
from amlrepro.verdicts.noise import ENOUGH
from amlrepro.verdicts.power import AFFORDABLE

FORMAT = 1
CHECKPOINT_RULE = "tables use the last weights; the best by val oIoU stand beside them and decide nothing"


@dataclass(frozen=True)
class Lock:
    """A lock as it lies in the store.

    hash: of everything that was fixed. written: when (ISO 8601). seeds: the planned ones, by number. runs_done: how
    many of the claims' runs were done then. earlier: hashes of locks that this one replaced.
    """

    hash: str
    written: str
    seeds: tuple[int, ...]
    runs_done: int
    earlier: tuple[str, ...]
    content: Mapping[str, Any]

    @property
    def says(self) -> str:
        """In a sentence."""
        seen = (
            f", when {self.runs_done} of the claims' runs were done" if self.runs_done else ", before any run was done"
        )
        again = f"; it replaced {len(self.earlier)} earlier" if self.earlier else ""
        seeds = ", ".join(map(str, self.seeds))
        return f"locked {self.written[:10]} as {self.hash}, seeds {seeds}{seen}{again}"


def lock_path(store: Store) -> Path:
    """Where the lock lies."""
    return store.folder / "claims_lock.json"


def write_lock(store: Store, plan: Plan, claims: Sequence[Claim], *, force: bool = False) -> Lock:
    """Fix claims, readings, margins, seeds and rules of a plan; returns the lock.

    Raises `UserError` where there is one already, unless `force`; its hash is then kept in the new one.
    """
    path, before = lock_path(store), read_lock(store)
    if before is not None and not force:
        raise UserError(
            "the claims are locked already",
            where=path,
            found=before.says,
            hint="what has changed since is labelled exploratory; --force locks anew and remembers the earlier hash",
        )
    content = fixed(claims, plan.seeds)
    done = sum(store.status(run_id).state == "done" for run_id in plan.runs)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    earlier = [*before.earlier, before.hash] if before else []
    values = {"format": FORMAT, "hash": canonical_hash(content, 16), "written": now, "runs_done": done}
    write_json(path, {**values, "earlier": earlier, "content": content})
    found = read_lock(store)
    assert found is not None
    return found


def read_lock(store: Store) -> Lock | None:
    """The store's lock, None where nothing is locked. Raises `UserError` where it does not agree with its own hash."""
    found = store.read(lock_path(store))
    if found is None:
        return None
    where = lock_path(store)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError("not a lock of `amlris claims lock`", where=where)
    content = found.get("content", {})
    if canonical_hash(content, 16) != found.get("hash"):
        raise UserError(
            "the lock was changed after it was written: it does not agree with its own hash",
            where=where,
            expected=found.get("hash"),
            found=canonical_hash(content, 16),
            hint="restore the file, or lock anew with `amlris claims lock --force`",
        )
    seeds = tuple(content["seeds"])
    return Lock(found["hash"], found["written"], seeds, found["runs_done"], tuple(found["earlier"]), content)


def fixed(claims: Sequence[Claim], seeds: Sequence[int]) -> dict[str, Any]:
    """Everything that is fixed, as a JSON value."""
    return {
        "claims": {claim.id: claim.model_dump(mode="json") for claim in claims},
        "margins": {claim.id: claim.margin for claim in claims if claim.margin is not None},
        "readings": {name: PRESETS[name] for name in READINGS},
        "seeds": list(seeds),
        "checkpoint": CHECKPOINT_RULE,
        "procedure": {
            "level": LEVEL,
            "looks": list(LOOKS),
            "holm": [HEADLINE],
            "degrees_of_freedom": ENOUGH,
            "affordable_seeds": AFFORDABLE,
        },
    }


def why_exploratory(lock: Lock | None, claim: Claim, plan: Plan, seeds: Sequence[int]) -> str | None:
    """Why a verdict is exploratory, None where everything it rests on was fixed beforehand. seeds: used by it."""
    if lock is None:
        return "nothing was fixed beforehand (amlris claims lock)"
    before = lock.content
    now = fixed([claim], lock.seeds)
    if claim.id not in before["claims"]:
        return "the claim was added after the lock"
    if before["claims"][claim.id] != now["claims"][claim.id]:
        changed = [
            key for key, value in now["claims"][claim.id].items() if before["claims"][claim.id].get(key) != value
        ]
        return f"the claim was changed after the lock ({', '.join(changed)})"
    if before["procedure"] != now["procedure"] or before["checkpoint"] != now["checkpoint"]:
        return "the procedure was changed after the lock"
    if before["readings"].get(plan.preset) != now["readings"].get(plan.preset):
        return f"the reading {plan.preset} was changed after the lock"
    if plan.overrides:
        return f"settings other than those of the lock: {', '.join(plan.overrides)}"
    beyond = [seed for seed in seeds if seed not in lock.seeds]
    if beyond:
        return f"seeds that were not fixed beforehand: {', '.join(map(str, beyond))}"
    return None
