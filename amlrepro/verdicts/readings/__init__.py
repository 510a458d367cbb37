"""Which reading of the method fits the paper's printed statistics: distances fixed beforehand, a ranking, its noise.

Torch-free. `evaluate_readings` ranks from a store, `read_readings` gives what was found last."""

from amlrepro.verdicts.readings.distances import distances_path, load_distances
from amlrepro.verdicts.readings.evaluate import evaluate_readings
from amlrepro.verdicts.readings.result import (
    ReadingResult,
    ReadingsReport,
    StatisticResult,
    as_json,
    read_readings,
    result_path,
    write_readings,
)
from amlrepro.verdicts.readings.words import preset_note

__all__ = [
    "ReadingResult",
    "ReadingsReport",
    "StatisticResult",
    "as_json",
    "distances_path",
    "evaluate_readings",
    "load_distances",
    "preset_note",
    "read_readings",
    "result_path",
    "write_readings",
]
