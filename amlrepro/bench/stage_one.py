"""What AML's forward-only first pass costs (Table 9)."""

from __future__ import annotations

from amlrepro.bench.spec import Measurement, Setting
from amlrepro.bench.timing import alternate
from amlrepro.engine.synthetic import step_function
from amlrepro.suite.profile import bench_configs

ROUNDS = 30


def time_overhead(setting: Setting) -> Measurement:
    """Seconds of an optimiser step of CARIS and of CARIS+AML on the same noise."""
    configs = bench_configs(setting.sizes)
    vocabulary = 30522 if setting.sizes == "paper" else 128
    steps = {side: step_function(config, vocabulary, setting.device) for side, config in configs.items()}
    details = {"batch": next(iter(configs.values())).train.batch}
    return Measurement(alternate(steps, setting.rounds or ROUNDS, warmup=3), details=details)
