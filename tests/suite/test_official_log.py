"""Reading logs of the official code: every known line, and what broken ones are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from official_logs import evaluation, results, step, training, validation

from amlrepro.errors import UserError
from amlrepro.suite.official_log import OfficialLog
from amlrepro.suite.official_reader import read_log


def read(tmp_path: Path, lines: list[str]) -> OfficialLog:
    path = tmp_path / "train.txt"
    path.write_text("\n".join(lines) + "\n")
    return read_log(path)


def test_a_line_of_the_reference_by_hand(tmp_path: Path) -> None:
    """The example's fields, copied from the format's description."""
    line = (
        "Epoch: [0]  [ 100/2642]  eta: 0:21:03  lr: 6.7593e-06  grad_norm: 2.9873 (4.1120)  total_loss: 0.4311 (0.5120)"
        "  time: 0.4970  data: 0.0102  max mem: 20911"
    )
    log = read(tmp_path, [line, "Epoch: [0] Total time: 0:21:55"])
    (window,) = log.windows
    assert (window.after, window.update, window.of, window.line) == (0, 100, 2642, 1)
    assert window.values == {
        "lr": (6.7593e-06, 6.7593e-06),
        "grad_norm": (2.9873, 4.112),
        "total_loss": (0.4311, 0.512),
    }
    assert (log.code, log.epochs, log.broken, log.lines) == ("caris", 1, [], 2)


def test_a_whole_training(tmp_path: Path) -> None:
    scores = {0: (40.125, 38.004), 2: (55.5, 52.25), 3: (54.0, 51.0)}
    log = read(tmp_path, training(4, scores))
    assert log.broken == []
    assert log.is_training
    assert (log.code, log.epochs, log.image_size) == ("caris", 4, 448)
    assert [s.after for s in log.scores] == [1, 3, 4]  # whole epochs trained
    assert [s.better for s in log.scores] == [True, True, False]
    first = log.scores[0].metrics
    assert first["miou"].value == 40.125  # the array has more digits than the 40.12 above it
    assert (first["oiou"].value, first["oiou"].text) == (38.004, "38.004")
    assert (first["pr50"].value, first["pr90"].value) == (79.1, 25.3)
    lines = (tmp_path / "train.txt").read_text().splitlines()
    for read_ in first.values():
        assert read_.text in lines[read_.line - 1]
    assert [(w.after, w.update) for w in log.windows if w.after == 3] == [(3, 0), (3, 1000), (3, 2000)]


def test_the_code_of_amlris_prints_two_losses_and_skips_batches(tmp_path: Path) -> None:
    lines = training(2, {1: (60.0, 58.0)}, losses=("org_loss", "sub_loss"))
    lines.insert(5, "🚫 [Epoch 0 | Iter 77] [NaN/Inf detected] Skipping this batch (main loss).")
    log = read(tmp_path, lines)
    assert (log.code, log.skipped, log.broken) == ("amlris", 1, [])
    assert set(log.windows[0].values) == {"lr", "grad_norm", "org_loss", "sub_loss"}


def test_a_stand_alone_evaluation(tmp_path: Path) -> None:
    log = read(tmp_path, evaluation(10758, 70.66, 66.63, "original"))
    assert not log.is_training
    assert (log.samples, log.resolution) == (10758, "original")
    (scores,) = log.scores
    assert scores.after is None
    assert scores.metrics["oiou"].value == 66.63


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    line = step(0, 0, 10, {"total_loss": 0.5}).replace("0.5000 (0.5100)", "nan (inf)")
    log = read(tmp_path, [line])
    assert log.broken == []
    assert str(log.windows[0].values["total_loss"]) == "(nan, inf)"


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("Mean IoU is 70.00", "Mean IoU is ", 9, "Mean IoU is NUMBER"),
        ("    precision@0.7 = 70.20", "    precision@0.7 = 70.x", 12, "precision@0.7 = NUMBER"),
        ("    overall IoU = 65.50", "    overall IoU = ", 14, "overall IoU = NUMBER"),
        ("Overall IoU [65.5]", "Overall IoU [65", 17, "Overall IoU [NUMBER]"),
        ("Overall IoU [65.5]", "Overall IoU [66.5]", 17, "65.50 as in line 14, rounded"),
        ("Better epoch: 0", "Better epoch: 1", 18, "the results of epoch 1 before it"),
        ("Better epoch: 0", "Better epoch: ", 18, "Better epoch: E"),
        ("Epoch: [0] Total time: 0:22:04", "Epoch: [0] Total time", 5, "Total time: H:MM:SS"),
        ("lr: 1.0000e-04  grad", "lr: 1.0000e-04Epoch: [0]  grad", 4, "Epoch: [E]  [ i/N]"),
        ("Test: Total time: 0:02:11", "Test: Total", 7, "Test: Total time: H:MM:SS"),
    ],
)
def test_a_broken_line_is_named_and_what_it_says_stays_unknown(
    tmp_path: Path, old: str, new: str, line: int, expected: str
) -> None:
    lines = training(1, {0: (70.0, 65.5)}, updates=900)
    assert old in "\n".join(lines)
    log = read(tmp_path, "\n".join(lines).replace(old, new).split("\n"))
    named = {broken.line: broken.expected for broken in log.broken}
    assert expected in named[line], log.broken
    known = log.scores[0].metrics if log.scores else {}
    if "Mean" in old:
        assert known["miou"].value == 70.0  # the array says it, too
        assert known["pr50"].value == 79.1  # and reading went on
    elif "precision" in old:
        assert "pr70" not in known
        assert known["oiou"].value == 65.5
    elif "rounded" in expected:
        assert "oiou" not in known  # two numbers for one thing: neither
        assert known["miou"].value == 70.0
    elif "Better" in old:
        assert not log.scores[0].better
    elif "Epoch: [0] Total" in old:
        assert log.scores[0].after is None


def test_numbers_whose_results_are_lost_are_of_no_other_evaluation(tmp_path: Path) -> None:
    lines = training(2, {0: (60.0, 58.0), 1: (62.0, 60.0)}, updates=900)
    second = [k for k, text in enumerate(lines) if text == "Final results:"][1]
    lines[second] = "Final res"
    log = read(tmp_path, lines)
    assert [(s.after, s.metrics["oiou"].value, s.metrics["miou"].value) for s in log.scores] == [(1, 58.0, 60.0)]
    texts = [broken.text for broken in log.broken]
    assert {"Mean IoU is 62.00", "overall IoU = 60.00", "Overall IoU [60]", "Better epoch: 1"} <= set(texts)


def test_a_log_that_ends_in_the_middle(tmp_path: Path) -> None:
    lines = [*training(1, {})[:-1], *validation(0, 70.0, 65.5)[:5]]
    log = read(tmp_path, [*lines, "    precision@0.5 = 79"])
    assert [read_.text for read_ in log.scores[0].metrics.values()] == ["70.00", "79"]
    assert [broken.expected for broken in log.broken] == ["precision@0.7 = NUMBER"]
    torn = read(tmp_path, [*training(1, {})[:-1], step(1, 0, 2642, {"total_loss": 0.2})[:60]])
    assert (torn.epochs, len(torn.broken)) == (1, 1)


def test_a_training_that_went_on_counts_what_came_last(tmp_path: Path) -> None:
    first = training(3, {0: (40.0, 38.0), 2: (50.0, 48.0)}, updates=900)[:-1]
    again = training(4, {2: (51.0, 49.0), 3: (52.0, 50.0)}, updates=900)
    begin = next(k for k, text in enumerate(again) if text.startswith("Epoch: [2]"))
    log = read(tmp_path, [*first, *again[begin:]])
    assert log.begun_again == [len(first) + 1]
    assert [(s.after, s.metrics["oiou"].value) for s in log.scores] == [(1, 38.0), (3, 49.0), (4, 50.0)]
    assert log.epochs == 4


def test_what_is_no_log_of_one_run_is_refused(tmp_path: Path) -> None:
    whole = training(2, {1: (60.0, 58.0)})
    with pytest.raises(UserError, match=r"two trainings in one file\n.*train.txt:\d+"):
        read(tmp_path, whole * 2)
    both = [step(0, 0, 10, {"total_loss": 1.0}), step(0, 5, 10, {"org_loss": 1.0, "sub_loss": 1.0})]
    with pytest.raises(UserError, match="two codes"):
        read(tmp_path, both)
    with pytest.raises(UserError, match="none of a known form"):
        read(tmp_path, ["hello", "world"])
    with pytest.raises(UserError, match=r"train.txt:1"):
        read(tmp_path, ["Epoch: [zero]"])
    with pytest.raises(UserError, match="no such log"):
        read_log(tmp_path / "absent.txt")


def test_arguments_as_a_shell_or_the_code_shows_them(tmp_path: Path) -> None:
    command = (
        "+ python -m torch.distributed.launch train.py --model caris --dataset refcoco+ --batch-size 8 --mix --lr=1e-4"
    )
    log = read(tmp_path, [command, *results(70.0, 65.0)])
    assert {name: value for name, (value, _) in log.arguments.items()} == {
        "model": "caris",
        "dataset": "refcoco+",
        "batch_size": "8",
        "mix": "True",
        "lr": "1e-4",
    }
    shown = "Namespace(batch_size=8, dataset='refcocog', mix=False, splitBy='umd', resume='')"
    log = read(tmp_path, ["first", shown, *results(70.0, 65.0)])
    assert (log.arguments["dataset"], log.arguments["splitBy"]) == (("refcocog", 2), ("umd", 2))
