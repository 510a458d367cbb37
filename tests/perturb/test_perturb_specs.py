"""The table of perturbations: the paper's parameters, five growing levels, and what is refused."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from amlrepro.errors import UserError
from amlrepro.perturb.specs import PERTURBATIONS, SEVEN, check_perturbation, perturbation_spec
from amlrepro.suite.printed import load_printed

# Appendix: haze 50 % opacity; brightness x 1.5 and x 0.45; contrast x 1.8; box 20 %; jitter in [0.6, 1.4]
PRINTED = {
    "haze": {"opacity": 0.5},
    "highlight": {"factor": 1.5},
    "lowlight": {"factor": 0.45},
    "contrast": {"factor": 1.8},
    "occlusion_box": {"side": 0.2},
    "color_jitter": {"spread": 0.4},
}


def test_the_papers_parameters() -> None:
    assert {name: dict(PERTURBATIONS[name].parameters()) for name in PRINTED} == PRINTED
    assert PERTURBATIONS["patch_masking"].parameters()["count"] == 3
    assert [PERTURBATIONS[f"occlude_{n}"].parameters() for n in (30, 50)] == [{"share": 0.3}, {"share": 0.5}]


def test_the_seven_are_table15s() -> None:
    rows = [row.attrs for row in load_printed("table15").rows if not row.derived]
    assert {row["perturbation"] for row in rows} == set(SEVEN)
    assert list(PERTURBATIONS)[:7] == list(SEVEN)
    assert {name for name in PERTURBATIONS if PERTURBATIONS[name].stage == "input"} == {"occlude_30", "occlude_50"}


@pytest.mark.parametrize("name", SEVEN)
def test_five_levels_and_the_third_is_the_papers(name: str) -> None:
    spec = perturbation_spec(name)
    assert list(spec.severities) == [None, 1, 2, 3, 4, 5]
    assert spec.parameters() == spec.parameters(3)
    for key in spec.parameters():
        values = [abs(spec.parameters(level)[key] - (1 if key == "factor" else 0)) for level in range(1, 6)]
        assert key == "count" or all(weak < strong for weak, strong in itertools.pairwise(values))


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [
        ("hase", None, "did you mean 'haze'"),
        ("occlusion", 1, "occlu"),
        ("haze", 6, "one of 1, 2, 3, 4, 5"),
        ("occlude_30", 2, "one strength only"),
        (None, 2, "a severity needs a perturbation"),
    ],
)
def test_wrong_names_and_severities(name: str | None, severity: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_perturbation(name, severity)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; import amlrepro.perturb.specs; print([m for m in ('numpy', 'torch', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
