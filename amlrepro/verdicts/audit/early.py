"""Tables 3, 11 and 18, Figures 1(d), 4(b) and 6: differences, averages and sizes of samples."""

from __future__ import annotations

from fractions import Fraction

from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import all_round_to, exact, mean, rounds_to

PLUS = ("refcoco+.val", "refcoco+.testA", "refcoco+.testB")
PERTURBATIONS = ("haze", "highlight", "lowlight", "contrast", "occlusion_box", "patch_masking", "color_jitter")


def _table3(paper: Paper, name: str, cells: dict[str, tuple[str, str, str]]) -> Outcome:
    """Differences of Table 3 against the prose and the table. cells: key of the quote -> first row, second, column."""
    good, parts, numbers = True, [], {}
    for key, (first, second, column) in cells.items():
        a, b = paper.number("table3", first, column), paper.number("table3", second, column)
        gain = exact(a) - exact(b)
        quote, printed = paper.quoted(name, key), paper.tables["table3"].row(first).delta[column]
        good &= rounds_to(gain, quote) and rounds_to(gain, printed)
        amount = "" if rounds_to(gain, quote) else f", off by {show(gain - exact(quote), 2, True)}"
        table = "" if exact(quote) == exact(printed) else f" (in the table {printed.text})"
        parts.append(f"{a.text} - {b.text} = {show(gain)}{amount}{table}")
        numbers[column] = float(gain)
    said = texts((paper.quoted(name, key) for key in cells), sign=True)
    return Outcome(judged(good, "off_by"), said, "; ".join(parts), numbers)


@check("T3-A")
def magnet_refcoco(paper: Paper) -> Outcome:
    """RefCOCO after ten epochs."""
    return _table3(paper, "T3-A", {"gain": ("caris_aml_10ep", "magnet_10ep", "refcoco.oiou")})


@check("T3-B")
def magnet_plus(paper: Paper) -> Outcome:
    """RefCOCO+ after ten epochs."""
    return _table3(paper, "T3-B", {"gain": ("caris_aml_10ep", "magnet_10ep", "refcoco+.oiou")})


@check("T3-C")
def rela_early(paper: Paper) -> Outcome:
    """ReLA after 5,000 iterations."""
    cells = {key: ("rela_aml_5k", "rela_5k", f"grefcoco.{key}") for key in ("ciou", "giou")}
    return _table3(paper, "T3-C", cells)


@check("T3-D")
def rela_point(paper: Paper) -> Outcome:
    """4999 in Table 3, 5k in Table 11: the same values."""
    same = all(
        paper.exact("table3", f"{row}_5k", f"grefcoco.{metric}") == paper.exact("table11", row, f"{metric}.5k")
        for row in ("rela", "rela_aml")
        for metric in ("ciou", "giou")
    )
    index = int(exact(paper.quoted("T3-D", "iterations")))
    stated = int(paper.tables["table11"].column("ciou.5k").attrs["iterations"])
    text = f"{'the same' if same else 'different'} values under both names; {index} counted from zero is {index + 1}"
    return Outcome(judged(same and index + 1 == stated, "contradictory"), f"{index} iterations / 5k", text)


@check("T3-E")
def ten_epochs_twice(paper: Paper) -> Outcome:
    """The ten-epoch model in Tables 3 and 10."""
    full = paper.number("table3", "caris_aml_10ep", "refcoco+.oiou")
    short = paper.number("table10", "caris_aml_same_steps", "ep10.oiou")
    holds = rounds_to(exact(full), short)
    text = f"{full.text} {'rounds' if holds else 'does not round'} to {short.text}"
    text += ": one model, split val, and the first number of Table 10 is oIoU" * holds
    return Outcome(judged(holds, "contradictory"), f"{full.text} (Table 3), {short.text} (Table 10)", text)


def perturbed_mean(paper: Paper, method: str, column: str) -> Fraction:
    """Mean of a column of Table 15 over the seven perturbations."""
    return mean([paper.exact("table15", f"{name}__{method}", column) for name in PERTURBATIONS])


def _radar(paper: Paper, name: str, dataset: str) -> Outcome:
    column = f"{dataset}.val.miou"
    base, aml = perturbed_mean(paper, "caris", column), perturbed_mean(paper, "caris_aml", column)
    quotes = [paper.quoted(name, key) for key in ("baseline", "aml", "gain")]
    quoted = paper.tables["fig1d_quoted"]
    listed = [quoted.row(row).values[f"{dataset}.val"] for row in ("caris", "caris_aml")]
    listed.append(quoted.row("caris_aml").delta[f"{dataset}.val"])
    good = all_round_to((base, aml, aml - base), quotes) and [str(n) for n in listed] == [str(n) for n in quotes]
    rounded = exact(quotes[1]) - exact(quotes[0])
    text = f"{show(base)}, {show(aml)}; {show(aml - base, 4)} from the cells of Table 15"
    text += f" ({show(rounded)} from the rounded averages)" * (rounded != exact(quotes[2]))
    numbers = {"baseline": float(base), "aml": float(aml), "gain": float(aml - base)}
    return Outcome(judged(good, "off_by"), texts(quotes[:2]) + f", +{quotes[2].text}", text, numbers)


