"""A data set with its pictures: arrays at the network's input size by ref, remembered in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from amlrepro.config import RunConfig
from amlrepro.data.cache import ArrayCache
from amlrepro.data.images import find_image_folder, image_path, open_image, require_images
from amlrepro.data.inputs import InputCache, file_stamp, mask_key, open_inputs
from amlrepro.data.masks import ref_mask, ref_mask_drawn, resize_mask
from amlrepro.data.refer import Ref, ReferData
from amlrepro.data.transforms import network_input
from amlrepro.errors import UserError
from amlrepro.models.geometry import AspectFit, fit_aspect, warp_mask
from amlrepro.models.spec import Protocol
from amlrepro.perturb.blocks import occluded
from amlrepro.perturb.pictures import perturb
from amlrepro.perturb.specs import PerturbationSpec, perturbation_spec

HALF = 128  # of 255: a warped mask's pixel is foreground above 0.5
_cache = ArrayCache()


@dataclass(frozen=True)
class Source:
    """A data set with its picture folder, the side of the network's input and the model's protocol, which says how
    pictures get there. perturbation, severity: what is done to pictures (`perturb/specs.py`); masks never change.
    inputs: what is kept on disk; perturbed pictures are not, as each is seen once or twice."""

    data: ReferData
    folder: Path
    size: int
    protocol: Protocol
    perturbation: str | None = None
    severity: int | None = None
    inputs: InputCache | None = None

    def image(self, ref: Ref) -> NDArray[np.uint8]:
        """The ref's picture at input size: [size, size, 3], perturbed before resizing."""
        return self.planes(ref).transpose(1, 2, 0)

    def planes(self, ref: Ref) -> NDArray[np.uint8]:
        """The same by channel, [3, size, size], as it is kept."""
        path = image_path(self.folder, self.data.image_of(ref))
        stamp = file_stamp(path)
        spec = self._perturbation
        done = (spec.name, self.severity) if spec and spec.stage == "picture" else ()

        def made(content: bytes | None = None) -> NDArray[np.uint8]:
            picture = open_image(path, content)
            if done:
                picture = Image.fromarray(perturb(np.asarray(picture), done[0], done[1], ref.image_id))
            return np.ascontiguousarray(network_input(picture, self.size, self.protocol).transpose(2, 0, 1))

        def kept() -> NDArray[np.uint8]:
            if self.inputs is None or done or stamp is None:
                return made()
            try:
                return self.inputs.picture(path, stamp, made).reshape(3, self.size, self.size)
            except OSError:  # the file cannot be read, which `made` says better
                return made()

        key = (str(path), stamp, self.size, self.protocol.resize, self.protocol.border, *done)
        return _cache.get(key, kept)

    def occlusion(self, ref: Ref) -> NDArray[np.bool_] | None:
        """The pixels [size, size] of the ref's normalised input that are to be zero; None where none are."""
        spec = self._perturbation
        if spec is None or spec.stage != "input":
            return None
        return occluded(spec.parameters(self.severity), ref.image_id, self.size)

    def mask(self, ref: Ref) -> NDArray[np.bool_]:
        """The ref's mask at input size: [size, size]. Warped masks are cut at 0.5."""
        if self.protocol.resize == "affine":
            return self._warped(ref) >= HALF
        if self.protocol.rasterize == "picture":
            packed = self._kept("resized", ref, lambda: np.packbits(resize_mask(ref_mask(self.data, ref), self.size)))
        else:
            packed = self._kept("drawn", ref, lambda: np.packbits(ref_mask_drawn(self.data, ref, self.size)))
        flat = np.unpackbits(packed, count=self.size * self.size)
        return flat.reshape(self.size, self.size).view(bool)

    def soft_mask(self, ref: Ref) -> NDArray[np.float32]:
        """The ref's warped mask [size, size] in [0, 1], with the fractions its interpolation gives at edges."""
        return self._warped(ref).astype(np.float32) / np.float32(255)

    def _warped(self, ref: Ref) -> NDArray[np.uint8]:
        def warp() -> NDArray[np.uint8]:
            mask = ref_mask(self.data, ref)
            return np.rint(warp_mask(mask, self._fit(*mask.shape)) * 255).astype(np.uint8)

        return self._kept("warped", ref, warp).reshape(self.size, self.size)

    def _kept(self, kind: str, ref: Ref, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The mask of a kind as it is kept in memory and on disk."""
        key = mask_key(kind, self.size, self.data.image_of(ref), self.data.annotations_of(ref))
        return _cache.get(key, make if self.inputs is None else partial(self.inputs.mask, key, make))

    @property
    def _perturbation(self) -> PerturbationSpec | None:
        return None if self.perturbation is None else perturbation_spec(self.perturbation)

    def _fit(self, height: int, width: int) -> AspectFit:
        return fit_aspect((height, width), (self.size, self.size))


def data_root(config: RunConfig) -> Path:
    """The configured data root; raises `UserError` when there is none."""
    if config.exec.data_root is None:
        raise UserError("no data root", where="exec.data_root", hint="give --data-root ROOT or set AMLRIS_DATA")
    return Path(config.exec.data_root).expanduser()


def open_source(config: RunConfig, root: Path, data: ReferData, refs: list[Ref], protocol: Protocol) -> Source:
    """The source of `refs`, once every picture and annotation they need is known to be there.

    Raises `UserError` for missing pictures, a picture cut off at its end, or an annotation that is missing or no mask.
    """
    image_root = config.exec.image_root
    folder = find_image_folder(root, Path(image_root).expanduser() if image_root else None)
    infos = {ref.image_id: data.image_of(ref) for ref in refs}
    for ref in refs:
        for annotation in data.annotations_of(ref):
            if annotation.segmentation is None:
                raise UserError(
                    f"annotation {annotation.ann_id} of ref {ref.ref_id} has no segmentation, only a box",
                    where=data.source,
                    hint="take the official instances.json; `amlris data check ROOT` tells what this one lacks",
                )
    require_images(folder, list(infos.values()))
    inputs = open_inputs(config.exec, protocol, config.data.image_size) if config.data.source == "refer" else None
    return Source(data, folder, config.data.image_size, protocol, inputs=inputs)
