"""Kill a small suite at random moments until the kills are used up, let it end, and compare with one left in peace.

python tests/chaos/campaign.py --kills 100 --seed 0 --minutes 60

Every kill is a SIGKILL at a random moment, drawn with the seed: to the launcher, to a worker, to the process that forks
workers, or to all of them. A launcher that was killed is started again at once, while its workers may still be at work.
At the end the records of both stores have to be the same byte for byte, and no temporary file may be left.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

KINDS = ("launcher", "worker", "standby", "all")
WEIGHTS = (4, 8, 2, 1)
QUICK = ("exec.checkpoint_seconds=0.2", "exec.device=cpu", "exec.deterministic=true")
LIFE_SECONDS = 3.0  # a worker's, about
QUIET_SECONDS = 120.0  # after which a process that should have gone is reported


class Suite:
    """`amlris run` of some experiments on a store of its own."""

    def __init__(self, store: Path, arguments: list[str]) -> None:
        self.store = store
        self._command = [sys.executable, "-m", "amlrepro.cli.main", "run", *arguments, "--profile", "smoke"]
        self._command += ["--store", str(store), "--retries", "1000000"]
        self._command += [part for setting in QUICK for part in ("--set", setting)]
        self.launcher: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Start the launcher."""
        self.starts += 1
        self.store.mkdir(parents=True, exist_ok=True)
        with (self.store.parent / f"{self.store.name}.log").open("ab") as log:
            self.launcher = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def ended(self) -> int | None:
        """Exit code of the launcher, None while it runs."""
        return None if self.launcher is None else self.launcher.poll()

    def processes(self) -> dict[str, list[int]]:
        """The living processes of this suite by kind: those whose parents lead to a launcher of this store, and those
        that were left behind."""
        parents: dict[int, int] = {}
        commands: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                mark = f"{MARK}={self.store}".encode()
                if fields[0] not in "ZX" and mark in (folder / "environ").read_bytes().split(b"\0"):
                    parents[int(folder.name)] = int(fields[1])
                    commands[int(folder.name)] = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
        found: dict[str, list[int]] = {"launcher": [], "standby": [], "worker": [], "other": []}
        for pid, command in commands.items():
            parent = commands.get(parents[pid], "")
            if "amlrepro.launch.standby" in command:
                found["worker" if "amlrepro.launch.standby" in parent or parents[pid] == 1 else "standby"].append(pid)
            elif "amlrepro.launch.worker" in command:
                found["worker"].append(pid)
            else:
                found["launcher" if "amlrepro.cli.main" in command else "other"].append(pid)
        return found


MARK = "AMLRIS_CHAOS_STORE"


