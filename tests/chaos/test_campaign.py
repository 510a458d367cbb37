"""A suite whose launcher and workers are killed at random moments ends with the records of one left in peace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("campaign.py")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes to kill in /proc")
def test_five_kills(tmp_path: Path) -> None:
    arguments = ["--kills", "5", "--seed", "1", "--mean-seconds", "3", "--minutes", "30"]
    arguments += ["--experiments", "table5", "--folder", str(tmp_path)]
    done = subprocess.run([sys.executable, str(CAMPAIGN), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills" in done.stdout
    assert "the same 3 records" in done.stdout
