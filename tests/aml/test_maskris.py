"""MaskRIS's training: what is masked, what the second pass learns from, what it cannot be combined with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from fake_model import FakeModel, batch, tokenizer
from torch import Tensor

from amlrepro.aml.draws import sample_generators
from amlrepro.aml.maskris import MaskRIS, corrupt_words
from amlrepro.aml.presets import preset
from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig
from amlrepro.data.clip_tokens import ClipTokenizer
from amlrepro.data.tokens import SPECIAL, Tokenizer
from amlrepro.errors import UserError
from amlrepro.models.contract import Output

WEIGHTS = (0.9, 1.1)


class Soft(FakeModel):
    """Learns from probabilities; keeps the words it was given and the targets of its second pass."""

    def __init__(self) -> None:
        super().__init__("eval")
        self.words_seen: list[Tensor] = []
        self.outputs: list[Output] = []
        self.taught: list[Tensor] = []

    def forward(self, image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Output:
        self.words_seen.append(input_ids)
        self.outputs.append(super().forward(image, input_ids, attention_mask))
        return self.outputs[-1]

    def soft_loss(self, output: Output, probability: Tensor) -> Tensor:
        self.taught.append(probability)
        logs = output.logits.log_softmax(1)
        weight = torch.tensor(WEIGHTS).view(1, 2, 1, 1)
        return -(weight * probability * logs).sum(1).mean()


def config(**changes: object) -> RunConfig:
    small = {"data.image_size": 64, "data.max_tokens": 8, "afm.block": 8}
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return RunConfig().with_changes({**preset("maskris"), **small, **dotted})


def draws(n: int) -> Sequence[torch.Generator]:
    return sample_generators(0, torch.arange(n), "maskris words")


def test_one_update_by_hand() -> None:
    """Half the own loss on the whole sample, half a soft cross-entropy towards its detached softmax."""
    model = Soft().eval()
    data = batch(n=4)
    strategy = build_strategy(config(maskris__words=0.5), model, tokenizer())
    assert isinstance(strategy, MaskRIS)
    model.taught.clear()
    losses = strategy.losses(model, data)
    assert model.calls == {"vision": 2, "text": 2, "decoder": 2}
    assert all(grad for _, _, grad in model.modes), "both passes learn"

    first, second = model.outputs
    (taught,) = model.taught
    odds = (first.logits[:, 1] - first.logits[:, 0]).sigmoid()  # softmax of two classes
    torch.testing.assert_close(taught[:, 1], odds)
    assert not taught.requires_grad
    whole = model.loss(first, data.target)["loss"]
    margin = second.logits[:, 1] - second.logits[:, 0]
    logs = torch.nn.functional.logsigmoid
    masked = -(0.9 * (1 - odds) * logs(-margin) + 1.1 * odds * logs(margin)).mean()
    assert losses["loss"].item() == pytest.approx(0.5 * whole.item() + 0.5 * masked.item(), rel=1e-5)
    assert losses["loss_whole"].item() == pytest.approx(whole.item())
    assert losses["loss_masked"].item() == pytest.approx(masked.item(), rel=1e-5)
    assert not losses["loss_whole"].requires_grad

    assert torch.equal(model.images[0], data.image)
    assert torch.equal(model.words_seen[0], data.input_ids)
    assert not torch.equal(model.words_seen[1], data.input_ids)
    losses["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_49_of_196_blocks_are_kept() -> None:
    """The released setting: 448 pixels in blocks of 32. Every sample keeps as many, at other places."""
    model = Soft().eval()
    strategy = build_strategy(config(data__image_size=448, afm__block=32), model, tokenizer())
    strategy.losses(model, batch(size=448, n=3))
    cut = model.images[1].reshape(3, 3, 14, 32, 14, 32)
    blank = (cut == 0).all(5).all(3).all(1).flatten(1)
    assert (~blank).sum(1).tolist() == [49, 49, 49]
    assert not torch.equal(blank[0], blank[1])
    whole = model.images[0].reshape(3, 3, 14, 32, 14, 32)
    kept = ~blank.reshape(3, 1, 14, 1, 14, 1)
    assert torch.equal(cut, whole * kept)
    assert strategy.pop_stats()["masked_blocks"] == 147 / 196


@pytest.mark.parametrize(("keep", "blocks"), [(0.25, 16), (0.3, 19), (0.0, 0), (1.0, 64)])
def test_the_number_of_kept_blocks_is_cut_down(keep: float, blocks: int) -> None:
    strategy = build_strategy(config(maskris__keep=keep), Soft(), tokenizer())
    assert isinstance(strategy, MaskRIS)
    assert strategy.kept == blocks  # 64 blocks: 0.3 of them are 19.2


def test_shares_of_words() -> None:
    """Of 60,000 ordinary tokens 15 % are selected: 12 % become [MASK], 1.5 % another piece (one in 110 itself)."""
    words = tokenizer()
    ids = torch.full((3000, 20), 7)
    out = corrupt_words(ids, 0.15, words, draws(3000))
    n = ids.numel()
    masked = int((out == words.mask_id).sum())
    replaced = int(((out != 7) & (out != words.mask_id)).sum())
    assert masked / n == pytest.approx(0.12 + 0.015 / 110, abs=4 * (0.12 * 0.88 / n) ** 0.5)
    assert replaced / n == pytest.approx(0.015 * 108 / 110, abs=4 * (0.015 * 0.985 / n) ** 0.5)
    drawn = out[(out != 7) & (out != words.mask_id)]
    assert set(drawn.tolist()) >= {0, 101, 109}, "any piece of the vocabulary, special ones too"
    assert int(drawn.max()) == 109


@pytest.mark.parametrize(
    ("words", "special"),
    [(tokenizer(), (0, 100, 101, 102, 103)), (Tokenizer("words", [*SPECIAL, "red", "box"]), range(5))],
)
def test_special_pieces_are_never_selected(words: Tokenizer, special: Sequence[int]) -> None:
    ids = torch.tensor([list(special) * 4]).expand(200, -1)
    assert torch.equal(corrupt_words(ids, 1.0, words, draws(200)), ids)
    ordinary = torch.full((200, 20), 6)
    changed = corrupt_words(ordinary, 1.0, words, draws(200))
    assert 0.75 < float((changed == words.mask_id).float().mean()) < 0.97
    assert torch.equal(corrupt_words(ordinary, 0.0, words, draws(200)), ordinary)


def test_draws_depend_on_seed_and_sample_alone() -> None:
    seen = []
    for n, start in ((4, 0), (2, 2)):
        model = Soft().eval()
        build_strategy(config(maskris__words=1.0), model, tokenizer()).losses(model, batch(n=n, start=start))
        seen.append((model.images[1], model.words_seen[1]))
    assert torch.equal(seen[0][0][2:], seen[1][0])
    assert torch.equal(seen[0][1][2:], seen[1][1])
    other = Soft().eval()
    build_strategy(config(seed=1), other, tokenizer()).losses(other, batch(n=4))
    assert not torch.equal(other.images[1], seen[0][0])


def test_a_vocabulary_without_mask_is_refused() -> None:
    with pytest.raises(UserError, match="no piece for a masked word"):
        build_strategy(config(), Soft(), ClipTokenizer(["t h", "th e</w>"]))


def test_models_with_another_loss_are_refused() -> None:
    with pytest.raises(UserError, match="cross-entropy"):
        build_strategy(config(), FakeModel(), tokenizer())


def test_the_joint_step_and_uneven_blocks_are_refused() -> None:
    with pytest.raises(UserError, match="forward_only"):
        build_strategy(config(train__step="joint"), Soft(), tokenizer())
    with pytest.raises(UserError, match="do not fill"):
        build_strategy(config(afm__block=24), Soft(), tokenizer())