@check("F1D-A")
def radar_refcoco(paper: Paper) -> Outcome:
    """Averages of the robustness radar, RefCOCO."""
    return _radar(paper, "F1D-A", "refcoco")


@check("F1D-B")
def radar_g(paper: Paper) -> Outcome:
    """The same on RefCOCOg."""
    return _radar(paper, "F1D-B", "refcocog")


@check("T11-A")
def rela_late(paper: Paper) -> Outcome:
    """The marginal gain of ReLA after 150k iterations."""
    ciou, giou = paper.gains("table11", "rela_aml", "rela", ("ciou.150k", "giou.150k"))
    average, quote = mean([ciou, giou]), paper.quoted("T11-A", "gain")
    text = f"cIoU {show(ciou, 2, True)}, gIoU {show(giou, 2, True)}, mean {show(average)}"
    numbers = {"ciou": float(ciou), "giou": float(giou), "mean": float(average)}
    return Outcome(judged(rounds_to(average, quote), "off_by"), f"+{quote.text}", text, numbers)


@check("T18-A")
def feature_averages(paper: Paper) -> Outcome:
    """Averages of Table 18."""
    rows = [row.key for row in paper.tables["table18"].rows]
    means = [mean(paper.row("table18", row, PLUS)) for row in rows]
    printed = [paper.number("table18", row, "avg") for row in rows]
    good = all_round_to(means, printed) and all_round_to(means, paper.quotes("T18-A", "averages"))
    return Outcome(judged(good, "off_by"), texts(printed), shows(means, 3), named(rows, means))


@check("T18-B")
def feature_differences(paper: Paper) -> Outcome:
    """Differences to the baseline that Table 18 prints beside its values."""
    base, wrong, numbers, count = paper.tables["table18"].row("caris"), [], {}, 0
    for row in paper.tables["table18"].rows:
        for column, delta in row.delta.items():
            columns = PLUS if column == "avg" else (column,)
            value = mean(paper.row("table18", row.key, columns)) - mean(paper.row("table18", base.key, columns))
            numbers[f"{row.key} {column}"], count = float(value), count + 1
            if not rounds_to(value, delta):
                wrong.append(f"{row.label} {column}: {show(value, 2, True)}, printed {delta.text}")
    average = numbers["caris_aml avg"]
    text = ("; ".join(wrong) or f"all {count} agree") + f"; that of the averages is {average:.3f} unrounded"
    return Outcome(judged(not wrong, "off_by"), f"{count} values", text, numbers)


@check("F4B-A", "both")
def occlusion_drop(paper: Paper) -> Outcome:
    """The drop under occlusion: numbers without a plot that can be read."""
    other, ours = paper.quoted("F4B-A", "other"), paper.quoted("F4B-A", "aml")
    table = [
        paper.number("fig4b_quoted", row, "refcoco+.testA.drop").text for row in ("caris_random_mask", "caris_aml")
    ]
    ratio = exact(other) / exact(ours)
    text = (
        "the plotted values are not in the text. The larger drop belongs to the random mask in one sentence and to "
        "CARIS in the next; whether at 30 or 50 %, and in points or relative, is open. "
        f"Its ratio to AML's is {show(ratio, 1)}"
    )
    same = table == [other.text, ours.text]
    return Outcome("unclear" if same else "contradictory", texts((other, ours)), text, {"ratio": float(ratio)})


@check("F6-A")
def histogram_size(paper: Paper) -> Outcome:
    """Scores of Figure 6."""
    batches, scores = (paper.exact("fig6_quoted", "sample", key) for key in ("batches", "scores"))
    batch, patches = (exact(paper.quoted("F6-A", key)) for key in ("batch", "patches"))
    found = batches * batch * patches
    text = f"{show(batches, 0)} x {show(batch, 0)} x {show(patches, 0)} = {show(found, 0)}, with a 14 x 14 grid"
    return Outcome(judged(found == scores, "off_by"), show(scores, 0), text, {"scores": float(found)})


@check("F6-B", "both")
def sample_sizes(paper: Paper) -> Outcome:
    """The samples of Figure 6 and of Tables 12 and 13."""
    pairs, patches, batch = (exact(paper.quoted("F6-B", key)) for key in ("pairs", "patches", "batch"))
    scores = paper.exact("fig6_quoted", "sample", "scores")
    text = f"{show(pairs, 0)} pairs give {show(pairs * patches, 0)} scores, and are {show(pairs / batch, 0)} x {batch}"
    text += "; where they come from is not told"
    printed = f"{show(scores, 0)} scores, {show(pairs, 0)} pairs"
    same = pairs * patches == scores
    return Outcome(judged(same, "unclear"), printed, text, {"scores": float(pairs * patches)})
