"""The training steps: what is called, in which mode, what gets gradient, what a mask depends on."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from fake_model import FakeModel, batch, protocol, tokenizer
from torch import Tensor

from amlrepro.aml.afm import apply_mask
from amlrepro.aml.masking import ForwardOnly
from amlrepro.aml.pmme import select_tokens
from amlrepro.aml.presets import PRESETS, preset
from amlrepro.aml.strategies import Plain, Strategy, build_strategy, in_mode
from amlrepro.config import RunConfig
from amlrepro.data.clip_tokens import ClipTokenizer
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.errors import UserError
from amlrepro.models.contract import Encoded, Textual, Visual


def config(name: str, **changes: object) -> RunConfig:
    small = {"data.image_size": 64, "data.max_tokens": 8, "afm.block": 8, "pmme.dim": 64}
    return RunConfig().with_changes({**preset(name), **small, **{k.replace("__", "."): v for k, v in changes.items()}})


def made(name: str, model: FakeModel, **changes: object) -> Strategy:
    """A strategy, with the calls of its set-up forgotten."""
    strategy = build_strategy(config(name, **changes), model, tokenizer())
    model.calls.clear()
    model.modes.clear()
    model.images.clear()
    return strategy


def test_plain_is_the_models_own_loss() -> None:
    model = FakeModel("eval").eval()
    strategy = made("baseline", model)
    assert isinstance(strategy, Plain)
    data = batch()
    losses = strategy.losses(model, data)
    output = model(data.image, data.input_ids, data.attention_mask)
    assert losses["loss"].item() == model.loss(output, data.target)["loss"].item()
    assert losses["loss"].requires_grad
    assert not losses["cross_entropy"].requires_grad
    assert strategy.pop_stats()["untouched"] == 1


def test_algorithm_1() -> None:
    """Encoders twice, the first time without gradient; decoder once; the loss is that of the masked image."""
    model = FakeModel().train()
    strategy = made("inferred", model)
    assert isinstance(strategy, ForwardOnly)
    data = batch()
    whole = data.image.clone()
    losses = strategy.losses(model, data)
    assert model.calls == {"vision": 2, "text": 2, "decoder": 1}
    assert [grad for _, _, grad in model.modes] == [False, False, True, True]
    assert torch.equal(model.images[0], whole)
    assert torch.equal(data.image, whole), "the batch keeps its whole images"
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    stats = strategy.pop_stats()
    masked = model.images[1]
    blocks = (masked.reshape(4, 3, 8, 8, 8, 8) == 0).all(5).all(3).all(1)
    assert torch.equal(masked, apply_mask(whole, blocks))
    assert stats["masked_blocks"] == pytest.approx(blocks.float().mean().item())
    assert 0 < stats["masked_blocks"] < stats["weak_blocks"] < 1


def test_stage_one_by_hand() -> None:
    """S and the blanked blocks from the model's features, worked out again with plain tensor algebra."""
    model = FakeModel("eval").eval()
    strategy = made("inferred", model, afm__rho=1.0)
    assert isinstance(strategy, ForwardOnly)
    data = batch()
    strategy.losses(model, data)
    visual = model.encode_image(data.image)
    text = model.encode_text(data.input_ids, data.attention_mask, visual).tokens
    state = strategy.state_dict()
    vision = visual.levels[-1].flatten(2).transpose(1, 2) @ state["pmme.projection.vision"]
    logits = torch.einsum("bmd,bnd->bmn", vision, text @ state["pmme.projection.text"])
    similarity = logits.softmax(-1).max(-1).values.reshape(4, 8, 8)
    assert torch.equal(model.images[1], apply_mask(data.image, similarity < 0.4))


@pytest.mark.parametrize(
    ("own", "asked", "trains"),
    [("train", "protocol", True), ("eval", "protocol", False), ("eval", "train", True), ("train", "eval", False)],
)
def test_mode_of_stage_one(own: Literal["train", "eval"], asked: str, trains: bool) -> None:
    """Q06: as the model's protocol says, unless the configuration does; all modes as before afterwards."""
    model = FakeModel(stage_one_mode=own).train()
    model.frozen.eval()
    strategy = made("inferred", model, pmme__mode=asked)
    before = [module.training for module in model.modules()]
    strategy.losses(model, batch())
    assert [training for _, training, _ in model.modes] == [trains, trains, True, True]
    assert [module.training for module in model.modules()] == before


