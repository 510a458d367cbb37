"""`amlris run --until-decided`: seeds by looks, and none spent on a claim whose verdict they cannot change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amlrepro.cli.options import Opened, hours_text, say
from amlrepro.errors import UserError
from amlrepro.launch.job import Task
from amlrepro.suite.rates import measure_rates, price
from amlrepro.verdicts.families import LOOKS


@dataclass
class UntilDecided:
    """Splits the tasks of a plan into those of the first look and those that wait for it."""

    opened: Opened
    skipped: dict[str, str] = field(default_factory=dict)
    _conclusion: str = ""

    def __post_init__(self) -> None:
        first, last = LOOKS[0], LOOKS[-1]
        seeds = self.opened.plan.seeds
        if len(seeds) <= first:
            every = " ".join(map(str, range(last)))
            hint = f"claims are looked at with {first} seeds an arm and with {last}: --seeds {every}"
            raise UserError(
                "there are no seeds to stop at", where="--until-decided", found=f"{len(seeds)} seeds", hint=hint
            )

    def split(self, tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
        """Tasks of the first look's seeds, and the others."""
        from amlrepro.verdicts.budget.stopping import later_seeds

        later = later_seeds(self.opened.plan.seeds)
        waits = [task.planned.config.seed in later for task in tasks]
        now = [task for task, wait in zip(tasks, waits, strict=True) if not wait]
        return now, [task for task, wait in zip(tasks, waits, strict=True) if wait]

    def left(self, tasks: Sequence[Task]) -> list[Task]:
        """Of the tasks that waited, those that are still worth it, by what the store says now. Runs that have begun go
        on. What is not started is written into the store, for its tables to tell."""
        from amlrepro.verdicts.budget.stopping import settle

        opened = self.opened
        stopping = settle(opened.store, opened.plan)
        begun = {task.run_id for task in tasks if opened.store.run(task.run_id).config.exists()}
        waiting = {task.run_id for task in tasks} - begun
        self.skipped = {run_id: why for run_id, why in stopping.skipped.items() if run_id in waiting}
        return [task for task in tasks if task.run_id not in self.skipped]

    def keep(self) -> None:
        """Write what is not started into the store."""
        self.opened.store.write_stopped(self.skipped, self.opened.plan.runs)

    def conclude(self) -> None:
        """Once more in one line, after the tables."""
        if self._conclusion:
            say(self._conclusion)

    def tell(self) -> None:
        """What was not started, why, and what that saves."""
        if not self.skipped:
            say("until decided: no run is left out; every further seed may still change a verdict")
            return
        plan, rates = self.opened.plan, measure_rates(self.opened.store)
        prices = [price(plan.runs[run_id], plan, rates) for run_id in self.skipped]
        parts = [part for p in prices for part in (p.training, p.validation, p.evaluation, p.probes)]
        known = [part for part in parts if part is not None]
        saved = f", which saves {hours_text(sum(known))} {rates.gpu} hours" if known else ""
        count = len(self.skipped)
        self._conclusion = f"until decided: {count} run{'s' * (count > 1)} left out{saved}"
        say(f"until decided: {count} run{'s are' if count > 1 else ' is'} not started{saved}")
        for run_id, reason in self.skipped.items():
            say(f"  {run_id}: {reason}")
