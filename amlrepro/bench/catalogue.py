"""The benchmarks, their targets and gates. A new one is an entry here and a function. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from amlrepro.bench.spec import Benchmark, Kind, Target
from amlrepro.errors import unknown_name

_HERE = "amlrepro.bench"


def _anywhere(value: float) -> dict[Kind, Target]:
    """A target of what runs beside the device."""
    return {"cpu": Target(value), "cuda": Target(value)}


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        "stage_one",
        what="training step with AML",
        against="the same step without stage one",
        reads="overhead",
        measure=f"{_HERE}.stage_one:time_overhead",
        targets={"cuda": Target(1.15, 1.10), "cpu": Target(1.15, 1.10)},
        same="masks equal on 99.9 % of blocks",
        processes=3,
    ),
    Benchmark(
        "stage_one_fast",
        what="training step with AML, numerics fast",
        against="the same step without stage one",
        reads="overhead",
        measure=f"{_HERE}.stage_one:time_overhead_fast",
        targets={"cuda": Target(1.15, 1.10), "cpu": Target(1.15, 1.10)},
        same="masks equal on 99.9 % of blocks",
    ),
    Benchmark(
        "training",
        what="CARIS training step, numerics fast",
        against="faithful",
        reads="speedup",
        measure=f"{_HERE}.training:time_fast",
        targets={"cuda": Target(1.5), "cpu": Target(1.3)},
        same="numerics_gate",
    ),
    Benchmark(
        "training_base",
        what="the same with Swin-B and BERT-base, one picture of 448 x 448",
        against="faithful",
        reads="speedup",
        measure=f"{_HERE}.training:time_fast_base",
        targets={"cuda": Target(1.5), "cpu": Target(1.3)},
        same="numerics_gate",
    ),
    Benchmark(
        "checkpointing",
        what="memory with activation checkpointing",
        against="without, each in a process of its own",
        reads="overhead",
        measure=f"{_HERE}.training:checkpointing",
        same="the same bits",
    ),
    Benchmark(
        "numerics_gate",
        what="a full training and evaluation of CARIS+AML, numerics fast, 5 seeds",
        against="faithful",
        reads="speedup",
        measure=f"{_HERE}.numerics_gate:full_trainings",
        same="metrics within seed noise",
        usual=False,
    ),
    Benchmark(
        "stage_one_memory",
        what="peak memory of a training with AML",
        against="without stage one, each in a process of its own",
        reads="overhead",
        measure=f"{_HERE}.cost:memory",
        targets={"cuda": Target(1.01), "cpu": Target(1.01)},
    ),
    *(
        Benchmark(
            f"cost_{model}",
            what=f"training step of {title}+AML",
            against=f"{title}'s, each in a process of its own (Table 9)",
            reads="overhead",
            measure=f"{_HERE}.cost:{model}",
        )
        for model, title in (("caris", "CARIS"), ("detris", "DETRIS"), ("rela", "ReLA"))
    ),
    Benchmark(
        "evaluation",
        what="evaluation of a split, CARIS in float32",
        against="one forward a sentence, batch 8, float32",
        reads="speedup",
        measure=f"{_HERE}.evaluation:time_float32",
        targets={"cuda": Target(1.5), "cpu": Target(1.5)},
        same="metrics within 0.02 points, 99.99 % of pixels",
        processes=3,
    ),
    Benchmark(
        "evaluation_bf16",
        what="evaluation of a split, CARIS in bf16",
        against="one forward a sentence, batch 8, float32",
        reads="speedup",
        measure=f"{_HERE}.evaluation:time_bf16",
        targets={"cuda": Target(3.0)},
        same="metrics within 0.02 points",
        processes=2,
    ),
    Benchmark(
        "deformable",
        what="deformable attention's sampling, forward and backward, compiled on a GPU",
        against="a grid_sample loop over levels",
        reads="speedup",
        measure=f"{_HERE}.deformable:time_samplers",
        targets={"cuda": Target(1.5)},
        same="1e-4 forward and backward, float32",
    ),
    *(
        Benchmark(
            f"loading_{model}",
            what=f"{title}'s training batches through the cache on disk, a worker",
            against="decode, resize, polygon to mask, tokenise at each visit",
            reads="speedup",
            measure=f"{_HERE}.loading:{model}",
            targets={"cuda": Target(5.0), "cpu": Target(5.0)},
            same="batches byte for byte",
        )
        for model, title in (("caris", "CARIS"), ("detris", "DETRIS"), ("rela", "ReLA"))
    ),
    *(
        Benchmark(
            f"growth_{name}",
            what=f"growth of {what} of CARIS+AML",
            against=f"three {sizes}",
            reads="value",
            unit="exponent",
            measure=f"{_HERE}.scaling:{name}",
        )
        for name, what, sizes in (
            ("batch", "a step", "batch sizes"),
            ("resolution", "a step", "sides of the input"),
            ("data", "an epoch", "numbers of training refs"),
        )
    ),
    Benchmark(
        "help",
        what="amlris --help",
        against="importing typer and its rich output",
        reads="value",
        measure=f"{_HERE}.startup:help_",
        targets=_anywhere(2.0),
    ),
    Benchmark(
        "plan_all",
        what="amlris plan all",
        against="paper beside 510 runs; demo",
        reads="value",
        unit="s",
        measure=f"{_HERE}.startup:plan_all",
        targets=_anywhere(0.5),
    ),
    Benchmark(
        "status",
        what="amlris status",
        against="510 runs, 4,131 evaluations",
        reads="value",
        unit="s",
        measure=f"{_HERE}.startup:status",
        targets=_anywhere(0.5),
    ),
    Benchmark(
        "report",
        what="report with cached metrics",
        against="630 runs, 5,103 evaluations",
        reads="value",
        unit="s",
        measure=f"{_HERE}.reporting:report",
        targets=_anywhere(5.0),
    ),
)


def find(name: str) -> Benchmark:
    """A benchmark by its name; raises `UserError` with the nearest ones."""
    known = {bench.name: bench for bench in BENCHMARKS}
    if name not in known:
        raise unknown_name("benchmark", name, known, "amlris bench")
    return known[name]


def choose(names: Sequence[str]) -> list[Benchmark]:
    """The named benchmarks in the catalogue's order, the usual ones where none is named; raises `UserError`."""
    if not names:
        return [bench for bench in BENCHMARKS if bench.usual]
    wanted = {find(name).name for name in names}
    return [bench for bench in BENCHMARKS if bench.name in wanted]
