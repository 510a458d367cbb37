"""The gallery: a picture of a data set, whole and perturbed. No model is needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from amlrepro.config import RunConfig
from amlrepro.data.images import find_image_folder, image_path, open_image
from amlrepro.data.refer import load_refer
from amlrepro.data.specs import dataset_spec
from amlrepro.errors import UserError
from amlrepro.perturb.pictures import perturb
from amlrepro.perturb.specs import perturbation_spec
from amlrepro.report.figures.data import GalleryData, GalleryPicture
from amlrepro.report.figures.recipe import NotThereError, Origin, Recipe
from amlrepro.suite.figures import GalleryFigure
from amlrepro.suite.plan import PlannedFigure


def gallery_recipe(origin: Origin, spec: GalleryFigure, planned: PlannedFigure) -> Recipe:
    """The picture with number `spec.picture` among the split's, in file order."""
    config = planned.config
    if config is None or config.exec.data_root is None:
        raise NotThereError("the pictures were not looked at")
    definitions = [perturbation_spec(name).definition for name in spec.perturbations]
    source = [config.data.model_dump(mode="json"), config.exec.data_root, config.exec.image_root]
    make = partial(_gallery, spec, config, origin.watermark)
    return Recipe([spec.model_dump(), origin.watermark, definitions, source], make)


def _gallery(spec: GalleryFigure, config: RunConfig, watermark: str | None) -> GalleryData:
    try:
        name, image_id, picture = _picture(spec, config)
    except UserError as error:
        raise NotThereError(f"{error.what} ({error.where})" if error.where else error.what) from error
    chosen = [perturbation_spec(each) for each in spec.perturbations]
    if inner := [each.title for each in chosen if each.stage != "picture"]:
        raise NotThereError(f"{', '.join(inner)}: done to the network's input, not to pictures")
    versions = [GalleryPicture(each.title, perturb(picture, each.name, spec.severity, image_id)) for each in chosen]
    strength = "" if spec.severity is None else f", severity {spec.severity}"
    notes = [f"{name} of {dataset_spec(spec.dataset).title} {spec.split}{strength}."]
    if spec.severity is None:
        notes += [f"{each.title}: {each.definition}." for each in chosen]
    return GalleryData(
        id=spec.id,
        title=spec.title,
        watermark=watermark,
        notes=tuple(notes),
        pictures=(GalleryPicture("Original", picture), *versions),
    )


def _picture(spec: GalleryFigure, config: RunConfig) -> tuple[str, int, np.ndarray]:
    """File name, image id and pixels [H, W, 3]."""
    root = Path(str(config.exec.data_root)).expanduser()
    data = load_refer(root, spec.dataset, config.data.split_by)
    ids = list(dict.fromkeys(ref.image_id for ref in data.split(spec.split)))
    if spec.picture >= len(ids):
        raise UserError(f"{spec.dataset} {spec.split} has {len(ids)} pictures", found=f"picture {spec.picture}")
    info = data.images[ids[spec.picture]]
    images = config.exec.image_root
    folder = find_image_folder(root, Path(images).expanduser() if images else None)
    return info.file_name, info.image_id, np.asarray(open_image(image_path(folder, info)))
