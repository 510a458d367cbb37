"""Options that several commands share, and what they resolve to: a store and a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amlrepro.aml.presets import READINGS
from amlrepro.config import PROFILES
from amlrepro.errors import UserError, unknown_name
from amlrepro.schema import parse_set
from amlrepro.sections import DEVICES
from amlrepro.suite.experiment import Experiment
from amlrepro.suite.inputs import Inputs
from amlrepro.suite.plan import Plan
from amlrepro.suite.planner import build_plan
from amlrepro.suite.profile import ProfileSpec, load_profile
from amlrepro.suite.rows import Choices
from amlrepro.suite.settings import find_data_root, load_settings, no_data_root
from amlrepro.suite.store import Store

if TYPE_CHECKING:
    from rich.console import Console

Experiments = Annotated[list[str], typer.Argument(help="Tables or figures (table1, ...), or all.", show_default=False)]
ProfileOption = Annotated[str, typer.Option("--profile", help=f"How big: {', '.join(PROFILES)}.")]
PresetOption = Annotated[str, typer.Option("--preset", help=f"Reading of the method: {', '.join(READINGS)}.")]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", metavar="N N N", help="Seeds, as 0 1 2 or 0,1,2.", show_default="the profile's")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of every run; may be repeated."),
]
DataRootOption = Annotated[Path | None, typer.Option("--data-root", help="Folder of the real data sets.")]
ImageRootOption = Annotated[Path | None, typer.Option("--image-root", help="Folder of the COCO pictures.")]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the result store.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_STORE = Path("results")
PIPE_WIDTH = 160


@dataclass(frozen=True)
class PlanOptions:
    """The options by which a command chooses what a plan is made for."""

    profile: ProfileOption = "paper"
    preset: PresetOption = "inferred"
    seeds: SeedsOption = None
    set_: SetOption = None
    data_root: DataRootOption = None
    image_root: ImageRootOption = None
    store: StoreOption = DEFAULT_STORE


@dataclass(frozen=True)
class Opened:
    """What the shared options resolve to."""

    store: Store
    plan: Plan
    profile: ProfileSpec
    inputs: Inputs


def open_plan(
    experiments: Sequence[Experiment],
    options: PlanOptions,
    *,
    command: str,
    device: str | None = None,
    processes: int | None = None,
    assume_data: bool = False,
) -> Opened:
    """Load the profile, find the data, and plan. Writes nothing.

    command: what the user typed, for the way on when there is no data root. assume_data: plan on the official data
    without looking at any. Raises `UserError` for every wrong name, key, value or path.
    """
    spec = load_profile(options.profile)
    overrides = parse_set(options.set_ or [])
    if device is not None:
        if device not in DEVICES:
            raise unknown_name("device", device, DEVICES, "--device")
        overrides["exec.device"] = device
    if processes is not None:
        overrides["exec.processes"] = processes
    inputs = _inputs(spec, options, assume_data, command)
    choices = Choices(parse_seeds(options.seeds), options.preset, overrides)
    return Opened(Store(options.store, spec.id), build_plan(experiments, spec, inputs, choices), spec, inputs)


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """`0,1,2` or `0 1 2` as numbers, None for None."""
    if text is None:
        return None
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError("seeds are whole numbers", where="--seeds", found=text, expected="for example --seeds 0 1 2")
    return tuple(int(part) for part in parts)


def headline(opened: Opened) -> str:
    """The first line of a command: profile, data and preset."""
    plan, profile = opened.plan, opened.profile
    if plan.source == "synth":
        data = "synthetic data"
    else:
        data = f"real data in {plan.data_root}" if plan.data_root else "the official data, assumed"
    seeds = ", ".join(map(str, plan.seeds))
    title = f" ({profile.title})" if plan.source == profile.source else ""
    return (
        f"profile {plan.profile}{title} | {data} | AML preset {plan.preset} | seed{'s' * (len(plan.seeds) > 1)} {seeds}"
    )


def say_headline(opened: Opened) -> None:
    """Print the headline."""
    say(headline(opened))


def say(text: str) -> None:
    """Print a line, on a terminal broken between words."""
    console = wide_console()
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def hours_text(value: float) -> str:
    """Hours as text; those of small models, which take seconds, with two digits."""
    if value >= 0.095 or value <= 0:
        return f"{value:.1f}"
    return f"{value:.2g}" if value >= 0.0001 else "<0.0001"


def wide_console() -> Console:
    """A console as wide as the terminal; wide enough for tables where there is none (a file, a pipe)."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, PIPE_WIDTH))


def _inputs(profile: ProfileSpec, options: PlanOptions, assume: bool, command: str) -> Inputs:
    """Where data come from. A profile that brings its own data takes real ones only when the command names them."""
    if profile.source == "synth" and options.data_root is None:
        return Inputs("synth", synth_folder=options.store.absolute() / "data")
    root = None if assume else find_data_root(options.data_root)
    if root is None and not assume:
        raise no_data_root(profile.id, command)
    settings = load_settings()
    own = settings.image_root if options.data_root is None else None
    images = options.image_root or (Path(own) if own else None)
    return Inputs("refer", root, images, None, settings.vision_weights, settings.text_weights)
