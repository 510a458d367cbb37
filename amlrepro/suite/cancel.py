"""Requests to stop a run: a file in its folder that its worker and every launcher obey, on any host. Torch-free."""

from __future__ import annotations

import getpass
import socket
import time
from pathlib import Path

from amlrepro.files import write_json
from amlrepro.rundir import RunDir

REASON = "cancelled"


def cancel_path(run: RunDir) -> Path:
    """The file that asks for the end of a run."""
    return run.path / "cancel"


def request_cancel(run: RunDir) -> None:
    """Ask whoever works on the run to save and end, and launchers not to start it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without an account
        user = "unknown"
    write_json(cancel_path(run), {"by": user, "on": socket.gethostname(), "when": time.time()})


def cancel_requested(run: RunDir) -> bool:
    """Whether somebody asked for the end of the run."""
    return cancel_path(run).exists()


def clear_cancel(run: RunDir) -> bool:
    """Take the request back; whether there was one."""
    try:
        cancel_path(run).unlink()
    except FileNotFoundError:
        return False
    return True
