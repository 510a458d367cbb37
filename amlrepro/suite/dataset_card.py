"""The card of an exported data set: front matter as the Hugging Face Hub reads it, and what a person should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
COLUMNS = {
    "subject": "the training (its id in `runs`), or `sha256:...` of weights from a file",
    "model, method": "the model, and how it was trained: `baseline`, a reading of AML, a random mask, ...",
    "train, seed": "training data and seed; empty for weights from a file",
    "eval_id, checkpoint, epoch": "the evaluation, and which weights of the training it is of",
    "resolution": "`resized`: scored at the network's input size; `original`: at the picture's own",
    "text": "`own` sentences, or as a control `other`: sentences about another object of the same image",
    "perturbation, severity": "how the pictures were perturbed, empty: not; no severity: the paper's own strength",
    "precision": "of the forward pass: `float32`, or `bf16` where that was asked for",
    "ref_id, sent_id, image_id": "ids of the annotation files (REFER, COCO)",
    "intersection, union, predicted_area, target_area": "pixels, exact counts",
    "height, width": "of the picture",
    "target_empty, mask_empty, no_target": "the sentence names nothing; no pixel is predicted; the model says it does",
}


@dataclass(frozen=True)
class Table:
    """One Parquet file of a data set: configuration and split it is shown under, columns with types, sizes."""

    config: str
    split: str
    path: Path
    types: Mapping[str, str]
    rows: int
    size: int


def card(tables: Sequence[Table], profile: str, watermarks: Sequence[str], evaluations: int) -> str:
    """The card's text. watermarks: why results are no evidence about the paper, where they are none."""
    header = yaml.safe_dump(_front_matter(tables, profile, watermarks), sort_keys=False, allow_unicode=True)
    records = [table for table in tables if table.path.parts[0] == "records"]
    rows = sum(table.rows for table in records)
    lines = ["---", header.rstrip(), "---", "", f"# Records of amlrepro, profile `{profile}`", ""]
    for text in watermarks:
        lines += [f"> **No evidence about the paper**: {text}.", ""]
    lines += [
        "What a reproduction of *AMLRIS: Alignment-aware Masked Learning for Referring Image Segmentation* (ICLR 2026)",
        f"measured: {evaluations} evaluations with {rows:,} records. One record is one (image, sentence) pair of a",
        "split, scored with one set of weights: exact counts of pixels, from which every metric follows. oIoU is the",
        "sum of `intersection` over the sum of `union`, mIoU the mean of their ratios.",
        "",
        "| configuration | split | rows | file |",
        "|---|---|---:|---|",
        *(f"| `{t.config}` | `{t.split}` | {t.rows:,} | `{t.path.as_posix()}` |" for t in tables),
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'evaluations = load_dataset(FOLDER, "evaluations", split="evaluations")',
        *([f'records = load_dataset(FOLDER, "{records[0].config}", split="{records[0].split}")'] if records else []),
        "```",
        "",
        "## Columns of the records",
        "",
        "| column | meaning |",
        "|---|---|",
        *(f"| {', '.join(f'`{name}`' for name in names.split(', '))} | {text} |" for names, text in COLUMNS.items()),
        "",
        "`evaluations` has one row an evaluation, with metrics in percent and 95 % intervals by bootstrap over images;",
        "`runs` one row a training: its configuration, the commit and versions that made it.",
        "",
        "## Licence",
        "",
        "No licence is chosen: choose one before you publish this. There are no pictures, sentences or masks in it.",
        "Ids and areas of targets are derived from the annotations of RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO on",
        "COCO, whose terms you should look up; everything else was measured.",
        "",
    ]
    return "\n".join(lines)


def _front_matter(tables: Sequence[Table], profile: str, watermarks: Sequence[str]) -> dict[str, Any]:
    rows = sum(table.rows for table in tables)
    names = list(dict.fromkeys(table.config for table in tables))
    by_config = {name: [table for table in tables if table.config == name] for name in names}
    return {
        "pretty_name": f"Records of amlrepro, profile {profile}",
        "license": "unknown",
        "language": ["en"],
        "task_categories": ["image-segmentation"],
        "tags": ["referring-image-segmentation", "reproduction", *(["synthetic"] if watermarks else [])],
        "size_categories": [next((name for below, name in SIZES if rows < below), "10M<n<100M")],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": t.split, "path": t.path.as_posix()} for t in mine],
                **({"default": True} if name == "evaluations" else {}),
            }
            for name, mine in by_config.items()
        ],
        "dataset_info": [
            {
                "config_name": name,
                "features": [{"name": column, "dtype": kind} for column, kind in mine[0].types.items()],
                "splits": [{"name": t.split, "num_bytes": t.size, "num_examples": t.rows} for t in mine],
                "dataset_size": sum(t.size for t in mine),
            }
            for name, mine in by_config.items()
        ],
    }
