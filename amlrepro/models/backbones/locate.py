"""Where the weight files lie that pretrained encoders need: a given path, an environment variable, or the hub caches.

Torch-free; never downloads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amlrepro.errors import UserError

_SWIN_SIZES: dict[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "tiny",
    (96, (2, 2, 18, 2)): "small",
    (128, (2, 2, 18, 2)): "base",
    (192, (2, 2, 18, 2)): "large",
}
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class NeededWeights:
    """A public weight file.

    name: what people call it; setting: the configuration field that takes a path; variable: the environment variable
    that does; files: names it has in torch's hub cache; repositories: where it lies on the Hugging Face hub;
    get: how to come by it.
    """

    name: str
    setting: str
    variable: str
    files: tuple[str, ...]
    repositories: tuple[str, ...]
    get: str


def needed_swin(embed_dim: int, depths: Sequence[int], window: int) -> NeededWeights:
    """The ImageNet-22k file of a Swin; raises `UserError` for sizes that no public file has."""
    size = _SWIN_SIZES.get((embed_dim, tuple(depths)))
    if size is None or window not in (7, 12):
        raise UserError(
            "there are no public weights for a Swin of this size",
            found=f"embed_dim {embed_dim}, depths {tuple(depths)}, window {window}",
            expected="the sizes tiny, small, base or large with window 7 or 12",
            hint="set init.vision=scratch",
        )
    resolution = 224 if window == 7 else 384
    stem = f"swin_{size}_patch4_window{window}_{resolution}"
    return NeededWeights(
        name=f"{stem}_22k",
        setting="exec.vision_weights",
        variable="AMLRIS_SWIN" if window == 7 else f"AMLRIS_SWIN_WINDOW{window}",
        files=(f"{stem}_22k.pth",),
        repositories=(f"timm/{stem}.ms_in22k",),
        get=f"download {stem}_22k.pth from the releases of SwinTransformer/storage on GitHub, "
        f"or timm/{stem}.ms_in22k from the Hugging Face hub",
    )


def needed_bert() -> NeededWeights:
    """The BERT that CARIS and ReLA read their sentences with."""
    return NeededWeights(
        name="bert-base-uncased",
        setting="exec.text_weights",
        variable="AMLRIS_BERT",
        files=(),
        repositories=("google-bert/bert-base-uncased", "bert-base-uncased"),
        get="download google-bert/bert-base-uncased from the Hugging Face hub (model.safetensors, vocab.txt)",
    )


def find_weights(needed: NeededWeights, given: str | Path | None = None) -> Path:
    """The file, looked for at the given path, then at the environment variable's, then in the hub caches.

    A folder stands for the weight file in it. Raises `UserError` that says what is missing and how to get it.
    """
    found = locate(needed, given)
    if found is None:
        raise UserError(
            f"the pretrained weights {needed.name} are not on this machine",
            where=f"{needed.setting}, {needed.variable}, the caches of torch.hub and Hugging Face",
            hint=f"{needed.get}; then set {needed.setting}=FILE or {needed.variable}=FILE. "
            "`amlris weights list` shows what is found",
        )
    return found


def locate(needed: NeededWeights, given: str | Path | None = None) -> Path | None:
    """As `find_weights`, but None when it is nowhere. A path that was given and does not exist is still an error."""
    for source, path in ((needed.setting, given), (needed.variable, os.environ.get(needed.variable))):
        if path:
            return _weight_file(Path(path).expanduser(), needed, source)
    checkpoints = _torch_hub() / "checkpoints"
    for name in needed.files:
        if (checkpoints / name).is_file():
            return checkpoints / name
    for repository in needed.repositories:
        snapshots = _hugging_face_hub() / f"models--{repository.replace('/', '--')}" / "snapshots"
        for snapshot in sorted(snapshots.glob("*"), key=lambda p: p.stat().st_mtime, reverse=True):
            file = _in_folder(snapshot)
            if file is not None:
                return file
    return None


def _weight_file(path: Path, needed: NeededWeights, source: str) -> Path:
    file = _in_folder(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise UserError(
            f"no weights of {needed.name} here",
            where=f"{source}={path}",
            expected=f"a weight file, or a folder with {' or '.join(_WEIGHT_FILES)}",
        )
    return file


def _in_folder(folder: Path) -> Path | None:
    return next((folder / name for name in _WEIGHT_FILES if (folder / name).is_file()), None)


def _torch_hub() -> Path:
    home = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(home).expanduser() / "hub"


def _hugging_face_hub() -> Path:
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(home).expanduser() / "hub"
