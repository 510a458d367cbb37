"""`amlris predict`: pictures of all kinds, where masks lie, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from amlrepro.cli.main import main
from amlrepro.config import RunConfig, dump_config
from amlrepro.files import write_text
from amlrepro.suite.profile import load_profile, resolve
from amlrepro.suite.store import Store

SENTENCE = "red thing"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no settings of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMLRIS_CONFIG", str(tmp_path / "none.yaml"))
    return tmp_path


@pytest.fixture
def config() -> RunConfig:
    """The smoke profile's CARIS+AML on RefCOCO+."""
    return resolve(load_profile("smoke"), "caris", "inferred", "refcoco+")


@pytest.fixture
def weights(work: Path, config: RunConfig) -> Path:
    """A checkpoint of an untrained smoke model, in a store as that profile's run."""
    import torch

    from amlrepro.data.tokens import Tokenizer
    from amlrepro.engine import checkpoint
    from amlrepro.models import build_model

    torch.manual_seed(0)
    tokenizer = Tokenizer.words(["red thing", "blue thing"])
    model = build_model(config, tokenizer.vocab_size)
    run = Store(work / "results", "smoke").run(config.run_id)
    write_text(run.config, dump_config(config))
    meta = {"config": config.model_dump(mode="json"), "tokenizer": tokenizer.to_json(), "run_id": config.run_id}
    path = run.checkpoint("last")
    checkpoint.write(path, checkpoint.model_tensors(model), {**meta, "epoch": 1, "step": 4, "horizon": 2})
    return path


def call(*arguments: str) -> int:
    """Exit code of `amlris predict ...`."""
    with pytest.raises(SystemExit) as end:
        main(["predict", *arguments])
    return int(end.value.code or 0)


