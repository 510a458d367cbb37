"""The 126 checks: verdicts against an independent audit of the same paper, numbers against a calculation by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from amlrepro.suite.experiment import experiment_names
from amlrepro.suite.published import published_value
from amlrepro.verdicts.audit import run_audit
from amlrepro.verdicts.audit.checks import CHECKS, show
from amlrepro.verdicts.audit.paper import load_paper
from amlrepro.verdicts.audit.public import released_share
from amlrepro.verdicts.audit.similarity import deviation_for, largest_s, simulated_s

REPORT = run_audit()


def test_every_check_has_a_function_and_every_function_a_check() -> None:
    assert len(REPORT.findings) == 126
    assert set(CHECKS) == set(load_paper().entries)


def test_verdicts_are_those_of_the_shared_audit(shared: Path) -> None:
    """An audit of the same claims, worked out separately from the same printed numbers."""
    theirs = {e["id"]: e["verdict"] for e in yaml.safe_load((shared / "paper" / "inconsistencies.yaml").read_text())}
    assert {finding.id: finding.verdict for finding in REPORT.findings} == theirs
    assert dict(REPORT.counts) == {"contradictory": 46, "off_by": 15, "unclear": 13, "consistent": 52}


@pytest.mark.parametrize(
    ("check", "name", "value"),
    [
        ("T1-AVG2", "average", (74.46 + 76.89 + 70.94 + 65.81 + 70.97 + 59.23 + 63.34 + 63.62) / 8),
        ("T1-AVG5", "average", 71.6375),
        ("T3-B", "refcoco+.oiou", 6.53),
        ("T1-D4", "oiou refcocog.val", 68.84 - 67.44),
        ("F1D-A", "gain", 3.4957),  # means of the seven rows of Table 15
        ("T4-D", "table4 caris_aml", (75.45 + 67.37 + 65.67) / 3),
        ("T5-JL", "low 1024", math.exp(0.29545**2 * 1024 / 8)),
        ("T5-JL", "high 2048", math.exp(0.20885**2 * 2048 / 8)),
        ("T7-A", "over_learnable", 24.85 - 16.92),
        ("T9-A", "memory", 100 * (12860 / 12206 - 1)),
        ("T9-B", "caris_time", 100 * (35.35 / 30.16 - 1)),
        ("T10-B", "30", 30 * 30.16 / 35.35),
        ("T12-A", "relative", 100 * (0.5252 / 0.4192 - 1)),
        ("T13-B", "relative", 100 * (0.0043 / 0.0097 - 1)),
        ("T14-F", "last", 0.0342 - 0.0271),
        ("T15-E", "smallest", 0.20),
        ("T16-B", "average", (64.15 + 58.95 + 72.08 + 63.98 + 34.77) / 5),
        ("EQ14", "1/4", 1 - 0.75**16),
        ("F6-A", "scores", 313_600),
        ("A1-B", "sum", 141_997),
        ("A1-E", "single", 166_008),
        ("F2-C", "2048", math.sqrt(8 * math.log(2 * (196 * 20) ** 2 / 0.05) / 2048)),
        ("F2-B", "factor", 4.0),
        ("X-CARIS", "table1_miou refcoco.testA", 79.53 - 79.71),
        ("X-RELA", "samples", 16 / 48),
    ],
)
def test_recomputed_numbers_by_hand(check: str, name: str, value: float) -> None:
    assert REPORT.pick(check).numbers[name] == pytest.approx(value, abs=5e-4)


def test_similarity_as_printed() -> None:
    """e / (e + (N - 1) / e) and N(0, 1 / D_a) logits; the simulated means are those of an earlier simulation with other
    draws (0.340, 0.206, 0.129, 0.052)."""
    assert [round(largest_s(n), 2) for n in (2, 3, 5, 20)] == [0.88, 0.79, 0.65, 0.28]
    means = [float(simulated_s(n, 1 / math.sqrt(2048)).mean()) for n in (3, 5, 8, 20)]
    assert means == pytest.approx([0.340, 0.206, 0.129, 0.052], abs=0.001)
    assert deviation_for(20, 0.7542) == pytest.approx(5.3, abs=0.1)
    assert deviation_for(5, 0.7542) == pytest.approx(3.1, abs=0.1)


def test_released_share_is_what_the_released_rule_blanks() -> None:
    """The formula against the rule itself, on maps at pixel resolution, where whole blocks are weak and no others."""
    import torch

    from amlrepro.aml.afm import released_dropout
    from amlrepro.sections import AFMConfig

    config = AFMConfig(tau=0.4, rho=0.25, block=4, dropout="released")  # 16 pixels a block, 5 x 5 blocks: fewer pairs
    generator = torch.Generator().manual_seed(0)
    for weak in (1, 3):
        blanked = []
        for _ in range(400):
            s = torch.ones(25)
            s[torch.randperm(25, generator=generator)[:weak]] = 0.1
            pixels = s.reshape(1, 5, 5).repeat_interleave(4, 1).repeat_interleave(4, 2)
            blanked.append(released_dropout(pixels, (20, 20), config, [generator]).float().mean().item())
        # pixel numbers 0 to 15 name blocks 0 to 15, none is cut at the last block: blocks 16 to 24 are never unrelated
        pairs, drawn = 16 * weak, 4 * weak
        spared = math.comb(pairs - weak, drawn) / math.comb(pairs, drawn)
        expected = weak / 25 + (1 - weak / 25) * 16 * (1 - spared) / 25
        assert sum(blanked) / 400 == pytest.approx(expected, abs=0.01)
    # 196 blocks of 1,024 pixels: 194 others with probability 1/4, the block itself, and the last one
    assert released_share(1, Fraction(1, 4), 196, 1024) == pytest.approx((194 / 4 + 2) / 196, abs=0.002)
    assert released_share(20, Fraction(1, 4), 196, 1024) > 0.99


def test_findings_by_reading_say_so() -> None:
    reading = {finding.id for finding in REPORT.findings if finding.by == "reading"}
    assert reading == {"T7-B", "T14-G", "G4-CUR", "ABS-A", "ABS-B", "NAME"}
    assert all("not by calculation" in str(REPORT.pick(name).note) for name in reading)
    assert REPORT.pick("T3-B").note is None


def test_published_caris_is_the_same_in_both_files() -> None:
    splits = [("refcoco", s) for s in ("val", "testA", "testB")] + [("refcoco+", s) for s in ("val", "testA", "testB")]
    splits += [("refcocog", s) for s in ("val", "test")]
    for metric in ("oiou", "miou"):
        ours = load_paper().publics("X-CARIS", metric)
        for (dataset, split), number in zip(splits, ours, strict=True):
            assert published_value("caris", dataset, split, metric) == number


def test_experiments_are_known_and_all_have_checks() -> None:
    named = {name for finding in REPORT.findings for name in finding.experiments}
    assert named <= set(experiment_names())
    assert {f"table{n}" for n in range(1, 19)} <= named


@pytest.mark.parametrize(
    ("value", "decimals", "text"), [(0.125, 2, "0.13"), (-0.004, 2, "0.00"), (1552, 0, "1,552"), (2.5, 0, "3")]
)
def test_numbers_for_people(value: float, decimals: int, text: str) -> None:
    assert show(value, decimals) == text
