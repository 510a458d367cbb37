"""What `amlris audit` measures: the method on features, and the leak of Table 15. Imports torch where it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlrepro.cli.chosen import choose_weights, open_weights
from amlrepro.cli.lists import usual_split
from amlrepro.errors import UserError
from amlrepro.suite.profile import step_configs
from amlrepro.suite.settings import find_data_root, load_settings, settings_path
from amlrepro.verdicts.audit.leak import Leak, count_leaks
from amlrepro.verdicts.audit.method import VERSION, CrossPairs, Distortion, Method, Passes, Reading
from amlrepro.verdicts.audit.paper import load_paper
from amlrepro.verdicts.audit.projection import WIDTHS, dim

if TYPE_CHECKING:
    from amlrepro.engine.probes.given import Given

SIMULATED = "simulated"
FEW_PAIRS = 256
STEPS = {"CARIS": "baseline", "Algorithm 1": "inferred", "released step": "released"}


@dataclass(frozen=True)
class FeatureChoice:
    """Whose features are measured: a file's, a run's, a checkpoint's, or simulated ones where none is named."""

    file: Path | None = None
    run: str | None = None
    checkpoint: Path | None = None
    model: str | None = None
    vocab: Path | None = None
    data: str = "refcoco+:val"
    pairs: int = FEW_PAIRS

    @property
    def named(self) -> bool:
        """Whether a source is named."""
        return any(source is not None for source in (self.file, self.run, self.checkpoint))

    def check(self) -> None:
        """Raise `UserError` where two sources are named."""
        if sum(source is not None for source in (self.file, self.run, self.checkpoint)) > 1:
            raise UserError("--features, --run and --checkpoint exclude each other")


def measure_simulated() -> Method:
    """The readings on simulated features; Eq. 10 on pairs of known cosine; calls of a training step. Seconds.

    On one thread, so that the numbers do not depend on how many there are.
    """
    import torch

    from amlrepro.engine.probes.method import count_passes, measure_cross
    from amlrepro.engine.probes.simulated import ASSUMED, simulated_features

    torch.set_num_threads(1)
    paper = load_paper()
    epsilons = {dim(paper, row): float(paper.exact("table5", row, "jl_error")) for row in WIDTHS}
    passes = count_passes(step_configs("smoke", STEPS))
    more = {
        "cross": tuple(CrossPairs(**row) for row in measure_cross(epsilons)),
        "passes": tuple(Passes(**row) for row in passes),
        "watermark": "SIMULATED FEATURES: what they show is possible, no evidence about real ones",
    }
    return _method(simulated_features(), SIMULATED, SIMULATED, ASSUMED, more)


def measure_chosen(
    choice: FeatureChoice, profile: str | None, store: Path, data_root: Path | None, image_root: Path | None
) -> Method:
    """The readings on the features that are named. Raises `UserError` for a wrong file, run, checkpoint or split."""
    if choice.file is not None:
        from amlrepro.engine.probes.given import file_features
        from amlrepro.files import sha256_file

        features = file_features(choice.file)
        says = f"features of the file {choice.file.name}"
        first = list(features)  # reads and checks the whole file
        return _method(first, "file", f"file {sha256_file(choice.file)[:12]}", says, {})
    return _of_weights(choice, profile, store, data_root, image_root)


def _of_weights(
    choice: FeatureChoice, profile: str | None, store: Path, data_root: Path | None, image_root: Path | None
) -> Method:
    from amlrepro.engine.numerics import choose_device
    from amlrepro.engine.probes.given import model_features
    from amlrepro.engine.probes.subject import Subject

    dataset, split = usual_split(choice.data)
    chosen = choose_weights(choice.run, choice.checkpoint, choice.model, profile, store)
    weights = open_weights(chosen, choice.vocab)
    of = weights.subject
    device = choose_device("auto")
    execution = _data_of(of.config.exec, of.config.data.source, data_root, image_root)
    config = of.config.with_changes({f"exec.{key}": value for key, value in execution.items()}, "audit")
    subject = Subject(of.model.to(device), of.tokenizer, config, {}, of.path, device)
    from amlrepro.config import ProbeConfig

    probe = ProbeConfig(kind="alignment", dataset=dataset, split=split, pairs=choice.pairs)
    says = f"features of {weights.name} ({weights.trained}), {dataset} {split}, stage one in evaluation mode"
    key = f"{of.sha256[:12]} {dataset}:{split} {choice.pairs}"
    source = "run" if choice.run is not None else "checkpoint"
    width = config.pmme.dim if config.strategy == "aml" else None
    says += f", D_a {width}" * (width is not None)
    return _method(model_features(subject, probe), source, key, says, {"watermark": weights.watermark}, width)


def _data_of(stored: Any, source: str, data_root: Path | None, image_root: Path | None) -> dict[str, str | None]:
    """Where pictures come from: as the command says, else where the run had them, else the usual data root."""
    own = Path(stored.data_root) if stored.data_root and source == "synth" else None
    root = data_root or own or find_data_root(None) or (Path(stored.data_root) if stored.data_root else None)
    if root is None:
        hint = f"name it by --data-root DIR, AMLRIS_DATA or data_root in {settings_path()}"
        raise UserError("features of a model need pictures, and no data root is given", hint=hint)
    images = image_root or (load_settings().image_root if data_root is None and own is None else None)
    return {"data_root": str(root), "image_root": str(images) if images else None}


def _method(
    features: Iterable[Given], source: Any, key: str, says: str, more: dict[str, Any], width: int | None = None
) -> Method:
    from amlrepro.aml.presets import INFERRED
    from amlrepro.engine.probes.method import measure_readings

    readings, distortion, sizes = measure_readings(features, dim=width)
    return Method(
        source=source,
        key=key,
        says=says,
        images=sizes["images"],
        patches=sizes["patches"],
        positions=sizes["positions"],
        tau=float(INFERRED["afm.tau"]),
        rho=float(INFERRED["afm.rho"]),
        readings=tuple(Reading(**row) for row in readings),
        distortion=tuple(Distortion(**row) for row in distortion),
        version=VERSION,
        **more,
    )


def measure_leaks(data_root: Path | None) -> tuple[tuple[Leak, ...] | None, str]:
    """The shared pictures of Table 15's columns where annotations are there, else None; and why not, in words.

    A data root that the command names and that lacks a data set is told of like any other: the audit goes on.
    """
    root = find_data_root(data_root)
    if root is None:
        return None, "no data root is given, so the public counts stand"
    try:
        return count_leaks(root), ""
    except UserError as error:
        return None, f"{error.what} ({error.where}), so the public counts stand"
