"""The paper against itself and against its released code, by arithmetic on its printed numbers. Torch-free.

`run_audit` calculates all checks; `read_audit` adds what `amlris audit` measured and kept in a store.
"""

from amlrepro.verdicts.audit.report import AuditReport, Finding, MatterFound, run_audit
from amlrepro.verdicts.audit.stored import read_audit

__all__ = ["AuditReport", "Finding", "MatterFound", "read_audit", "run_audit"]
