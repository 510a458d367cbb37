"""`amlris evaluate`: a checkpoint on a split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amlrepro.cli.options import DEFAULT_STORE, DataRootOption, ImageRootOption, JsonOption, StoreOption, wide_console
from amlrepro.config import FILE, EvalConfig
from amlrepro.data.specs import dataset_spec, is_multi_target, parse_dataset_split
from amlrepro.errors import UserError, unknown_name
from amlrepro.metrics.compute import GENERALIZED_METRICS, metric
from amlrepro.models.registry import get_spec
from amlrepro.perturb.specs import PERTURBATIONS, check_perturbation
from amlrepro.schema import parse_strict
from amlrepro.suite.settings import find_data_root, load_settings, settings_path
from amlrepro.suite.store import Store

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = ("oiou", "miou", "pr50", "pr70", "pr90")  # with several targets or none: all of GENERALIZED_METRICS
WHOLE = ("oiou", "miou", "ciou", "giou")  # what is said of unseen images
RESOLUTIONS = ("resized", "original")
PRECISIONS = ("float32", "bf16")
LINE_SECONDS = 15.0


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="An official checkpoint as it is, or one of ours.")],
    data: Annotated[str, typer.Option("--data", help="DATASET:SPLIT, as refcoco:val or refcocog(google):val.")],
    model: Annotated[str, typer.Option("--model", help="Which model it is of.")] = "caris",
    data_root: DataRootOption = None,
    image_root: ImageRootOption = None,
    resolution: Annotated[
        str | None,
        typer.Option(help="Score at the network's input size (resized) or at each picture's own (original)."),
    ] = None,
    perturbation: Annotated[
        str | None, typer.Option(help=f"Perturb the pictures: {', '.join(PERTURBATIONS)}.", show_default="none")
    ] = None,
    severity: Annotated[
        int | None, typer.Option(help="Its strength, 1 to 5.", show_default="the paper's, which is 3")
    ] = None,
    vocab: Annotated[Path | None, typer.Option(help="vocab.txt of BERT or merges.txt of CLIP, or its folder.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the records instead of the store.")] = None,
    store: StoreOption = DEFAULT_STORE,
    batch: Annotated[int, typer.Option(min=1, help="Least number of sentences at a time.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, as the official code; or bf16: faster on a GPU, kept as another evaluation.")
    ] = "float32",
    as_json: JsonOption = False,
) -> None:
    """Score a checkpoint on a split: oIoU, mIoU, P@X; on gRefCOCO cIoU, gIoU, N-acc, T-acc, Pr@X. Keeps one record a
    sample."""
    spec = get_spec(model)
    dataset, split_by, split = parse_dataset_split(data)
    chosen = spec.protocol.scoring if resolution is None else resolution
    if chosen not in RESOLUTIONS:
        raise unknown_name("resolution", chosen, RESOLUTIONS, "--resolution")
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS, "--precision")
    check_perturbation(perturbation, severity)
    root = _data_root(data_root)
    if not checkpoint.is_file():
        raise UserError("no such checkpoint", where=checkpoint)
    if vocab is not None and not vocab.exists():
        raise UserError("no such vocabulary", where="--vocab", found=vocab)

    from rich.console import Console

    from amlrepro.engine.evaluate import write_evaluation
    from amlrepro.engine.numerics import choose_device
    from amlrepro.engine.subject import evaluate_subject, open_subject
    from amlrepro.files import read_json

    target = choose_device(device)
    images = image_root or (load_settings().image_root if data_root is None else None)
    subject = open_subject(checkpoint, model, dataset, split_by, vocab)
    execution = {"data_root": str(root), "image_root": str(images) if images else None, "eval_batch": batch}
    values = {
        "dataset": dataset,
        "split": split,
        "split_by": split_by,
        "resolution": chosen,
        "checkpoint": FILE,
        "perturbation": perturbation,
        "severity": severity,
        "precision": precision,
    }
    asked = parse_strict(EvalConfig, values, "amlris evaluate")
    with Progress(Console(stderr=True)) as progress:
        records, evaluation, config = evaluate_subject(subject, asked, execution, target, progress.update)
    folder = out if out else Store(store, "paper").subject(subject.sha256[:16]).evals
    path = write_evaluation(folder, records, evaluation, subject.described(), config, subject.seen(config, records))
    meta = read_json(path)
    if as_json:
        typer.echo(json.dumps({**meta, "records": str(path.with_suffix(".parquet"))}, indent=1))
        return
    _print(wide_console(), meta, path)


class Progress:
    """Samples done so far: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Any = None
        self._line: Callable[[int, int], None] | None = None

    def __enter__(self) -> Progress:
        import time

        from rich.progress import Progress as Bar

        if self._console.is_terminal:
            self._bar = Bar(console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("evaluating", total=None)
            return self
        last = time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_SECONDS:
                last = time.monotonic()
                self._console.print(f"evaluating: {done} of {total} samples", highlight=False)

        self._line = line
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, total: int) -> None:
        """`done` of `total` samples are scored."""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total)
        elif self._line:
            self._line(done, total)