def noise(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """A picture to save."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_overlay_and_mask_are_of_the_pictures_size(
    weights: Path, config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise()).save("a.png")
    assert call("a.png", SENTENCE, "--mask", "m.png", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"] == config.run_id
    assert found["watermark"]
    (row,) = found["masks"]
    mask = np.asarray(Image.open("m.png")) > 0
    assert mask.shape == (40, 60)
    assert Image.open(row["overlay"]).size == (60, 40)
    assert row["overlay"] == "a_red-thing.png"
    assert row["pixels"] == mask.sum() > 0
    assert row["share"] == pytest.approx(mask.sum() / 2400)
    ys, xs = np.nonzero(mask)
    assert row["box"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    assert 0.5 <= row["confidence"] <= 1


def test_the_mask_is_that_of_the_model(weights: Path) -> None:
    """Against the model called by hand on the picture at its own input size."""
    import torch

    from amlrepro.engine.checkpoint import load_for_evaluation

    model, tokenizer, trained = load_for_evaluation(weights)
    side = trained.data.image_size
    pixels = noise(side, side)
    Image.fromarray(pixels).save("a.png")
    assert call("a.png", SENTENCE, "--mask", "m.png") == 0
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    ids, attended = tokenizer.encode(SENTENCE, trained.data.max_tokens)
    with torch.inference_mode():
        normal = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
        output = model(normal, torch.tensor([ids]), torch.tensor([attended]))
        expected = model.predict(output, (side, side))[0].numpy()
    assert (np.asarray(Image.open("m.png")) == expected).mean() > 0.999


def test_without_any_choice_it_takes_the_run_of_figure_8_and_says_so(
    weights: Path, config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise()).save("a.png")
    assert call("a.png", SENTENCE, "wombat") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{config.run_id} (trained on refcoco+, epoch 1 of 2)")
    assert "SYNTHETIC DATA: a test of the machinery" in said
    assert "not in its vocabulary: wombat" in said
    assert Path("a_red-thing.png").exists()
    assert Path("a_wombat.png").exists()
    assert Image.open("a_wombat.png").info["Description"] == f"wombat | {config.run_id}"


def test_an_exif_orientation_is_obeyed(weights: Path) -> None:
    upright = Image.fromarray(noise(40, 60)).resize((60, 40))
    upright.save("a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save("b.png", exif=exif)
    assert call("a.png", SENTENCE, "--mask", "ma.png") == 0
    assert call("b.png", SENTENCE, "--mask", "mb.png") == 0
    assert Image.open("b_red-thing.png").size == (60, 40)
    assert (np.asarray(Image.open("ma.png")) == np.asarray(Image.open("mb.png"))).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "1", "CMYK", "I;16"])
def test_every_mode_is_read(mode: str, weights: Path) -> None:
    from amlrepro.data.images import read_picture

    name = "a.tiff" if mode in ("CMYK", "I;16") else "a.png"
    if mode == "I;16":
        grey = noise()[..., 0]
        Image.fromarray(grey.astype(np.uint16) * 257).save(name)
        assert (np.asarray(read_picture(Path(name)))[..., 0] == grey).all()
    else:
        Image.fromarray(noise()).convert(mode).save(name)
    assert call(name, SENTENCE) == 0


def test_several_sentences_are_numbered_and_merged(weights: Path) -> None:
    Image.fromarray(noise()).save("a.png")
    Path("there").mkdir()
    assert call("a.png", "red thing", " red  thing ", "blue thing", "--out", "o.png", "--mask", "m.png") == 0
    assert {p.name for p in Path().glob("[om]*.png")} == {"o_1.png", "o_2.png", "m_1.png", "m_2.png"}
    assert call("a.png", "red thing", "Red, thing!", "?", "--out", "there") == 0
    assert {p.name for p in Path("there").iterdir()} == {"a_red-thing.png", "a_red-thing_2.png", "a_mask.png"}


def test_existing_files_are_kept_unless_forced(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(noise()).save("a.png")
    Path("o.png").write_text("mine", "utf-8")
    assert call("a.png", SENTENCE, "--out", "o.png") == 2
    assert "this file exists" in capsys.readouterr().err
    assert Path("o.png").read_text("utf-8") == "mine"
    assert call("a.png", SENTENCE, "--out", "o.png", "--force") == 0
    assert Image.open("o.png").size == (60, 40)
    assert call("a.png", SENTENCE, "--out", "a.png", "--force") == 2
    assert "replace the picture itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.jpg", SENTENCE], "no such picture"),
        (["text.jpg", SENTENCE], "this file is no picture"),
        (["torn.jpg", SENTENCE], "this file is no picture"),
        ([".", SENTENCE], "a folder"),
        (["a.png", "  "], "an empty sentence"),
        (["a.png", SENTENCE, "--run", "nothing"], "unknown run 'nothing'"),
        (["a.png", SENTENCE, "--run", "caris", "--checkpoint", "x"], "exclude each other"),
        (["a.png", SENTENCE, "--checkpoint", "none.pth"], "no such checkpoint"),
        (["a.png", SENTENCE, "--checkpoint", "text.jpg"], "text.jpg"),
        (["a.png", SENTENCE, "--run", "caris", "--model", "detris"], "a checkpoint of another model"),
        (["a.png", SENTENCE, "--run", "caris", "--model", "karis"], "unknown model 'karis'"),
        (["a.png", SENTENCE, "--profile", "paper"], "neither --run nor --checkpoint"),
        (["a.png", SENTENCE, "--profile", "papr"], "unknown profile 'papr'"),
        (["a.png", SENTENCE, "--out", "o.jpg"], "PNG"),
        (["a.png", SENTENCE, "--out", "o.png", "--mask", "o.png"], "files of their own"),
    ],
)
def test_mistakes_exit_with_2_and_write_nothing(
    arguments: list[str], says: str, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise()).save("a.png")
    Path("text.jpg").write_text("no picture", "utf-8")
    Image.fromarray(noise(200, 300)).save("whole.jpg")
    Path("torn.jpg").write_bytes(Path("whole.jpg").read_bytes()[:9000])
    before = sorted(Path().iterdir())
    assert call(*arguments) == 2
    output = capsys.readouterr()
    assert says in output.err
    assert output.err.count("error:") == 1
    assert sorted(Path().iterdir()) == before


def test_real_pictures(weights: Path, shared: Path) -> None:
    for path in sorted((shared / "data" / "flickr30k_mini").glob("*.png"))[:2]:
        assert call(str(path), SENTENCE, "--out", "o.png", "--force") == 0
        assert Image.open("o.png").size == Image.open(path).size
