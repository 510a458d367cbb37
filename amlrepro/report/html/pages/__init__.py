"""Pages beside the tables: claims, audit, readings, harness, budget. Each turns what `verdicts` found into a `Page`."""

from amlrepro.report.html.pages.all import pages_beside

__all__ = ["pages_beside"]
