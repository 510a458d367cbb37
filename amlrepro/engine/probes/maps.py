"""Z+ and Z- of chosen samples at the network's input size, with picture, target and mask (Figures 4(a), 5 and 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from amlrepro.config import ProbeConfig
from amlrepro.data.images import read_picture
from amlrepro.data.transforms import network_input, normalize
from amlrepro.engine.evaluate import Watch, segment
from amlrepro.engine.probes.subject import Subject, draw_images, open_split
from amlrepro.errors import UserError
from amlrepro.models.contract import Output
from amlrepro.schema import Strict, load_yaml, parse_strict

SAMPLES = 4
Arrays = dict[str, NDArray[Any]]


class Picture(Strict):
    """One entry of a list of pictures: image, a path relative to the list's folder; sentence about one object in it."""

    image: str
    sentence: str


def measure_maps(
    subject: Subject, probe: ProbeConfig, watch: Watch | None = None
) -> tuple[Arrays, list[dict[str, Any]]]:
    """Arrays of every sample i and what the samples are.

    `image_i` [H, W, 3] uint8 as the network sees it, `zplus_i`, `zminus_i` [H, W] float32 (see
    `RISModel.score_maps`), `mask_i` [H, W] bool, the model's own prediction, and `target_i` [H, W] bool where the
    sample is of a split. Samples: `index`, `sentence`, `height` and `width` of the picture itself, and `ref_id`,
    `sent_id`, `image_id`, `iou` (None for an empty union), or `picture`, the file's name. Raises
    `UserError` for a split, list or picture that is not there.
    """
    if probe.pictures is not None:
        return _listed(subject, probe.pictures, watch)
    return _drawn(subject, probe, watch)


def _drawn(subject: Subject, probe: ProbeConfig, watch: Watch | None) -> tuple[Arrays, list[dict[str, Any]]]:
    data = draw_images(open_split(subject, probe), probe.pairs or SAMPLES)
    data = replace(data, samples=[replace(sample, position=i) for i, sample in enumerate(data.samples)])
    arrays: Arrays = {}
    described: dict[int, dict[str, Any]] = {}
    for batch in data.batches():
        with torch.inference_mode():
            output = segment(subject.model, batch, subject.device)
        found = _maps(subject, output)
        assert batch.target is not None
        for row, index in enumerate(batch.positions):
            sample, target = data.samples[index], batch.target[row].numpy()
            _add(arrays, index, data.source.image(sample.ref), found, row)
            arrays[f"target_{index}"] = target
            described[index] = {
                "index": index,
                "sentence": sample.text,
                "ref_id": sample.ref.ref_id,
                "sent_id": sample.sentence.sent_id,
                "image_id": sample.ref.image_id,
                "height": batch.ids[row][3],
                "width": batch.ids[row][4],
                "iou": _iou(arrays[f"mask_{index}"], target),
            }
        if watch:
            watch(len(described), data.n_samples)
    return arrays, [described[index] for index in sorted(described)]


def _listed(subject: Subject, name: str, watch: Watch | None) -> tuple[Arrays, list[dict[str, Any]]]:
    path = _list_path(subject, name)
    pictures = read_pictures(path)
    arrays: Arrays = {}
    described = []
    for index, picture in enumerate(pictures):
        opened = read_picture(path.parent / picture.image)
        pixels = network_input(opened, subject.config.data.image_size, subject.model.protocol)
        _add(arrays, index, pixels, _maps(subject, _output(subject, pixels, picture.sentence)), 0)
        size = {"height": opened.height, "width": opened.width}
        described.append({"index": index, "sentence": picture.sentence, "picture": picture.image, **size})
        if watch:
            watch(index + 1, len(pictures))
    return arrays, described


def read_pictures(path: Path) -> list[Picture]:
    """A YAML or JSON list of entries `image`, `sentence`; raises `UserError` naming the entry that is wrong."""
    values = load_yaml(path)
    if not isinstance(values, list) or not values:
        raise UserError("a list of pictures has entries of image and sentence", where=path, found=type(values).__name__)
    for number, entry in enumerate(values):
        if not isinstance(entry, Mapping):
            raise UserError("not an entry of image and sentence", where=f"{path}, entry {number}", found=entry)
    return [parse_strict(Picture, entry, f"{path}, entry {number}") for number, entry in enumerate(values)]


def _list_path(subject: Subject, name: str) -> Path:
    """The list by its path, relative to the data root where there is one."""
    root = subject.config.exec.data_root
    path = Path(name).expanduser() if root is None else Path(root).expanduser() / Path(name).expanduser()
    if not path.is_file():
        raise UserError("no such list of pictures", where="pictures", found=path)
    return path


@torch.inference_mode()
def _output(subject: Subject, pixels: NDArray[np.uint8], sentence: str) -> Output:
    protocol = subject.model.protocol
    image = normalize(torch.from_numpy(pixels.copy())[None], protocol.mean, protocol.std)
    ids, mask = subject.tokenizer.encode(sentence, subject.config.data.max_tokens)
    inputs = (image, torch.tensor([ids]), torch.tensor([mask]))
    output: Output = subject.model(*(tensor.to(subject.device) for tensor in inputs))
    return output


@torch.inference_mode()
def _maps(subject: Subject, output: Output) -> dict[str, Tensor]:
    """`zplus`, `zminus`, `mask` of all samples of a batch at input size, on the CPU."""
    plus, minus = subject.model.score_maps(output, output.input_size)
    mask = subject.model.predict(output, output.input_size)
    return {"zplus": plus.float().cpu(), "zminus": minus.float().cpu(), "mask": mask.cpu()}


def _add(arrays: Arrays, index: int, image: NDArray[np.uint8], found: dict[str, Tensor], row: int) -> None:
    arrays[f"image_{index}"] = image
    for name, maps in found.items():
        arrays[f"{name}_{index}"] = maps[row].numpy()


def _iou(mask: NDArray[np.bool_], target: NDArray[np.bool_]) -> float | None:
    union = int((mask | target).sum())
    return int((mask & target).sum()) / union if union else None
