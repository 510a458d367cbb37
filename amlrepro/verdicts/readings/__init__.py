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
from amlrepro.verdicts.readings.screening import ScreenedReading, Screening, nothing_measured, presets_alone, screen
from amlrepro.verdicts.readings.words import preset_note

__all__ = [
    "ReadingResult",
    "ReadingsReport",
    "ScreenedReading",
    "Screening",
    "StatisticResult",
    "as_json",
    "distances_path",
    "evaluate_readings",
    "load_distances",
    "nothing_measured",
    "preset_note",
    "presets_alone",
    "read_readings",
    "result_path",
    "screen",
    "write_readings",
]
