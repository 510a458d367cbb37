"""One SLURM cluster of two nodes for all tests of this folder, where SLURM is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cluster.sh")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd")
PREFIX = "amlris-slurm-"
UP_SECONDS, DOWN_SECONDS = 300, 180  # on a machine that is busy otherwise


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """Folder of a running cluster; `SLURM_CONF` names it meanwhile."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("starting a SLURM cluster takes root")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"SLURM is not installed: no {', '.join(missing)}")
    with _ports() as port:
        yield from _running({**os.environ, "PATH": path, "AMLRIS_SLURM_PORT": str(port)})


def _running(environment: dict[str, str]) -> Iterator[Path]:
    _end_forgotten(environment)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / "owner").write_text(str(os.getpid()))
    previous = os.environ.get("SLURM_CONF")
    try:
        up = subprocess.run([SCRIPT, "up", folder], env=environment, capture_output=True, text=True, timeout=UP_SECONDS)
        if up.returncode:
            pytest.fail(f"the cluster did not start: {up.stderr[-2000:]}")
        os.environ["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        yield folder
    finally:
        os.environ.pop("SLURM_CONF", None)
        if previous is not None:
            os.environ["SLURM_CONF"] = previous
        _end(folder, environment)


@contextlib.contextmanager
def _ports() -> Iterator[int]:
    """The first of five free ports in a row, kept for this session: others on this machine may start a cluster at the
    same moment. What keeps them is a socket in the abstract namespace, which goes with this process."""
    for first in range(17300, 19300, 10):
        with contextlib.ExitStack() as kept:
            try:
                claim = kept.enter_context(socket.socket(socket.AF_UNIX))
                claim.bind(f"\0{PREFIX}{first}")
                for port in range(first, first + 5):
                    socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            yield first
            return
    raise OSError("no free ports")


def _end_forgotten(environment: dict[str, str]) -> None:
    """End clusters of test sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/"):
        owner = folder / "owner"
        if owner.exists() and not Path("/proc", owner.read_text()).exists():
            _end(folder, environment)


def _end(folder: Path, environment: dict[str, str]) -> None:
    subprocess.run([SCRIPT, "down", folder], env=environment, capture_output=True, timeout=DOWN_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
