"""Maps of Z+ and Z-: the model's own decision, the pictures as the network gets them, the same samples for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny_refer import make_refer, method_config, tiny_config

from amlrepro.config import ProbeConfig, RunConfig
from amlrepro.engine.checkpoint import load_for_evaluation
from amlrepro.engine.probes import run_probe
from amlrepro.engine.train import train
from amlrepro.errors import UserError
from amlrepro.metrics.probes import bulk_path, read_record
from amlrepro.rundir import RunDir

MAPS = ProbeConfig(kind="maps", dataset="refcoco", split="val", pairs=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_refer(tmp_path_factory.mktemp("refer") / "data", train=4, val=5)


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[str, tuple[RunDir, RunConfig]]:
    """A few updates at a high rate: masks are neither everything nor nothing."""
    short: dict[str, Any] = {"train.horizon": 1, "exec.validate_at": (), "train.lr": 3e-2}
    configs = {
        "caris": tiny_config(root, **short),
        "rela": method_config(root, "rela", **{**short, "data.train": "refcoco", "train.class_weights": (0.1, 9.9)}),
        "detris": method_config(root, "detris", **short),
    }
    out = {name: (RunDir(root.parent / name), config) for name, config in configs.items()}
    for run, config in out.values():
        train(config, run)
    return out


def maps(of: tuple[RunDir, RunConfig], probe: ProbeConfig) -> tuple[Any, list[dict[str, Any]]]:
    run, config = of
    run_probe(run, config, probe)
    path = run.probes / f"{probe.probe_id}.json"
    with np.load(bulk_path(path), allow_pickle=False) as arrays:
        return dict(arrays), read_record(path)["samples"]


@pytest.mark.parametrize("name", ["caris", "rela", "detris"])
def test_the_mask_is_where_z_plus_is_larger(runs: dict[str, tuple[RunDir, RunConfig]], name: str) -> None:
    arrays, samples = maps(runs[name], MAPS)
    assert len(arrays) == 3 * 5
    model, tokenizer, config = load_for_evaluation(runs[name][0].checkpoint("last"))
    for sample in samples:
        i = sample["index"]
        plus, minus, mask, target = (arrays[f"{part}_{i}"] for part in ("zplus", "zminus", "mask", "target"))
        assert {plus.dtype, minus.dtype} == {np.dtype(np.float32)}
        assert plus.shape == minus.shape == mask.shape == target.shape == (112, 112)
        assert np.array_equal(plus > minus, mask)
        pixels = torch.from_numpy(arrays[f"image_{i}"]).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.protocol.mean, model.protocol.std))
        ids, words = tokenizer.encode(sample["sentence"], config.data.max_tokens)
        with torch.no_grad():
            output = model((pixels - mean) / std, torch.tensor([ids]), torch.tensor([words]))
        disagree = model.predict(output, (112, 112))[0].numpy() != mask
        assert disagree.mean() < 1e-3
        union = (mask | target).sum()
        assert sample["iou"] == pytest.approx((mask & target).sum() / union)
        if name == "detris":
            assert np.ptp(minus) == 0
            chance = 1 / (1 + np.exp(-plus.astype(np.float64)))
            odds = model.probability(output, (112, 112))[0].detach().numpy().clip(1e-6, 1 - 1e-6)
            np.testing.assert_allclose(chance, odds, atol=1e-4)


def test_pictures_are_what_the_network_gets(runs: dict[str, tuple[RunDir, RunConfig]], root: Path) -> None:
    """Same samples for models of one protocol and of two; distinct pictures; a longer list begins as a shorter."""
    arrays, samples = maps(runs["caris"], MAPS)
    tables = json.loads((root / "refcoco" / "instances.json").read_text())
    names = {image["id"]: image["file_name"] for image in tables["images"]}
    for sample in samples:
        picture = Image.open(root / "train2014" / names[sample["image_id"]]).convert("RGB")
        assert (sample["width"], sample["height"]) == picture.size
        stretched = np.asarray(picture.resize((112, 112), Image.Resampling.BILINEAR))
        assert np.array_equal(arrays[f"image_{sample['index']}"], stretched)
    others = [maps(runs[name], MAPS)[1] for name in ("rela", "detris")]
    ids = [(s["index"], s["ref_id"], s["sent_id"]) for s in samples]
    assert all([(s["index"], s["ref_id"], s["sent_id"]) for s in other] == ids for other in others)
    more = maps(runs["caris"], MAPS.model_copy(update={"pairs": 50}))[1]
    assert [s["sent_id"] for s in more[:3]] == [s["sent_id"] for s in samples]
    assert len({s["image_id"] for s in more}) == len(more) == 5


@pytest.mark.parametrize("name", ["caris", "detris"])
def test_listed_pictures(runs: dict[str, tuple[RunDir, RunConfig]], root: Path, name: str) -> None:
    """A list beside the pictures, relative to the data root. The same picture and sentence give the same maps."""
    drawn, samples = maps(runs[name], MAPS)
    tables = json.loads((root / "refcoco" / "instances.json").read_text())
    names = {image["id"]: image["file_name"] for image in tables["images"]}
    entries = [{"image": names[s["image_id"]], "sentence": s["sentence"]} for s in samples]
    (root / "train2014" / "pictures.yaml").write_text(yaml.safe_dump(entries))
    arrays, listed = maps(runs[name], ProbeConfig(kind="maps", pictures="train2014/pictures.yaml"))
    assert [(s["index"], s["picture"], s["sentence"]) for s in listed] == [
        (i, entry["image"], entry["sentence"]) for i, entry in enumerate(entries)
    ]
    sizes = [[(s["height"], s["width"]) for s in which] for which in (listed, samples)]
    assert sizes[0] == sizes[1]
    assert not any(key.startswith("target") for key in arrays)
    for i in range(3):
        assert np.array_equal(arrays[f"image_{i}"], drawn[f"image_{i}"])
        np.testing.assert_allclose(arrays[f"zplus_{i}"], drawn[f"zplus_{i}"], rtol=1e-3, atol=1e-4)


def test_wrong_lists_are_refused(runs: dict[str, tuple[RunDir, RunConfig]], root: Path) -> None:
    run, config = runs["caris"]
    lists: dict[str, tuple[Any, str]] = {
        "kind.yaml": ({"image": "a.png"}, "list of pictures"),
        "entry.yaml": (["a.png"], "not an entry"),
        "key.yaml": ([{"image": "a.png", "sentense": "x"}], "entry 0"),
        "gone.yaml": ([{"image": "a.png", "sentence": "x"}], "a.png"),
    }
    for name, (content, message) in lists.items():
        (root / name).write_text(yaml.safe_dump(content))
        with pytest.raises(UserError, match=message):
            run_probe(run, config, ProbeConfig(kind="maps", pictures=name))
    with pytest.raises(UserError, match="no such list"):
        run_probe(run, config, ProbeConfig(kind="maps", pictures="none.yaml"))