def test_modes_are_restored_after_an_error() -> None:
    model = FakeModel().train()
    model.frozen.eval()

    def fail() -> None:
        with in_mode(model, "eval"):
            assert not any(module.training for module in model.modules())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert [name for name, module in model.named_modules() if not module.training] == ["frozen"]


def test_joint_step_calls() -> None:
    """Released: vision 3, text 3, decoder 2, both passes in training mode; the masked image is encoded last."""
    model = FakeModel().train()
    strategy = made("released", model)
    data = batch()
    losses = strategy.losses(model, data)
    assert model.calls == {"vision": 3, "text": 3, "decoder": 2}
    assert all(training for _, training, _ in model.modes)
    assert torch.equal(model.images[0], model.images[1])
    assert not torch.equal(model.images[1], model.images[2])
    halves = 0.5 * losses["loss_whole"] + 0.5 * losses["loss_masked"]
    assert losses["loss"].item() == pytest.approx(halves.item())
    assert strategy.pop_stats()["masked_blocks"] > 0


def test_joint_step_gradient_is_that_of_two_backward_passes() -> None:
    """The released procedure written out: backward of half the plain loss, then of half the masked loss."""
    data = batch()
    model = FakeModel("eval").eval()
    strategy = made("released", model)
    strategy.losses(model, data)["loss"].backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    masked_image = model.images[2]

    other = FakeModel("eval").eval()
    inputs = (data.input_ids, data.attention_mask)
    (0.5 * other.loss(other(data.image, *inputs), data.target)["loss"]).backward()
    text = other.encode(data.image, *inputs).textual
    vision = other.encode_image(masked_image)
    (0.5 * other.loss(other.segment(Encoded(vision, text, (64, 64))), data.target)["loss"]).backward()
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


class Recording(FakeModel):
    """Keeps what its encoders gave, with gradients."""

    def __init__(self) -> None:
        super().__init__("eval")
        self.vision: list[Tensor] = []
        self.text: list[Tensor] = []

    def encode_image(self, image: Tensor) -> Visual:
        visual = super().encode_image(image)
        self.vision.append(visual.levels[-1])
        return visual

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor, visual: Visual) -> Textual:
        textual = super().encode_text(input_ids, attention_mask, visual)
        self.text.append(textual.tokens)
        return textual


def test_joint_gradient_paths() -> None:
    """Swin is trained on both images, BERT on the whole one: of the masked pass, gradient reaches the second encoding
    of the whole image (its vision through the prompts) and the masked image's vision, not the text read beside it.
    """
    model = Recording().eval()
    strategy = build_strategy(config("released"), model, tokenizer())
    model.vision.clear()
    model.text.clear()
    loss = strategy.losses(model, batch())["loss"]
    for tensor in (*model.vision, *model.text[:2]):
        tensor.retain_grad()
    loss.backward()
    assert [tensor.grad is not None for tensor in model.vision] == [True, True, True]
    assert [tensor.grad is not None for tensor in model.text[:2]] == [True, True]
    assert not model.text[2].requires_grad


@pytest.mark.parametrize("name", ["inferred", "literal", "released"])
def test_no_gradient_reaches_pmme(name: str) -> None:
    model = FakeModel().train()
    strategy = made(name, model)
    before = {key: value.clone() for key, value in strategy.state_dict().items() if "projection" in key}
    assert before
    assert not list(strategy.parameters())
    strategy.losses(model, batch())["loss"].backward()
    for key, value in before.items():
        after = strategy.state_dict()[key]
        assert torch.equal(after, value)
        assert after.grad is None


@pytest.mark.parametrize("name", ["inferred", "literal", "released", "random"])
def test_masks_depend_on_seed_and_sample_only(name: str) -> None:
    """Not on the order in the batch, on how ranks share it, on the update's number or on the global random state."""

    def masked(positions: list[int], seed: int = 0, update: int = 0) -> Tensor:
        torch.manual_seed(len(positions) + update)
        model = FakeModel("eval").eval()
        strategy = made(name, model, seed=seed)
        data = batch(n=6, update=update)
        rows = torch.tensor(positions)
        for field in ("image", "input_ids", "attention_mask", "target", "index"):
            setattr(data, field, getattr(data, field)[rows])
        strategy.losses(model, data)
        return (model.images[-1] == 0).all(1)

    whole = masked([0, 1, 2, 3, 4, 5])
    assert torch.equal(masked([5, 3, 1], update=7), whole[[5, 3, 1]])
    assert torch.equal(masked([2]), whole[2:3])
    if name != "literal":
        assert not torch.equal(masked([0, 1, 2, 3, 4, 5], seed=1), whole)


