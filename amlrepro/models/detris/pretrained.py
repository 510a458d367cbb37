"""Public weights of DETRIS's encoders: DINOv2 with registers and CLIP's text tower, from each of their file layouts."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amlrepro.errors import UserError
from amlrepro.models.backbones.fit import load_fitting
from amlrepro.models.checkpoint_file import read_tensors
from amlrepro.models.detris.encoders import TextEncoder, VisionEncoder
from amlrepro.models.detris.official import from_official
from amlrepro.models.detris.spec import needed_clip

# transformers' names for DINOv2 and the original ones; the first that fits decides. Names differ between its versions.
_TRANSFORMERS: tuple[tuple[str, str], ...] = (
    (r"embeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
    (r"embeddings\.position_embeddings$", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"(?:encoder\.)?layers?\.(\d+)\.attention\.(?:attention\.)?(query|key|value)\.", r"blocks.\1.attn.\2."),
    (r"(?:encoder\.)?layers?\.(\d+)\.attention\.q_proj\.", r"blocks.\1.attn.query."),
    (r"(?:encoder\.)?layers?\.(\d+)\.attention\.k_proj\.", r"blocks.\1.attn.key."),
    (r"(?:encoder\.)?layers?\.(\d+)\.attention\.v_proj\.", r"blocks.\1.attn.value."),
    (r"(?:encoder\.)?layers?\.(\d+)\.attention\.(?:output\.dense|o_proj)\.", r"blocks.\1.attn.proj."),
    (r"(?:encoder\.)?layers?\.(\d+)\.layer_scale(\d)\.lambda1$", r"blocks.\1.ls\2.gamma"),
    (r"(?:encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"layernorm\.", "norm."),
)
_ORIGINAL: tuple[tuple[str, str], ...] = (
    ("cls_token", "class_token"),
    ("register_tokens", "registers"),
    ("reg_token", "registers"),
    ("pos_embed", "position"),
    ("patch_embed.", "patch."),
)


def load_dinov2(vision: VisionEncoder, source: str | Path | Mapping[str, Any]) -> None:
    """Copy DINOv2 weights into the encoder, aligners excepted: the original file, timm's or transformers'.

    timm's has the class row of the position table folded into the class token, so that row becomes zero. A mask token
    is optional. Raises `UserError` naming the keys that are missing, left over or of another shape.
    """
    tensors: dict[str, Tensor] = {}
    stacked: dict[str, dict[str, Tensor]] = {}
    for key, value in read_tensors(source).items():
        name = _original_name(key)
        part = re.fullmatch(r"(.*\.attn)\.(query|key|value)\.(weight|bias)", name)
        if part:
            stacked.setdefault(f"{part[1]}.qkv.{part[3]}", {})[part[2]] = value
        else:
            tensors[name] = value
    for name, parts in stacked.items():
        if len(parts) == 3:
            tensors[name] = torch.cat([parts["query"], parts["key"], parts["value"]])
    expected = _without(vision, "aligners.")
    position, stored = tensors.get("position"), expected["position"]
    if position is not None and position.shape[1] == stored.shape[1] - 1:
        tensors["position"] = torch.cat([torch.zeros_like(position[:, :1]), position], 1)
    tensors.setdefault("mask_token", expected["mask_token"].clone())
    _load_part(vision, "aligners.", tensors, source, "DINOv2 with registers")


def load_clip(text: TextEncoder, source: str | Path | Mapping[str, Any]) -> None:
    """Copy CLIP's text tower into the encoder, adapters excepted: OpenAI's names or transformers'; vision is dropped.

    Linear layers are rounded to half precision and back, as the official code's loading does. Raises `UserError`, also
    for OpenAI's own TorchScript archive, which could carry code.
    """
    if not isinstance(source, Mapping):
        _refuse_archive(Path(source))
    tensors = read_tensors(source)
    tensors = {k: v for k, v in tensors.items() if not k.startswith(("visual.", "vision_model.", "visual_projection."))}
    tensors = {k: v for k, v in tensors.items() if not k.endswith("position_ids")}
    if "positional_embedding" in tensors:
        sizes = ("input_resolution", "context_length", "vocab_size")
        renamed, foreign = from_official({f"txt_backbone.{k}": v for k, v in tensors.items() if k not in sizes})
        named = {k.removeprefix("text."): v for k, v in renamed.items()}
        named.update({key: tensors[key.removeprefix("txt_backbone.")] for key in foreign})
    else:
        named = {k if k == "logit_scale" else f"clip.{k}": v for k, v in tensors.items()}
    named.setdefault("logit_scale", text.logit_scale.detach().clone())
    _load_part(text, "adapters.", named, source, "CLIP's text tower")
    with torch.no_grad():
        for module in text.clip.modules():
            if isinstance(module, nn.Linear):
                for parameter in module.parameters():
                    parameter.copy_(parameter.half().float())


def _original_name(key: str) -> str:
    name = key.removeprefix("dinov2_with_registers.").removeprefix("model.")
    for pattern, template in _TRANSFORMERS:
        match = re.match(pattern, name)
        if match:
            name = match.expand(template) + name[match.end() :]
            break
    for original, ours in _ORIGINAL:
        if name.startswith(original):
            return ours + name.removeprefix(original)
    return name


def _without(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {k: v for k, v in module.state_dict().items() if not k.startswith(prefix)}


def _load_part(
    module: nn.Module, kept: str, tensors: Mapping[str, Tensor], source: str | Path | Mapping[str, Any], what: str
) -> None:
    """`load_fitting` for all of a module but the part `kept`, which stays as it is."""
    own = {k: v for k, v in module.state_dict().items() if k.startswith(kept)}
    load_fitting(module, {**tensors, **own}, source, what)


def _refuse_archive(path: Path) -> None:
    if path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise UserError(
                    "this is a TorchScript archive, which can carry code, so it was not loaded",
                    where=path,
                    expected="model.safetensors of openai/clip-vit-base-patch16",
                    hint=needed_clip().get,
                )
