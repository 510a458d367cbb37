"""Logs in the line formats of the official CARIS and AMLRIS code, with numbers of our choice."""

from __future__ import annotations

from collections.abc import Sequence


def step(epoch: int, update: int, of: int, losses: dict[str, float], lr: float = 1e-4) -> str:
    """A line about updates: every hundredth, medians and averages with four decimals."""
    width = len(str(of))
    meters = "  ".join(f"{name}: {value:.4f} ({value + 0.01:.4f})" for name, value in losses.items())
    return (
        f"Epoch: [{epoch}]  [{update:{width}d}/{of}]  eta: 0:12:03  lr: {lr:.4e}  grad_norm: 0.7012 (0.8034)  "
        f"{meters}  time: 0.5012  data: 0.0031  max mem: 21034"
    )


def results(miou: float, oiou: float, precision: Sequence[float] = (79.1, 70.2, 25.3)) -> list[str]:
    """What an evaluation prints at its end."""
    shares = [f"    precision@{x} = {value:.2f}" for x, value in zip((0.5, 0.7, 0.9), precision, strict=True)]
    return ["Final results:", f"Mean IoU is {miou:.2f}", "", *shares, f"    overall IoU = {oiou:.2f}", ""]


def validation(epoch: int, miou: float, oiou: float, better: bool = False) -> list[str]:
    """The evaluation after an epoch, with progress, and the numbers once more as arrays."""
    out = [
        "Test:  [   0/1345]  eta: 0:20:10    time: 0.9001  data: 0.5010  max mem: 21034",
        "Test: Total time: 0:02:11",
        *results(miou, oiou),
        f"Average object IoU [{miou:.6g}]",
        f"Overall IoU [{oiou:.6g}]",
    ]
    return [*out, f"Better epoch: {epoch}", ""] if better else out


def training(
    epochs: int, scores: dict[int, tuple[float, float]], updates: int = 2642, losses: Sequence[str] = ("total_loss",)
) -> list[str]:
    """A whole training. scores: mIoU and oIoU by epoch, counted from 0."""
    out = ["Image size: 448", "local rank 0 / global rank 0 successfully built train dataset.", "caris"]
    best = -1.0
    for epoch in range(epochs):
        for update in range(0, updates, 1000):
            out.append(step(epoch, update, updates, dict.fromkeys(losses, 0.5 / (epoch + 1))))
        out.append(f"Epoch: [{epoch}] Total time: 0:22:04")
        if epoch in scores:
            out += validation(epoch, *scores[epoch], better=scores[epoch][1] > best)
            best = max(best, scores[epoch][1])
    return [*out, "Training time 18:23:45"]


def evaluation(samples: int, miou: float, oiou: float, mode: str = "resized") -> list[str]:
    """A stand-alone evaluation."""
    progress = "Test:  [   0/1345]  eta: 0:20:10    time: 0.9001  data: 0.5010  max mem: 3034"
    return [
        "Image size: 448",
        f"Eval mode: {mode}",
        str(samples),
        "caris",
        progress,
        "Test: Total time: 0:02:11",
        *results(miou, oiou),
    ]