def test_literal_shows_what_it_blacks_out() -> None:
    """Three real tokens or more: every block goes. Sentences of 2, 3, 4 and 5 tokens: three of four images."""
    model = FakeModel().train()
    strategy = made("literal", model, pmme__dim=2048)
    strategy.losses(model, batch())
    stats = strategy.pop_stats()
    assert stats["fully_masked"] == stats["masked_blocks"] == 0.75
    assert stats["untouched"] == 0.25
    assert stats["s_mean"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4, abs=0.01)


def test_statistics_are_means_since_the_last_call() -> None:
    model = FakeModel("eval").eval()
    strategy = made("inferred", model)
    parts = []
    for start in (0, 4):
        strategy.losses(model, batch(start=start))
        parts.append(strategy.pop_stats())
    for start in (0, 4):
        strategy.losses(model, batch(start=start))
    both = strategy.pop_stats()
    for key in ("masked_blocks", "weak_pixels", "s_mean", "untouched"):
        assert both[key] == pytest.approx((parts[0][key] + parts[1][key]) / 2)
    assert strategy.pop_stats() == {}


def test_state_goes_with_the_checkpoint() -> None:
    """The projection of another seed is replaced by the saved one, and then masks are equal."""
    model = FakeModel("eval").eval()
    first, second = made("inferred", model), made("inferred", model, seed=9)
    second.load_state_dict(first.state_dict())
    second.seed = first.seed
    images = []
    for strategy in (first, second):
        strategy.losses(model, batch())
        images.append(model.images[-1])
    assert torch.equal(*images)


def test_gradients_under_autocast_equal_those_of_a_single_pass() -> None:
    """Stage one casts weights without gradient inside the same autocast region; stage two must not reuse them."""
    data = batch()
    model = FakeModel("eval").eval()
    strategy = made("inferred", model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        strategy.losses(model, data)["loss"].backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    data.image = model.images[-1]
    other = FakeModel("eval").eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made("baseline", other).losses(other, data)["loss"].backward()
    for name, parameter in other.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad)


def test_joint_is_refused_where_vision_contains_text() -> None:
    model = FakeModel()
    model.protocol = protocol(vision_text_free=False)
    with pytest.raises(UserError, match="free of text"):
        build_strategy(config("released"), model, tokenizer())
    build_strategy(config("inferred"), model, tokenizer())


def test_joint_has_no_stage_one_in_evaluation_mode() -> None:
    with pytest.raises(UserError, match=r"pmme\.mode"):
        build_strategy(config("released", pmme__mode="eval"), FakeModel(), tokenizer())


def test_blocks_that_do_not_divide_the_image_are_refused_at_once() -> None:
    for name in sorted(set(PRESETS) - {"baseline", "maskris"}):
        with pytest.raises(UserError, match="do not fill"):
            build_strategy(config(name, afm__block=24), FakeModel(), tokenizer())


def test_setting_up_leaves_no_trace() -> None:
    """Measuring the feature widths moves neither the random state nor the model's modes."""
    model = FakeModel().train()
    model.frozen.eval()
    before, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    statistics = {key: value.clone() for key, value in model.state_dict().items()}
    build_strategy(config("inferred"), model, tokenizer())
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, statistics[key]) for key, value in model.state_dict().items())


def clip() -> Tokenizer:
    """CLIP's own ids where its vocabulary is installed."""
    pytest.importorskip("open_clip", reason="open-clip-torch carries the vocabulary")
    return ClipTokenizer.find()


@pytest.mark.parametrize(
    ("make", "end"),
    [
        (lambda: Tokenizer("words", [*SPECIAL, "red", "box"]), 3),
        (lambda: Tokenizer("bert", [*(f"w{i}" for i in range(100)), *SPECIAL, "red", "box"]), 103),
        (Tokenizer.bert, 102),
        (clip, 49407),
    ],
)
def test_word_tokens_leave_out_the_marks_of_every_vocabulary(make: Callable[[], Tokenizer], end: int) -> None:
    """Of "red box" two tokens take part, whichever id the vocabulary closes sentences with."""
    words = make()
    strategy = build_strategy(config("inferred", pmme__tokens="words"), FakeModel(), words)
    assert isinstance(strategy, ForwardOnly)
    assert strategy.end_mark == end
    ids, mask = (torch.tensor([row]) for row in words.encode("red box", 8))
    assert ids[0, 3] == end
    chosen = select_tokens("words", mask, ids, strategy.end_mark)
    assert chosen[0].tolist() == [False, True, True, False, False, False, False, False]