def _data_root(flag: Path | None) -> Path:
    root = find_data_root(flag)
    if root is None:
        raise UserError(
            "an evaluation needs data, and no data root is given",
            expected="a folder that holds refcoco/, refcoco+/, refcocog/ (refs and instances.json) and the COCO images",
            hint=f"name it by --data-root DIR, AMLRIS_DATA or data_root in {settings_path()}",
        )
    return root


def _print(console: Console, meta: dict[str, Any], path: Path) -> None:
    """The metrics with their intervals, and what they are of."""
    from rich.table import Table

    evaluation, summary = meta["eval"], meta["summary"]
    title = dataset_spec(evaluation["dataset"]).title
    console.print(f"{meta['file']} ({meta['model']}, {meta['origin']}, sha256 {meta['sha256'][:16]})")
    console.print(
        f"{title} ({meta['split_by']}) {evaluation['split']}: {meta['samples']} samples, {summary['images']} images | "
        f"scored at {meta['scored_at']} | {meta['decision']} | text field `{meta['text_field']}` | {meta['precision']}"
    )
    if "perturbed_by" in meta:
        console.print(f"pictures perturbed: {_perturbed(evaluation, meta['perturbed_by'])}")
    table = Table()
    for column in ("metric", "%", f"{summary['bootstrap']['level']:.0%} interval"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name in GENERALIZED_METRICS if is_multi_target(evaluation["dataset"]) else SHOWN:
        entry = summary["metrics"][name]
        value = "-" if entry["value"] is None else f"{entry['value']:.2f}"
        interval = "-" if entry["low"] is None else f"{entry['low']:.2f} to {entry['high']:.2f}"
        table.add_row(metric(name).title, value, interval)
    console.print(table)
    if "unseen" in summary:
        unseen = summary["unseen"]
        values = ", ".join(_on_unseen(unseen, name) for name in WHOLE if name in unseen["metrics"])
        console.print(f"on the {unseen['images']} images that are not in its train split: {values}")
    console.print(f"records: {path.with_suffix('.parquet')}")


def _perturbed(evaluation: dict[str, Any], by: dict[str, Any]) -> str:
    """`haze, severity 2 (opacity 0.35)`."""
    strength = "the paper's strength" if evaluation["severity"] is None else f"severity {evaluation['severity']}"
    parameters = ", ".join(f"{key} {value:g}" for key, value in by["parameters"].items())
    return f"{evaluation['perturbation']}, {strength} ({parameters})"


def _on_unseen(unseen: dict[str, Any], name: str) -> str:
    value = unseen["metrics"][name]["value"]
    return f"{metric(name).title} " + ("-" if value is None else f"{value:.2f}")
