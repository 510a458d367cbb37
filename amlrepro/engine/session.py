"""What a training loop works on: model, data and optimiser, where the run stands, and what it leaves on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from amlrepro.aml.strategies import build_strategy
from amlrepro.config import RunConfig, dump_config, parse_config
from amlrepro.data.batch import Batch
from amlrepro.data.loader import open_training
from amlrepro.engine import checkpoint, provenance
from amlrepro.engine.distributed import ALONE, TrainingStep, World
from amlrepro.engine.history import Journal, Stopwatch, Totals, memory_mb
from amlrepro.engine.limits import last_epoch, require_finite
from amlrepro.engine.measures import apply_measures
from amlrepro.engine.numerics import choose_precision, seed_torch, set_up_process
from amlrepro.engine.optim import build_optimizer, clip_gradients, lr_factor, set_rate
from amlrepro.engine.signals import Interrupted, StopSignals
from amlrepro.engine.validation import open_validation
from amlrepro.errors import UserError
from amlrepro.files import write_text
from amlrepro.models import build_model
from amlrepro.models.layers.batch_norm import over_processes
from amlrepro.models.registry import get_spec
from amlrepro.rundir import RunDir


class Session:
    """One process at work on one run, alone or as one of `world`. `step` counts finished updates, `closed` epochs whose
    row is written."""

    def __init__(self, config: RunConfig, run: RunDir, journal: Journal, world: World = ALONE) -> None:
        """Build everything and go on from `last` if it is there. Raises `UserError` before anything is written."""
        self.config, self.run, self.journal, self.world = config, run, journal, world
        self.device = set_up_process(config.exec)
        protocol = get_spec(config.model.name).protocol
        self.data = open_training(config, protocol)
        seed_torch(config.seed, "weights")
        self.model = build_model(config, self.data.tokenizer.vocab_size).to(self.device).train()
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.precision = choose_precision(self.device, config.train.numerics, protocol.precision, parameters)
        if not world.alone:
            over_processes(self.model, self.device)
        seed_torch(config.seed, "strategy")
        self.strategy = build_strategy(config, self.model, self.data.tokenizer).to(self.device).train()
        self.optimizer = build_optimizer(self.model, self.strategy, config.train)

        self.steps_per_epoch = self.data.steps_per_epoch
        self.total = config.train.horizon * self.steps_per_epoch
        self.stop = last_epoch(config) * self.steps_per_epoch
        self.validation = open_validation(config, self.data.tokenizer, protocol)
        chosen = config.exec.validate_at
        self.validate_at = frozenset(protocol.validate(config.train.horizon) if chosen is None else chosen)

        self.step = self.closed = 0
        self.best: dict[str, Any] | None = None
        self.window, self.epoch = Totals(self.device), Totals(self.device)
        self.window_watch, self.epoch_watch = Stopwatch(), Stopwatch()
        self.loss: float | None = None
        self.pace = 0.0  # seconds an update, running mean
        self._resume()
        apply_measures(config, self.model, self.strategy)
        step = TrainingStep(self.model, self.strategy, world, config.train.batch)
        self.training_step = world.replicate(step, fixed_order=config.exec.deterministic)
        if not world.is_main:
            for sums in self.strategy.sums():
                sums.zero_()  # what a checkpoint holds has been summed by the main process
        self._saved_at, self._saved_step = time.monotonic(), self.step

    def begin(self) -> None:
        """First writes: configuration, provenance, state; drop what lies beyond the point training goes on from."""
        processes = self.world.described(self.device)
        if self.world.is_main:
            self._begin_folder(processes)
        for watch in (self.window_watch, self.epoch_watch):
            watch.resume()

    def _begin_folder(self, processes: dict[str, Any]) -> None:
        self.run.checkpoints.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_torn(self.run.checkpoints)
        self.run.beat()
        if not self.run.config.exists():
            write_text(self.run.config, dump_config(self.config))
        self.journal.forget_after(self.step, self.closed)
        provenance.begin(self.run, self.config, self._data_facts(), self.step, processes)
        self.journal.state("running", **self.progress())
        if self.step == 0 and 0 in self.config.exec.milestones:
            self._save_weights("epoch0")

    def batches(self) -> Iterator[Batch]:
        """This process's share of every batch that is left."""
        return self.data.batches(self.step, self.stop, self.world.rank, self.world.size)

    def update(self, batch: Batch) -> tuple[Tensor, Tensor, float]:
        """One optimiser step on a batch: its loss, the gradient norm before clipping (scalars) and the largest rate.

        With several processes each has its share of the batch; loss and norm are those of the whole.
        """
        seed_torch(self.config.seed, "update", batch.update, self.world.rank)
        rate = set_rate(self.optimizer, lr_factor(batch.update, self.total, self.config.train))
        with self.precision.autocast():
            loss: Tensor = self.training_step(batch.to(self.device))
        scaler = self.precision.scaler
        torch.autograd.backward(scaler.scale(loss))
        scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.optimizer, self.config.train.clip)
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return self.world.mean(loss), norm, rate

    def after_update(self, loss: Tensor, norm: Tensor, rate: float) -> None:
        """Count one update; write a `step` row when a window is full. Raises `UserError` when training has diverged."""
        self.step += 1
        pace = -self.window_watch.seconds
        for totals, watch in ((self.window, self.window_watch), (self.epoch, self.epoch_watch)):
            totals.add(loss, norm)
            watch.lap(self.config.train.batch)
        pace += self.window_watch.seconds
        self.pace = pace if not self.pace else 0.95 * self.pace + 0.05 * pace
        if self.device == "cpu":
            self._require_finite()
        if self.journal.due:
            self.journal.state("running", **self.progress())
        if self.step % self.config.exec.log_every == 0:
            self._require_finite()
            self.journal.row(
                "step",
                step=self.step,
                epoch=(self.step - 1) // self.steps_per_epoch + 1,
                **self.window.means(),
                lr=rate,
                images_per_s=round(self.window_watch.images_per_s, 2),
                eta_s=round(self.eta_s, 1),
                memory_mb=self._memory_mb(),
            )
            self.window.clear()
            self.window_watch.clear()

    def close_epoch(self, signals: StopSignals) -> None:
        """At the end of an epoch: validate if it is due, write its row, keep milestone and best. Else do nothing.

        A signal during validation leaves the epoch open; the next session closes it.
        """
        if self.step % self.steps_per_epoch or self.closed == self.step // self.steps_per_epoch:
            return
        self._require_finite()
        epoch = self.step // self.steps_per_epoch
        try:
            scores = self._validate(signals) if epoch in self.validate_at else None
        except Interrupted:
            signals.agree()
            return
        self.world.collect_sums(self.strategy.sums())
        self.journal.row(
            "epoch",
            step=self.step,
            epoch=epoch,
            **self.epoch.means(),
            **self.strategy.pop_stats(),
            seconds=round(self.epoch_watch.seconds, 3),
            images_per_s=round(self.epoch_watch.images_per_s, 2),
            memory_mb=self._memory_mb(),
        )
        self.closed, self.loss = epoch, self.epoch.means()["loss"]
        self.epoch.clear()
        self.epoch_watch.clear()
        if scores is not None and self.validation is not None:
            self.journal.row("validation", step=self.step, epoch=epoch, **scores)
            metric = self.validation.metric
            if self.best is None or scores[metric] > self.best[metric]:
                self.best = {metric: scores[metric], "epoch": epoch}
                self._save_weights("best")
        if epoch in self.config.exec.milestones:
            self._save_weights(f"epoch{epoch}")
        self.journal.state("running", **self.progress())
        self._pause_watches()

    def save_if_due(self, signals: StopSignals) -> None:
        """Write `last` when the last one is `exec.checkpoint_seconds` ago; agree with other processes on signals."""
        if signals.agree(time.monotonic() - self._saved_at >= self.config.exec.checkpoint_seconds):
            self.save()

    def save(self) -> None:
        """Write `last`."""
        self._require_finite()
        self.world.collect_sums(self.strategy.sums())
        if self.world.is_main:
            self._write_last()
        self._saved_at, self._saved_step = time.monotonic(), self.step
        self._pause_watches()

    def _write_last(self) -> None:
        state = {
            "closed": self.closed,
            "window": self.window.state(),
            "epoch_totals": self.epoch.state(),
            "epoch_watch": [self.epoch_watch.seconds, self.epoch_watch.images],
            "scaler": self.precision.scaler.state_dict(),
        }
        tensors = checkpoint.all_tensors(self.model, self.strategy, self.optimizer)
        checkpoint.write(self.run.checkpoint("last"), tensors, {**self._meta(), "resume": state})

    def finish(self) -> None:
        """Leave everything as the next session or evaluation needs it."""
        last = self.run.checkpoint("last")
        if self.world.from_main(self.step != self._saved_step or not last.exists()):
            self.save()
        if self.world.is_main:
            provenance.end(self.run, self.step)
        self.world.wait()

    def progress(self) -> dict[str, Any]:
        """What `state.json` says of the run; `loss` is the mean over the running epoch, or over the last one."""
        if self.epoch.updates:
            self.loss = self.epoch.means()["loss"]
        return {
            "epoch": self.closed,
            "step": self.step,
            "horizon": self.config.train.horizon,
            "until": self.stop // self.steps_per_epoch,
            "steps_per_epoch": self.steps_per_epoch,
            "loss": self.loss,
            "images_per_s": round(self.config.train.batch / self.pace, 2) if self.pace else None,
            "eta_s": round(self.eta_s, 1),
            "best": self.best if self.validation else "none: this data has no val split",
            "best_by": self.validation.by if self.validation else None,
        }

    @property
    def eta_s(self) -> float:
        """Seconds of training left, validation not counted."""
        return (self.stop - self.step) * self.pace

    def _memory_mb(self) -> float:
        """Peak memory of the process that needs most."""
        return round(self.world.largest(memory_mb(self.device))[0], 1)

    def _resume(self) -> None:
        path = self.run.checkpoint("last")
        if not self.world.from_main(path.exists()):
            return
        meta = checkpoint.read_meta_together(path, self.world)
        stored = parse_config(meta["config"], path)
        if (stored.identity(), stored.seed) != (self.config.identity(), self.config.seed):
            found, expected = stored.run_id, self.config.run_id
            raise UserError("this folder holds a checkpoint of another run", where=path, found=found, expected=expected)
        checkpoint.restore(path, self.model, self.strategy, self.optimizer, self.device)
        state = meta["resume"]
        self.step, self.closed, self.best = meta["step"], state["closed"], meta["best"]
        self.window.load(state["window"])
        self.epoch.load(state["epoch_totals"])
        self.epoch_watch.seconds, self.epoch_watch.images = state["epoch_watch"]
        if state["scaler"] and self.precision.scaler.is_enabled():  # a run may change its device
            self.precision.scaler.load_state_dict(state["scaler"])

    def _validate(self, signals: StopSignals) -> dict[str, Any] | None:
        if self.validation is None:
            return None

        def watch(done: int, total: int) -> None:
            if signals.received is not None:
                raise Interrupted

        return self.validation.scores(self.model, self.precision, watch, self.world)

    def _require_finite(self) -> None:
        where = f"update {self.step}, epoch {(self.step - 1) // self.steps_per_epoch + 1} of {self.config.run_id}"
        require_finite(self.epoch, self.precision.scaler, where)

    def _save_weights(self, name: str) -> None:
        if self.world.is_main:
            checkpoint.write(self.run.checkpoint(name), checkpoint.model_tensors(self.model), self._meta())

    def _meta(self) -> dict[str, Any]:
        return {
            "run_id": self.config.run_id,
            "config": self.config.model_dump(mode="json"),
            "tokenizer": self.data.tokenizer.to_json(),
            "epoch": self.step // self.steps_per_epoch,
            "step": self.step,
            "horizon": self.config.train.horizon,
            "steps_per_epoch": self.steps_per_epoch,
            "best": self.best,
        }

    def _data_facts(self) -> dict[str, Any]:
        counts = {"refs": self.data.n_refs, "sentences": self.data.n_sentences, "images": self.data.n_images}
        return {**self.config.data.model_dump(mode="json"), **counts}

    def _pause_watches(self) -> None:
        for watch in (self.window_watch, self.epoch_watch):
            watch.resume()
