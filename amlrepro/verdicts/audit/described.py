"""Data sets, schedule, names: what the text says of them."""

from __future__ import annotations

from amlrepro.data.specs import dataset_spec
from amlrepro.verdicts.audit.checks import Outcome, check, judged, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import exact, rounds_to

DATA = "appendix_a1_datasets"
PARTS = ("train", "val", "testA", "testB")


def _sum_of_splits(paper: Paper, name: str, row: str) -> Outcome:
    parts = paper.row(DATA, row, PARTS)
    total, quote = sum(parts), paper.quoted(name, "total")
    holds = total == exact(quote) == paper.exact(DATA, row, "expressions")
    text = f"{' + '.join(show(part, 0) for part in parts)} = {show(total, 0)}"
    if not holds:
        needed = exact(quote) - sum(parts[1:])
        text += f"; the total needs {show(needed, 0)} training expressions"
        if paper.exact(DATA, row, "train") == paper.exact(DATA, "refcoco", "train"):
            text += f". {show(parts[0], 0)} is RefCOCO's number"
    printed = f"{show(exact(quote), 0)} with {show(parts[0], 0)} for training"
    return Outcome(judged(holds, "contradictory"), printed, text, {"sum": float(total)})


@check("A1-A")
def refcoco_splits(paper: Paper) -> Outcome:
    """RefCOCO's splits."""
    return _sum_of_splits(paper, "A1-A", "refcoco")


@check("A1-B")
def plus_splits(paper: Paper) -> Outcome:
    """RefCOCO+'s splits."""
    return _sum_of_splits(paper, "A1-B", "refcoco_plus")


@check("A1-C", "both")
def partition_of_g(paper: Paper) -> Outcome:
    """Which partition of RefCOCOg has the printed number of objects, and which a test split."""
    objects = int(paper.exact(DATA, "refcocog", "objects"))
    google = [int(exact(number)) for number in paper.publics("A1-C", "google")]
    umd = {split: counts.refs or 0 for split, counts in dataset_spec("refcocog").partition("umd").splits.items()}
    columns = [column.key for column in paper.tables["table1_oiou"].columns]
    text = f"{objects:,} objects are the Google partition's ({' + '.join(f'{n:,}' for n in google)}, the last "
    text += "unreleased), which has no public test split; a column test means UMD, with "
    text += f"{' + '.join(f'{n:,} {split}' for split, n in umd.items())} = {sum(umd.values()):,}"
    mixed = objects == sum(google) and "refcocog.test" in columns and objects != sum(umd.values())
    printed = ", ".join(
        f"{show(paper.exact(DATA, 'refcocog', k), 0)} {k}" for k in ("expressions", "objects", "images")
    )
    return Outcome(judged(not mixed, "contradictory"), printed, text, {"google": sum(google), "umd": sum(umd.values())})


@check("A1-D")
def words(paper: Paper) -> Outcome:
    """Two mean lengths."""
    short, long = paper.quoted("A1-D", "words"), paper.number(DATA, "refcoco", "avg_words")
    holds = rounds_to(exact(long), short)
    text = f"{long.text} {'rounds' if holds else 'does not round'} to {short.text}"
    return Outcome(judged(holds, "off_by"), texts((short, long)), text)


@check("A1-E")
def grefcoco_parts(paper: Paper) -> Outcome:
    """Parts of gRefCOCO."""
    quotes = {key: paper.quoted("A1-E", key) for key in ("multi", "none", "total")}
    table = [paper.exact(DATA, "grefcoco", key) for key in ("multi_target", "no_target", "expressions")]
    single = exact(quotes["total"]) - exact(quotes["multi"]) - exact(quotes["none"])
    holds = single > 0 and table == [exact(quote) for quote in quotes.values()]
    text = f"leaves {show(single, 0)} single-target expressions"
    printed = ", ".join(f"{show(exact(quote), 0)} {key}" for key, quote in quotes.items())
    return Outcome(judged(holds, "contradictory"), printed, text, {"single": float(single)})


@check("C-A", "both")
def one_schedule(paper: Paper) -> Outcome:
    """One schedule for all models."""
    counted = [c.attrs["iterations"] for c in paper.tables["table11"].columns if "iterations" in c.attrs]
    points = " and ".join(dict.fromkeys(f"{int(count):,}" for count in counted))
    text = f"Table 11 reports ReLA after {points} iterations, not epochs" if counted else "Table 11 counts epochs"
    printed = f"all: {paper.quoted('C-A', 'epochs').text} epochs, batch {paper.quoted('C-A', 'batch').text}"
    return Outcome(judged(not counted, "contradictory"), printed, text)


@check("C-B")
def block_size(paper: Paper) -> Outcome:
    """Blocks and the feature grid."""
    size, block, grid = (exact(paper.quoted("C-B", key)) for key in ("size", "block", "grid"))
    holds = size == block * grid
    text = f"{show(size, 0)} / {show(block, 0)} = {show(size / block, 2 if size % block else 0)} blocks a side"
    text += ", as many as the feature grid has positions" if holds else f", the feature grid has {show(grid, 0)}"
    printed = f"{show(block, 0)} x {show(block, 0)} (4.1), B^h x B^w (3.3)"
    return Outcome(judged(holds, "contradictory"), printed, text, {"blocks": float(size / block)})


@check("ABS-A", "reading")
def fixed_threshold(paper: Paper) -> Outcome:
    """The kind of threshold."""
    text = "tau is a constant (3.3, Table 4); the per-sample variant of G.6.2 was dropped"
    return Outcome("contradictory", "adaptive (abstract), pre-set (introduction)", text)


@check("ABS-B", "reading")
def full_loss(paper: Paper) -> Outcome:
    """Over which pixels the loss is taken."""
    text = "Eq. 2 and Algorithm 1 sum the loss over all H W pixels with unchanged labels; the input alone is zeroed"
    return Outcome("contradictory", "excluded", text)


@check("S34-A", "both")
def never_whole(paper: Paper) -> Outcome:
    """Whether an image can come out whole."""
    rho = exact(paper.quoted("S34-A", "rho"))
    whole = {blocks: 100 * (1 - rho) ** blocks for blocks in (1, 5, 10)}
    text = "an image without weak pixels passes unchanged, and so does any block that dropout spares; with dropout of "
    text += f"whole blocks at rho {show(rho)}, of images with {', '.join(map(str, whole))} weak blocks "
    text += f"{shows(whole.values(), 0)} % come out whole. How many are weak depends on EQ-S"
    return Outcome("unclear" if rho < 1 else "consistent", "never", text, {str(n): float(s) for n, s in whole.items()})


@check("NAME", "reading")
def names(paper: Paper) -> Outcome:
    """Names of one module."""
    return Outcome("consistent", "Matching Evaluation, Matching Estimation; discrepancy-aware masking", "one module")


@check("EQ-NUM", "both")
def equation_number(paper: Paper) -> Outcome:
    """A number of an equation used twice."""
    masking, attention = paper.quoted("EQ-NUM", "masking"), paper.quoted("EQ-NUM", "attention")
    text = "used twice: here Eq. 15 and Eq. 15'" if exact(masking) == exact(attention) else "two numbers"
    printed = f"{masking.text}: image masking (3.3); {attention.text}: attention with mask (G.7)"
    return Outcome(judged(exact(masking) != exact(attention), "contradictory"), printed, text)
