"""The user's own settings: where data and weights lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from amlrepro.errors import UserError
from amlrepro.schema import Strict, load_yaml, parse_strict


class UserSettings(Strict):
    """The user's configuration file: `AMLRIS_CONFIG`, else `~/.config/amlris/config.yaml`.

    vision_weights, text_weights: CARIS's Swin-B and BERT; for those of other models there are environment variables.
    cluster: file of SLURM settings, for commands without `--cluster`. laboratory: the name that archives carry.
    """

    data_root: str | None = None
    image_root: str | None = None
    vision_weights: str | None = None
    text_weights: str | None = None
    cluster: str | None = None
    laboratory: str | None = None


def settings_path() -> Path:
    """Where the user's configuration file is, or would be."""
    named = os.environ.get("AMLRIS_CONFIG")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "amlris" / "config.yaml"


def load_settings() -> UserSettings:
    """The user's settings; all unset without a file. Raises `UserError` for an unknown key (with the nearest)."""
    path = settings_path()
    if not path.exists():
        return UserSettings()
    values = load_yaml(path) or {}
    if not isinstance(values, dict):
        raise UserError("settings are a mapping", where=path, found=type(values).__name__, expected="data_root: /path")
    return parse_strict(UserSettings, values, path)


def find_data_root(flag: Path | None) -> Path | None:
    """The data root from the flag, `AMLRIS_DATA` or the user's configuration file, in this order; None without any.

    Raises `UserError` when the named folder does not exist, saying where the name came from.
    """
    sources = (
        ("--data-root", str(flag) if flag else None),
        ("AMLRIS_DATA", os.environ.get("AMLRIS_DATA")),
        (str(settings_path()), load_settings().data_root),
    )
    for where, value in sources:
        if value:
            root = Path(value).expanduser().absolute()
            if not root.is_dir():
                raise UserError("the data root is not a folder", where=where, found=root)
            return root
    return None


def no_data_root(profile: str, command: str) -> UserError:
    """The error of a profile that needs real data and has none; names both ways on."""
    return UserError(
        f"profile {profile!r} needs real data, and no data root is given",
        expected="a folder that holds refcoco/, refcoco+/, refcocog/ (refs and instances.json) and the COCO images",
        hint=f"name it by --data-root DIR, AMLRIS_DATA or data_root in {settings_path()}; "
        f"or try everything on synthetic data: {command} --profile demo",
    )
