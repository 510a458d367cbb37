"""Measurements of a run that are no evaluation; `run_probe` is the one way in."""

from amlrepro.engine.probes.run import run_probe

__all__ = ["run_probe"]
