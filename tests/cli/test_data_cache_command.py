"""`amlris data cache` tells what is kept and removes it, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from amlrepro.cli.data import app
from amlrepro.data.disk_cache import DiskCache


def test_shown_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMLRIS_CACHE", str(tmp_path))
    other = tmp_path / "amlris-inputs" / "notes.txt"
    cache = DiskCache(tmp_path / "amlris-inputs", "stretch-8-x", 1 << 30, reserve=0)
    for number in range(3):
        cache.get(bytes([number] * 16), lambda: np.zeros(500, dtype=np.uint8))
    other.write_text("mine")
    shown = json.loads(CliRunner().invoke(app, ["cache", "--json"]).stdout)
    assert shown["kinds"]["stretch-8-x"]["arrays"] == 3
    assert shown["kinds"]["stretch-8-x"]["bytes"] == 3 * (500 + 40)
    assert "3 arrays" in CliRunner().invoke(app, ["cache"]).stdout
    assert CliRunner().invoke(app, ["cache", "--clear"]).exit_code == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]
    assert "nothing is kept" in CliRunner().invoke(app, ["cache"]).stdout