def main() -> int:
    """Run the campaign; 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="no more kills after this time")
    parser.add_argument("--mean-seconds", type=float, default=6.0, help="between two kills, on average")
    parser.add_argument("--experiments", nargs="+", default=["table1"])
    parser.add_argument("--folder", type=Path, help="where the two stores are kept (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amlris-chaos-") as scratch:
        return campaign(options, options.folder or Path(scratch))


def campaign(options: argparse.Namespace, folder: Path) -> int:
    """Both suites, then the comparison."""
    os.environ["OMP_NUM_THREADS"] = "1"
    calm, killed = Suite(folder / "calm", options.experiments), Suite(folder / "killed", options.experiments)
    begin = time.monotonic()
    code = _finish(calm)
    if code != 0:
        print(f"the undisturbed suite ended with {code}; see {folder / 'calm.log'}")
        return 1
    print(f"undisturbed: {time.monotonic() - begin:.0f} s", flush=True)
    kills, rounds = _disturb(killed, calm, options)
    code = _finish(killed)
    complaints = [] if code == 0 else [f"the last launcher ended with {code}; see {folder / 'killed.log'}"]
    complaints += _survivors(killed) + compare(calm.store / "smoke", killed.store / "smoke") + leftovers(killed.store)
    spent = ", ".join(f"{number} {kind}" for kind, number in sorted(kills.items()))
    print(
        f"{sum(kills.values())} kills ({spent}) in {time.monotonic() - begin:.0f} s, {killed.starts} starts of the "
        f"launcher, {rounds} times the suite, seed {options.seed}"
    )
    print("\n".join(complaints) or f"the same {len(records(killed.store / 'smoke'))} records; nothing is left behind")
    return 1 if complaints else 0


def _disturb(suite: Suite, calm: Suite, options: argparse.Namespace) -> tuple[Counter[str], int]:
    """Kill until the kills or the time are used up. A suite that ends before is compared, and begun anew without its
    runs: how often comes back, too."""
    draw, kills, rounds = random.Random(options.seed), Counter[str](), 1
    deadline = time.monotonic() + 60 * options.minutes
    _start(suite)
    while sum(kills.values()) < options.kills and time.monotonic() < deadline:
        kind = draw.choices(KINDS, WEIGHTS)[0]
        time.sleep(draw.expovariate(1 / options.mean_seconds))
        victims = _victims(suite, kind, draw)
        if suite.ended() == 0:
            problems = _survivors(suite) + compare(calm.store / "smoke", suite.store / "smoke") + leftovers(suite.store)
            if problems:
                raise SystemExit("\n".join(problems))
            shutil.rmtree(suite.store / "smoke" / "runs")
            rounds += 1
        if suite.ended() is not None:
            _start(suite)
            continue
        for pid in victims:
            _kill(pid)
        kills[kind] += bool(victims)
    return kills, rounds


def _victims(suite: Suite, kind: str, draw: random.Random) -> list[int]:
    """Whom to kill: one of that kind, at a random moment after there is one; nobody when the suite ends before."""
    while suite.ended() is None:
        for moment in (0.0, draw.uniform(0.0, LIFE_SECONDS)):
            time.sleep(moment)
            alive = suite.processes()
            chosen = [pid for pids in alive.values() for pid in pids] if kind == "all" else alive[kind]
            if not chosen:
                break
        else:
            return chosen if kind == "all" else [draw.choice(chosen)]
        time.sleep(0.05)
    return []


def _start(suite: Suite) -> None:
    os.environ[MARK] = str(suite.store)
    suite.start()


def _finish(suite: Suite) -> int:
    """Run to the end; the exit code."""
    if suite.ended() is None and suite.launcher is not None:
        code = suite.launcher.wait()
        if code == 0:
            return 0
    _start(suite)
    assert suite.launcher is not None
    return suite.launcher.wait()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def records(folder: Path) -> dict[str, str]:
    """SHA-256 of what evaluations and probes measured, by path in the store."""
    found = {}
    for path in sorted([*folder.glob("runs/*/evals/*.parquet"), *folder.glob("runs/*/probes/*.parquet")]):
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def compare(calm: Path, killed: Path) -> list[str]:
    """What differs between the records of two stores."""
    expected, found = records(calm), records(killed)
    complaints = [f"missing: {name}" for name in expected.keys() - found.keys()]
    complaints += [f"too many: {name}" for name in found.keys() - expected.keys()]
    complaints += [f"different: {name}" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    return complaints or ([] if expected else ["there are no records to compare"])


def leftovers(store: Path) -> list[str]:
    """Temporary files and leases that should be gone."""
    names = [path for path in store.rglob("*") if path.name.startswith(".tmp") or path.name.endswith(".tmp")]
    names += [*store.rglob("lease.json"), *store.rglob("replay"), *store.rglob("*.launcher")]
    return [f"left behind: {path}" for path in names]


def _survivors(suite: Suite) -> list[str]:
    """Processes that outlive their launcher for too long."""
    deadline = time.monotonic() + QUIET_SECONDS
    while any(suite.processes().values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"still running: {kind} {pid}" for kind, pids in suite.processes().items() for pid in pids]


if __name__ == "__main__":
    sys.exit(main())
