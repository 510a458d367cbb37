"""Pictures and masks at their own size, against hand counts and pycocotools' own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import HEIGHT, WIDTH, annotation, picture_name, rectangle, ref_record, write_refer
from PIL import Image
from pycocotools import mask as coco_mask

from amlrepro.data.images import LAYOUTS, ends_properly, find_image_folder, open_image, require_images
from amlrepro.data.masks import annotation_mask, mask_area, ref_mask
from amlrepro.data.refer import Annotation, ImageInfo, load_refer
from amlrepro.errors import UserError


def make(segmentation: Any) -> Annotation:
    return Annotation(1, 1, 1, (0.0, 0.0, 1.0, 1.0), 1.0, False, segmentation)


def test_union_of_overlapping_polygons(two_images: Path) -> None:
    data = load_refer(two_images, "refcoco")
    mask = ref_mask(data, data.refs[0])
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask.dtype == bool
    assert mask.sum() == 100 + 100 - 25
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[0:10, 0:10] = expected[5:15, 5:15] = True
    assert (mask == expected).all()
    assert mask_area(data.annotations[11], HEIGHT, WIDTH) == 175


def test_equal_to_one_loses_the_overlap(two_images: Path) -> None:
    data = load_refer(two_images, "refcoco")
    mask = ref_mask(data, data.refs[0], rule="equal_to_one")
    assert mask.sum() == 100 + 100 - 2 * 25
    assert not mask[5:10, 5:10].any()


def test_run_length_codes_uncompressed_and_compressed(two_images: Path) -> None:
    data = load_refer(two_images, "refcoco")
    mask = ref_mask(data, data.refs[1])
    assert (mask == (np.isin(np.arange(WIDTH), [1, 2])[None, :] & np.ones((HEIGHT, 1), bool))).all()
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    as_bytes = make(compressed)
    as_text = make({"size": compressed["size"], "counts": compressed["counts"].decode()})
    for coded in (as_bytes, as_text):
        assert (annotation_mask(coded, HEIGHT, WIDTH) == mask).all()
        assert mask_area(coded, HEIGHT, WIDTH) == 2 * HEIGHT


def test_a_ref_to_two_objects_is_their_union(tmp_path: Path) -> None:
    rows = [annotation(1, 1, [rectangle(0, 0, 4, 4)]), annotation(2, 1, [rectangle(2, 2, 8, 8)])]
    data = load_refer(write_refer(tmp_path, [ref_record(1, [1, 2], 1, "val", ["both"])], rows), "refcoco")
    assert ref_mask(data, data.refs[0]).sum() == 16 + 36 - 4


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "no segmentation"),
        (([1.0, 2.0, 3.0, 4.0],), "a polygon of 4 numbers"),
        (([1.0] * 7,), "a polygon of 7 numbers"),
        ({"size": [3, 3], "counts": [9]}, "size"),
    ],
)
def test_broken_masks(segmentation: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        annotation_mask(make(segmentation), HEIGHT, WIDTH)


def test_against_pycocotools_on_real_annotations(shared: Path) -> None:
    from pycocotools.coco import COCO

    root = shared / "data" / "refcoco_mini"
    data = load_refer(root, "refcoco")
    official = COCO(str(root / "refcoco" / "instances.json"))
    for ann_id, row in data.annotations.items():
        info = data.images[row.image_id]
        expected = official.annToMask(official.anns[ann_id]).astype(bool)
        assert (annotation_mask(row, info.height, info.width) == expected).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_three_layouts_are_found(tmp_path: Path, layout: str) -> None:
    (tmp_path / layout).mkdir(parents=True)
    assert find_image_folder(tmp_path) == tmp_path / layout
    assert find_image_folder(tmp_path / "elsewhere", tmp_path) == tmp_path / layout
    assert find_image_folder(tmp_path, tmp_path / layout) == tmp_path / layout


def test_an_image_root_may_be_the_folder_itself(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(UserError, match="no folder with the COCO train2014 images"):
        find_image_folder(tmp_path, folder)
    (folder / picture_name(1)).write_bytes(b"")
    assert find_image_folder(tmp_path, folder) == folder


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "CMYK"):
        path = tmp_path / f"{mode}.{'png' if mode == 'RGBA' else 'jpg'}"
        Image.new(mode, (5, 4)).save(path)
        assert (open_image(path).mode, open_image(path).size) == ("RGB", (5, 4))


def test_missing_truncated_and_other_files(two_images: Path, tmp_path: Path) -> None:
    folder = find_image_folder(two_images)
    with pytest.raises(UserError, match="image missing"):
        open_image(folder / "none.jpg")
    whole = (folder / picture_name(1)).read_bytes()
    cut = folder / picture_name(2)
    for data in (whole[: len(whole) // 2], whole[:-2], b"", b"not a picture"):
        cut.write_bytes(data)
        assert not ends_properly(cut)
        if data != whole[:-2]:  # PIL forgives a missing end mark alone
            with pytest.raises(UserError, match="unreadable image") as caught:
                open_image(cut)
            assert str(cut) in str(caught.value)


def test_pictures_are_required_before_work_starts(two_images: Path) -> None:
    folder = find_image_folder(two_images)
    infos = [ImageInfo(i, picture_name(i), HEIGHT, WIDTH) for i in (1, 2)]
    require_images(folder, infos)
    path = folder / picture_name(1)
    whole = path.read_bytes()
    path.write_bytes(whole + b"trailing bytes are harmless and must not be taken for damage")
    require_images(folder, infos)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="unreadable"):
        require_images(folder, infos)
    path.unlink()
    with pytest.raises(UserError, match="1 of 2 images missing") as caught:
        require_images(folder, infos)
    assert picture_name(1) in str(caught.value)
