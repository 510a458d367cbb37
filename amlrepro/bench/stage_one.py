"""What AML's forward-only first pass costs (Table 9), and whether its masks are those of a plain one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn.functional import normalize

from amlrepro.aml.masking import TwoStage
from amlrepro.aml.pmme import select_tokens
from amlrepro.aml.projection import GaussianPair
from amlrepro.aml.strategies import in_mode
from amlrepro.bench.cost import vocabulary
from amlrepro.bench.spec import Gate, Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.config import RunConfig
from amlrepro.data.batch import Batch
from amlrepro.engine.measures import apply_measures
from amlrepro.engine.numerics import seed_torch
from amlrepro.engine.synthetic import build_step, precision_of, step_function, synthetic_batch
from amlrepro.models.contract import RISModel
from amlrepro.suite.profile import bench_configs

ROUNDS = 30
GATE_BATCHES = 8
SAME_BLOCKS = 0.999


def time_overhead(setting: Setting) -> Measurement:
    """Seconds of an optimiser step of CARIS and of CARIS+AML on the same noise, as the official code computes it."""
    return _measure(setting, "faithful")


def time_overhead_fast(setting: Setting) -> Measurement:
    """The same with `train.numerics: fast` on both sides."""
    return _measure(setting, "fast")


def _measure(setting: Setting, numerics: str) -> Measurement:
    configs = {
        side: config.with_changes({"train.numerics": numerics}) for side, config in bench_configs(setting.sizes).items()
    }
    masked = list(configs.values())[1]
    batches = 2 if setting.sizes == "paper" else GATE_BATCHES
    same = share_of_equal_blocks(masked, vocabulary(masked), setting.device, batches)
    steps = {side: step_function(config, vocabulary(config), setting.device) for side, config in configs.items()}
    gate = Gate("share of equal blocks", same, f"at least {SAME_BLOCKS}", same >= SAME_BLOCKS)
    details = {"batch": next(iter(configs.values())).train.batch, "numerics": numerics}
    return Measurement(alternate(steps, setting.rounds or ROUNDS, warmup=3), gate=gate, details=details)


def share_of_equal_blocks(config: RunConfig, vocab_size: int, device: str, batches: int) -> float:
    """How many of AML's blocks are the same as after a plain first pass of the same precision and random state."""
    model, strategy = build_step(config, vocab_size, device)
    assert isinstance(strategy, TwoStage)
    plain, reference = copy.deepcopy((model, strategy))
    apply_measures(config, model, strategy)
    precision, same, total = precision_of(config, model, device), 0, 0
    for update in range(batches):
        batch = synthetic_batch(config, vocab_size, device, update)
        with precision.autocast():
            seed_torch(config.seed, "update", update)
            ours = strategy.blank(strategy.stage_one(model, batch), batch)
            seed_torch(config.seed, "update", update)
            theirs = strategy.blank(plain_stage_one(reference, plain, batch), batch)
        same, total = same + int((ours == theirs).sum()), total + ours.numel()
    return same / total


@torch.no_grad()
def plain_stage_one(strategy: TwoStage, model: RISModel, batch: Batch) -> Tensor:
    """S [B, h, w] as Algorithm 1 and Eqs. 3 to 7 print it: everything is encoded, and both modalities are projected."""
    with in_mode(model, strategy.mode):
        encoded = model.encode(batch.image, batch.input_ids, batch.attention_mask)
    vision, text = (features.float() for features in model.pmme_features(encoded))
    settings, projection = strategy.settings, strategy.pmme.projection
    assert isinstance(projection, GaussianPair)
    if settings.normalize == "l2":
        vision, text = normalize(vision, dim=-1), normalize(text, dim=-1)
    with torch.autocast(vision.device.type, enabled=False):
        projected, words = vision @ projection.vision, text @ projection.text
        scores = settings.scale * (projected @ words.transpose(1, 2))
    selected = select_tokens(settings.tokens, encoded.textual.mask, batch.input_ids, strategy.end_mark)
    best = scores.masked_fill(~selected[:, None, :], float("-inf")).softmax(-1).amax(-1)
    return best.reshape(-1, *encoded.visual.levels[-1].shape[-2:])
