"""`amlris predict`: the masks that a trained model gives on a picture, drawn over it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amlrepro.cli.chosen import choose_weights, open_weights
from amlrepro.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from amlrepro.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from amlrepro.cli.chosen import Weights
    from amlrepro.engine.predict import Prediction

SLUG_LENGTH = 40


def predict(
    image: Annotated[Path, typer.Argument(help="A picture, in any format Pillow opens.", show_default=False)],
    sentences: Annotated[list[str], typer.Argument(help="What to segment, in words; one or more.", show_default=False)],
    run: Annotated[
        str | None,
        typer.Option(help="Run id, or the beginning of one.", show_default="CARIS+AML on RefCOCO+, as in Figure 8"),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint file instead, official or ours.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Which model an official checkpoint is of.", show_default="caris")
    ] = None,
    vocab: Annotated[Path | None, typer.Option(help="vocab.txt of BERT or merges.txt of CLIP, or its folder.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="PNG file, or a folder for it; numbered for several sentences.", show_default="made here"),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="PNG file for the bare mask (white on black), too.")] = None,
    profile: Annotated[str | None, typer.Option(help="Only runs of this profile.", show_default="any")] = None,
    store: StoreOption = DEFAULT_STORE,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Segment what a sentence names in a picture; write an overlay of the picture's size, say where the mask is."""
    asked = _sentences(sentences)
    overlays = _overlay_paths(out, image, asked)
    masks = _numbered(mask, len(asked)) if mask else [None] * len(asked)
    _check_outputs([*overlays, *(path for path in masks if path)], image, force)
    from amlrepro.data.images import read_picture

    picture = read_picture(image)
    chosen = choose_weights(run, checkpoint, model, profile, store)

    from amlrepro.engine.numerics import choose_device
    from amlrepro.engine.predict import predict as segment

    target = choose_device(device)
    weights = open_weights(chosen, vocab)
    predictions = segment(weights.subject, picture, asked, target)
    rows = []
    for prediction, overlay, bare in zip(predictions, overlays, masks, strict=True):
        _write(picture, prediction, weights, overlay, bare)
        rows.append({**_row(prediction), "overlay": str(overlay), "mask": str(bare) if bare else None})
    if as_json:
        found = {
            "image": str(image),
            "weights": weights.name,
            "trained": weights.trained,
            "watermark": weights.watermark,
        }
        typer.echo(json.dumps({**found, "width": picture.width, "height": picture.height, "masks": rows}, indent=1))
        return
    typer.echo(f"{weights.name} ({weights.trained}) on {image} ({picture.width} x {picture.height})")
    if weights.watermark:
        typer.echo(weights.watermark)
    for row in rows:
        _print(row)


def _sentences(given: list[str]) -> list[str]:
    """Without white space around, each once."""
    cleaned = [" ".join(sentence.split()) for sentence in given]
    if not all(cleaned):
        raise UserError("an empty sentence names nothing", expected='for example "the man on the left"')
    return list(dict.fromkeys(cleaned))


def _overlay_paths(out: Path | None, image: Path, sentences: list[str]) -> list[Path]:
    if out is not None and not out.is_dir():
        return _numbered(out, len(sentences))
    slugs: list[str] = []
    for sentence in sentences:
        slug = re.sub(r"\W+", "-", sentence.lower()).strip("-")[:SLUG_LENGTH].strip("-") or "mask"
        same = sum(re.sub(r"_\d+$", "", each) == slug for each in slugs)
        slugs.append(f"{slug}_{same + 1}" if same else slug)
    return [(out or Path()) / f"{image.stem}_{slug}.png" for slug in slugs]


def _numbered(path: Path, number: int) -> list[Path]:
    """The file itself for one sentence, `name_1.png`, `name_2.png`, ... for several."""
    if path.suffix.lower() != ".png":
        raise UserError("overlays and masks are PNG files", found=path, expected=path.with_suffix(".png"))
    if number == 1:
        return [path]
    return [path.with_stem(f"{path.stem}_{i + 1}") for i in range(number)]


def _check_outputs(paths: list[Path], image: Path, force: bool) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() == image.resolve():
            raise UserError("this would replace the picture itself", where=path, hint="choose another name")
        if path.resolve() in seen:
            raise UserError("overlay and mask need files of their own", where=path)
        if path.is_dir() or (path.exists() and not force):
            found = "a folder" if path.is_dir() else None
            hint = "choose another name, or replace it with --force"
            raise UserError("this file exists", where=path, found=found, hint=hint)
        seen.add(path.resolve())


def _write(picture: Image.Image, prediction: Prediction, weights: Weights, overlay: Path, bare: Path | None) -> None:
    from io import BytesIO

    import numpy as np
    from PIL import Image, PngImagePlugin

    from amlrepro.files import write_bytes
    from amlrepro.report.figures.blend import blend, outlined, stamped
    from amlrepro.report.figures.style import PREDICTED

    width = max(1, round(min(picture.size) / 250))
    mixed = outlined(blend(np.asarray(picture), prediction.mask, PREDICTED), prediction.mask, "#ffffff", width)
    about = PngImagePlugin.PngInfo()
    about.add_itxt("Description", f"{prediction.sentence} | {weights.name}")
    if weights.watermark:
        about.add_itxt("Disclaimer", weights.watermark)
        mixed = stamped(mixed, weights.watermark)
    for path, pixels in ((overlay, mixed), (bare, prediction.mask)):
        if path is None:
            continue
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", pnginfo=about)
        write_bytes(path, buffer.getvalue())


def _row(prediction: Prediction) -> dict[str, Any]:
    return {
        "sentence": prediction.sentence,
        "box": prediction.box,
        "pixels": int(prediction.mask.sum()),
        "share": float(prediction.mask.mean()),
        "confidence": prediction.confidence,
        "no_target": prediction.no_target,
        "unknown_words": list(prediction.unknown),
        "tokens_cut": prediction.cut,
    }


def _print(row: dict[str, Any]) -> None:
    typer.echo(f"\n“{row['sentence']}”")
    if row["box"] is None:
        typer.echo("  the mask is empty")
    else:
        left, top, width, height = row["box"]
        typer.echo(f"  box        left {left}, top {top}, {width} wide, {height} high")
        typer.echo(f"  area       {row['pixels']:,} pixels, {row['share']:.1%} of the picture")
        typer.echo(f"  confidence {row['confidence']:.1%} (mean probability inside the mask)")
    if row["no_target"]:
        typer.echo("  the model says that the sentence names nothing here")
    if row["unknown_words"]:
        typer.echo(f"  not in its vocabulary: {', '.join(row['unknown_words'])}")
    if row["tokens_cut"]:
        typer.echo(f"  the sentence is too long: the last {row['tokens_cut']} tokens were not read")
    for name in ("overlay", "mask"):
        if row[name]:
            typer.echo(f"  {name:<10} {row[name]}")
