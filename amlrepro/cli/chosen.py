"""Trained weights as a user names them: a run of the store, a file, or none, for the model of Figure 8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlrepro.cli.runs import find_run, stores
from amlrepro.config import RunConfig, load_config
from amlrepro.errors import UserError
from amlrepro.models.registry import get_spec
from amlrepro.suite.profile import load_profile, resolve
from amlrepro.suite.store import Store

if TYPE_CHECKING:
    from amlrepro.engine.subject import Subject

MAIN = ("caris", "inferred", "refcoco+")  # whose masks Figure 8 shows
SYNTHETIC = "SYNTHETIC DATA: trained on drawn scenes; masks on other pictures are poor, and no evidence about the paper"


@dataclass(frozen=True)
class Chosen:
    """A file of weights. name: the run's id, or the file's name; watermark: what is said of its results."""

    path: Path
    name: str
    model: str | None
    watermark: str | None


@dataclass(frozen=True)
class Weights:
    """Weights that are loaded. trained: in words, on what and how far."""

    subject: Subject
    name: str
    trained: str
    watermark: str | None


def choose_weights(
    run: str | None, checkpoint: Path | None, model: str | None, profile: str | None, root: Path
) -> Chosen:
    """Find the weights; nothing is loaded. Raises `UserError` for a run or file that is not there."""
    if run is not None and checkpoint is not None:
        raise UserError("--run and --checkpoint exclude each other")
    if checkpoint is not None:
        if not checkpoint.is_file():
            raise UserError("no such checkpoint", where=checkpoint)
        return Chosen(checkpoint, checkpoint.name, model, None)
    store, run_id = find_run(root, profile, run) if run is not None else _main_run(root, profile)
    path = store.run(run_id).checkpoint("last")
    if not path.is_file():
        raise UserError(f"run {run_id} has no weights yet", where=path)
    config, spec = load_config(store.run(run_id).config), load_profile(store.profile)
    watermark = spec.watermark if config.data.source == spec.source else spec.real_watermark
    stamp = "SYNTHETIC DATA" if config.data.source == "synth" else "SMALL MODELS"
    return Chosen(path, run_id, model or config.model.name, f"{stamp}: {watermark}" if watermark else None)


def open_weights(chosen: Chosen, vocab: Path | None) -> Weights:
    """Load the weights; vocab locates the vocabulary of official ones. Raises `UserError` for a wrong file."""
    from amlrepro.engine import checkpoint
    from amlrepro.engine.subject import open_subject
    from amlrepro.models.converted import converted_header

    ours = checkpoint.is_ours(chosen.path)
    meta: dict[str, Any] = checkpoint.read_meta(chosen.path) if ours else {}
    inside = meta["config"]["model"]["name"] if ours else (converted_header(chosen.path) or {}).get("model")
    model = chosen.model or inside or "caris"
    # an official checkpoint does not say what it was trained on; the data set sets no more than the word limit
    dataset = "grefcoco" if get_spec(model).protocol.multi_target else "refcoco+"
    subject = open_subject(chosen.path, model, dataset, None, vocab)
    if not ours:
        return Weights(subject, chosen.name, "official weights", chosen.watermark)
    synthetic = SYNTHETIC if subject.config.data.source == "synth" else None
    trained = f"trained on {subject.config.data.train}, epoch {meta['epoch']} of {meta['horizon']}"
    return Weights(subject, chosen.name, trained, chosen.watermark or synthetic)


def _main_run(root: Path, profile: str | None) -> tuple[Store, str]:
    """The run that Figure 8 shows, of the largest profile that has it."""
    candidates = stores(root, profile)
    for store in reversed(candidates):
        spec = load_profile(store.profile)
        for run_id in store.run_ids():
            if not run_id.startswith(f"{MAIN[0]}_aml_{MAIN[2]}_"):
                continue
            config = load_config(store.run(run_id).config)
            wanted = resolve(spec, *MAIN, config.seed, source=config.data.source)
            if _recipe(config) == _recipe(wanted) and store.run(run_id).checkpoint("last").is_file():
                return store, run_id
    runs = [run_id for store in candidates for run_id in store.run_ids()]
    raise UserError(
        "there is no trained CARIS+AML on RefCOCO+ in the store, and neither --run nor --checkpoint is given",
        where=root,
        found=f"{len(runs)} runs: {', '.join(runs[:4])}{', ...' if len(runs) > 4 else ''}" if runs else "no runs",
        hint="name a run by --run ID, weights by --checkpoint FILE, or train one: amlris run table2 --profile demo",
    )


def _recipe(config: RunConfig) -> str:
    """The recipe apart from which data and initial weights there were."""
    return config.with_changes({"data.digest": None, "init.vision_digest": None, "init.text_digest": None}).recipe_id
