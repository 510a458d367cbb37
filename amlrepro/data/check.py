"""Is this data root complete and sound? Counts, pictures, masks and leakage, as one report. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from amlrepro.data.check_files import check_images, check_masks
from amlrepro.data.combined import check_mix, load_combined
from amlrepro.data.refer import ReferData, load_refer
from amlrepro.data.specs import COMBINED_PARTS, DATASETS, SplitCounts, dataset_spec
from amlrepro.data.stats import target_counts
from amlrepro.errors import UserError

Progress = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
Level = Literal["problem", "note"]


@dataclass(frozen=True)
class Finding:
    """Something to know. A problem makes the check fail; a note does not. items: every case, as text."""

    level: Level
    kind: str
    where: str
    message: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartitionCounts:
    """Counts of one data set with one split owner; `official` has the published ones, None where unknown."""

    dataset: str
    split_by: str
    splits: dict[str, SplitCounts]
    total: SplitCounts
    official: dict[str, SplitCounts]


@dataclass
class CheckReport:
    """All counts and findings of one data root."""

    root: str
    image_folder: str | None = None
    counts: list[PartitionCounts] = field(default_factory=list)
    combined: dict[str, Any] | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no finding is a problem."""
        return all(finding.level == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def add(self, level: Level, kind: str, where: str, message: str, items: Iterable[object] = ()) -> None:
        self.findings.append(Finding(level, kind, where, message, tuple(map(str, items))))


def check_root(
    root: Path,
    image_root: Path | None = None,
    dataset: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> CheckReport:
    """Check every data set under `root`, or only `dataset`.

    strict: counts that differ from the official ones, and missing data sets, are problems and not notes.
    Raises `UserError` when there is nothing to check: no root, no data set in it, or `dataset` is not there.
    """
    report = CheckReport(str(root))
    loaded = _load(root, dataset, report, "problem" if strict else "note")
    for data in loaded:
        _count(data, report, "problem" if strict else "note")
        _check_tables(data, report)
        _count_targets(data, report)
        _check_leakage(data, report)
    check_images(root, image_root, loaded, report, progress)
    for data in loaded:
        check_masks(data, report, progress)
    if dataset is None:
        _check_combined(root, loaded, report)
    return report


def _load(root: Path, dataset: str | None, report: CheckReport, missing: Level) -> list[ReferData]:
    if not root.is_dir():
        raise UserError("the data root does not exist", where=root)
    if dataset is not None:
        dataset_spec(dataset)
    out = []
    for name, spec in DATASETS.items():
        if dataset not in (None, name):
            continue
        present = [owner for owner in spec.partitions if (root / spec.folder / spec.refs_file(owner)).is_file()]
        if spec.default not in present and (dataset is None or present):
            report.add(missing, "missing", spec.title, f"no {spec.folder}/{spec.refs_file(spec.default)}")
        elif not present:
            present = [spec.default]  # named by the user: let the reader say what is missing
        out += [load_refer(root, name, owner) for owner in present]
    if not out:
        raise UserError(
            "no data set under this root",
            where=root,
            found=", ".join(sorted(p.name for p in root.iterdir())[:8]) or "an empty folder",
            expected=" or ".join(f"{s.folder}/{s.refs_file(s.default)}" for s in DATASETS.values())
            + ", each with instances.json",
        )
    return out


def label(data: ReferData) -> str:
    """How findings name a data set: `RefCOCO (unc)`."""
    return f"{DATASETS[data.dataset].title} ({data.split_by})"


def _count(data: ReferData, report: CheckReport, different: Level) -> None:
    official = dataset_spec(data.dataset).partition(data.split_by).splits
    names = [*official, *(name for name in data.split_names() if name not in official)]
    refs = {name: [ref for ref in data.refs if ref.split == name] for name in names}
    splits = {
        name: SplitCounts(len(part), sum(len(r.sentences) for r in part), len({r.image_id for r in part}))
        for name, part in refs.items()
    }
    images = {ref.image_id for ref in data.refs}
    total = SplitCounts(len(data.refs), sum(len(ref.sentences) for ref in data.refs), len(images))
    report.counts.append(PartitionCounts(data.dataset, data.split_by, splits, total, official))
    differences = []
    for name, expected in official.items():
        for what, found in asdict(splits[name]).items():
            wanted = getattr(expected, what)
            if wanted is not None and found != wanted:
                differences.append(f"{name} {what}: {found:,} (official {wanted:,})")
    if differences:
        empty = [name for name in official if not refs[name]]
        text = "counts differ from the official ones" + (f"; no {', '.join(empty)}" if empty else "")
        report.add(different, "counts", label(data), text, differences)
    unknown = [name for name in names if name not in official]
    if unknown:
        report.add("problem", "split names", label(data), "unknown split names", unknown)


def _check_tables(data: ReferData, report: CheckReport) -> None:
    """Ids that occur twice or lead nowhere, and sentences without text."""
    where = label(data)

    def problem(kind: str, message: str, items: Sequence[object]) -> None:
        if items:
            report.add("problem", kind, where, f"{len(items):,} {message}", items)

    sentences = [s for ref in data.refs for s in ref.sentences]
    problem("ids", "ref ids occur twice", _repeated(ref.ref_id for ref in data.refs))
    problem("ids", "sentence ids occur twice", _repeated(s.sent_id for s in sentences))
    problem("texts", "sentences are empty (sent ids)", [s.sent_id for s in sentences if not s.sent.strip()])
    problem("texts", "refs have no sentence (ref ids)", [ref.ref_id for ref in data.refs if not ref.sentences])
    orphans = [
        f"ref {ref.ref_id}: annotation {ann_id}"
        for ref in data.refs
        for ann_id in ref.ann_ids
        if ann_id not in data.annotations or data.annotations[ann_id].image_id != ref.image_id
    ]
    problem("ids", "refs name an annotation that instances.json lacks or has for another image", orphans)
    twice = [ref.ref_id for ref in data.refs if len(set(ref.ann_ids)) < len(ref.ann_ids)]
    problem("ids", "refs name an object twice (ref ids)", twice)
    problem("ids", "image ids are not in instances.json", sorted({r.image_id for r in data.refs} - set(data.images)))


def _count_targets(data: ReferData, report: CheckReport) -> None:
    """How many expressions name several objects or none, beside the paper's; for data sets where they may."""
    spec = dataset_spec(data.dataset)
    if spec.multi_target:
        kinds = target_counts(data.refs)
        printed = spec.appendix
        text = f"{kinds.several:,} expressions name several objects, {kinds.none:,} none, {kinds.one:,} one"
        paper = f"{printed['multi_target']:,}, {printed['no_target']:,} of {printed['sentences']:,} in the paper"
        report.add("note", "targets", label(data), f"{text} ({paper}; part of it is not released)")


def _repeated(ids: Iterable[int]) -> list[int]:
    return sorted(i for i, n in Counter(ids).items() if n > 1)


def _check_leakage(data: ReferData, report: CheckReport) -> None:
    """Images that occur in two splits of one partition."""
    images = {name: {ref.image_id for ref in data.split(name)} for name in data.split_names()}
    names = list(images)
    partition = dataset_spec(data.dataset).partition(data.split_by)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = sorted(images[first] & images[second])
            if not shared:
                continue
            text = f"{len(shared):,} images are in both {first} and {second}"
            if not partition.by_image:
                report.add("note", "leakage", label(data), text + ", by design of this partition (split by object)")
            elif partition.shared.issuperset(shared):
                report.add("note", "leakage", label(data), text + ", as in the official files", shared)
            else:
                report.add("problem", "leakage", label(data), text, shared)


def _check_combined(root: Path, loaded: list[ReferData], report: CheckReport) -> None:
    present = {(data.dataset, data.split_by) for data in loaded}
    where = "combined training set"
    missing = [f"{name} ({owner})" for name, owner in COMBINED_PARTS if (name, owner) not in present]
    mix = (root / "refcocom" / "refs(mix).p").is_file()
    if missing:
        text = f"cannot be built without {', '.join(missing)}"
        report.add("note", "combined", where, text + ("; refcocom/refs(mix).p is unchecked" if mix else ""))
        return
    made = load_combined(root).report
    report.combined = made.to_json()
    dropped = sum(part.dropped_refs for part in made.parts)
    text = f"{made.refs:,} refs, {made.sentences:,} sentences, {made.images:,} images"
    report.add(
        "note", "combined", where, f"{text}; {dropped:,} train refs left out, as their images are in a val or test"
    )
    given = check_mix(root)
    if given is not None and given.leaked_images:
        text = f"{len(given.leaked_images):,} of {given.images:,} images are in a val or test split"
        report.add("problem", "leakage", "refcocom (mix)", text, given.leaked_images)
    elif given is not None:
        report.add("note", "combined", "refcocom (mix)", f"{given.refs:,} refs, no image of a val or test split")
