"""Where the COCO train2014 pictures lie, and opening one. Torch-free."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from amlrepro.data.refer import ImageInfo
from amlrepro.errors import UserError

# the original REFER code's layout; CARIS, MaskRIS and AML; DETRIS and ReLA
LAYOUTS = ("images/mscoco/images/train2014", "train2014", "images/train2014")


def find_image_folder(root: Path, image_root: Path | None = None) -> Path:
    """The folder with `COCO_train2014_*.jpg`: one of the three layouts in use under `root`, or under `image_root`,
    which may also be the folder itself. Raises `UserError` that lists the places looked at."""
    base = Path(image_root) if image_root else Path(root)
    places = [base / layout for layout in LAYOUTS]
    for place in places:
        if place.is_dir():
            return place
    if image_root and base.is_dir() and (base.name == "train2014" or any(base.glob("*.jpg"))):
        return base
    raise UserError(
        "no folder with the COCO train2014 images",
        where=base,
        expected=", ".join(str(place) for place in places) + (" or the folder itself" if image_root else ""),
        hint="give the folder with --image-root",
    )


def image_path(folder: Path, info: ImageInfo) -> Path:
    """Path of a picture; its name comes from the image table (a ref's own `file_name` is not the picture's)."""
    return folder / info.file_name


def open_image(path: Path, content: bytes | None = None) -> Image.Image:
    """The decoded picture as RGB; raises `UserError` when it is missing, truncated or no picture.

    content: the file's, where it has been read already.
    """
    try:
        with Image.open(path if content is None else BytesIO(content)) as picture:
            return picture.convert("RGB")
    except FileNotFoundError:
        raise UserError("image missing", where=path, hint="`amlris data check ROOT` lists all missing images") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        found = str(error).partition(" <_io")[0]  # the stream's name says nothing
        raise UserError(
            "unreadable image (truncated or damaged)", where=path, found=found, hint="copy the file again"
        ) from None


def ends_properly(path: Path) -> bool:
    """Whether the file ends as a JPEG or PNG does: tells most truncated files without decoding them.

    False may be a false alarm (bytes after the end mark), so decode before you complain.
    """
    with path.open("rb") as f:
        head = f.read(8)
        f.seek(0, 2)
        f.seek(max(0, f.tell() - 16))
        tail = f.read()
    if head.startswith(b"\xff\xd8"):
        return tail.rstrip(b"\0").endswith(b"\xff\xd9")
    return head == b"\x89PNG\r\n\x1a\n" and tail.endswith(b"IEND\xae\x42\x60\x82")


def require_images(folder: Path, infos: list[ImageInfo]) -> None:
    """Raise `UserError` when a picture is missing, or cut off at its end."""
    paths = [image_path(folder, info) for info in infos]
    present = {p.name for p in folder.iterdir()}
    missing = [p for p in paths if p.name not in present]
    if missing:
        names = ", ".join(p.name for p in missing[:3])
        raise UserError(
            f"{len(missing)} of {len(paths)} images missing",
            where=folder,
            found=f"no {names}" + (" and others" if len(missing) > 3 else ""),
            hint="`amlris data check ROOT` lists all missing images",
        )
    for path in paths:
        if not ends_properly(path):
            open_image(path)


def read_picture(path: Path) -> Image.Image:
    """A user's picture as RGB, turned as its EXIF orientation says: any format Pillow opens, its first frame.

    Grey and palette pictures are converted and transparency is dropped, as for the data sets' pictures. Raises
    `UserError` when there is no such file or it is no picture.
    """
    if not path.is_file():
        raise UserError("no such picture", where=path, found="a folder" if path.is_dir() else None)
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            return _eight_bits(upright).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise UserError("this file is no picture, or a damaged one", where=path, found=str(error)) from None


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey pictures of 16 bits scaled to 8; Pillow would cut them off at 255."""
    if not picture.mode.startswith("I"):
        return picture
    grey = np.asarray(picture, dtype=np.float64)
    return Image.fromarray(np.clip(np.rint(grey / 257), 0, 255).astype(np.uint8))
