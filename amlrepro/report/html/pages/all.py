"""Which pages a report has."""

from __future__ import annotations

from amlrepro.report.html.content import Page
from amlrepro.report.html.pages.audit import audit_page
from amlrepro.report.html.pages.budget import budget_page
from amlrepro.report.html.pages.claims import claims_page
from amlrepro.report.html.pages.harness import harness_page
from amlrepro.report.html.pages.readings import readings_page
from amlrepro.suite.store import Store
from amlrepro.verdicts.audit import read_audit
from amlrepro.verdicts.cells import Judgement
from amlrepro.verdicts.claims import load_claims
from amlrepro.verdicts.readings import read_readings


def pages_beside(store: Store, judgement: Judgement, *, whole: bool) -> list[Page]:
    """The claims that the report's experiments are about; of a report on everything all other pages, too. None on
    experiments of one's own, about which the paper claims nothing."""
    claims = judgement.claims
    whole = whole and bool(load_claims())
    out = [claims_page(claims, judgement.laboratories)] if claims.verdicts else []
    if whole:
        out += [
            audit_page(read_audit(store)),
            readings_page(read_readings(store)),
            harness_page(claims.harness),
        ]
    if whole and judgement.budgets is not None:
        out.append(budget_page(judgement.budgets()))
    return out
