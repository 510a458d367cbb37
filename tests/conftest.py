"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["AMLRIS_CACHE"] = "off"  # tests leave the user's cache of inputs alone; those of it name a folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with parity fixtures and miniature real data; tests that need it skip where it is absent."""
    root = Path(os.environ.get("AMLRIS_SHARED", Path(__file__).parents[2] / "shared"))
    if not root.is_dir():
        pytest.skip(f"parity fixtures and real data are not at {root} (set AMLRIS_SHARED)")
    return root.resolve()
