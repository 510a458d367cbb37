"""One SLURM cluster of two nodes for all tests of this folder; they run when asked for, where SLURM is installed."""

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
ASKED = "AMLRIS_TEST_SLURM"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """Folder of a running cluster; `SLURM_CONF` names it meanwhile."""
    if os.environ.get(ASKED) != "1":
        pytest.skip(f"starts daemons and takes minutes: set {ASKED}=1 to run it")
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("starting a SLURM cluster takes root")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.skip(f"SLURM is not installed: no {', '.join(missing)}")
    environment = {**os.environ, "PATH": path, "AMLRIS_SLURM_PORT": str(_free_ports())}
    _end_forgotten(environment)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / "owner").write_text(str(os.getpid()))
    previous = os.environ.get("SLURM_CONF")
    try:
        up = subprocess.run([SCRIPT, "up", folder], env=environment, capture_output=True, text=True, timeout=180)
        if up.returncode:
            pytest.fail(f"the cluster did not start: {up.stderr[-2000:]}")
        os.environ["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        yield folder
    finally:
        subprocess.run([SCRIPT, "down", folder], env=environment, capture_output=True, timeout=60)
        os.environ.pop("SLURM_CONF", None)
        if previous is not None:
            os.environ["SLURM_CONF"] = previous
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports() -> int:
    """The first of five free ports in a row: another session on this machine may have a cluster, too."""
    for first in range(17300, 19300, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + 5):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise OSError("no free ports")


def _end_forgotten(environment: dict[str, str]) -> None:
    """End clusters of test sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/"):
        owner = folder / "owner"
        if owner.exists() and not Path("/proc", owner.read_text()).exists():
            subprocess.run([SCRIPT, "down", folder], env=environment, capture_output=True, timeout=60)
            shutil.rmtree(folder, ignore_errors=True)
