"""The paper against public material: model cards, official code, annotations."""

from __future__ import annotations

import math
from fractions import Fraction

from amlrepro.verdicts.audit.checks import Outcome, check, judged, named, show, shows, texts
from amlrepro.verdicts.audit.comparison import METRIC, SEPARATE, SPLITS, title
from amlrepro.verdicts.audit.cost import BACKWARD, FORWARD
from amlrepro.verdicts.audit.paper import Paper
from amlrepro.verdicts.audit.rounding import exact

WEAK = (1, 5, 10, 20)  # wholly weak blocks


@check("X-CARIS")
def model_card(paper: Paper) -> Outcome:
    """CARIS as its authors publish it, beside the paper's CARIS*."""
    parts, stronger, above = [], 0, []
    numbers: dict[str, float] = {}
    for table in SEPARATE:
        card = [exact(number) for number in paper.publics("X-CARIS", table.removeprefix("table1_"))]
        ours, caris = (paper.row(table, row, SPLITS) for row in ("caris_aml", "caris"))
        gains = [a - b for a, b in zip(ours, card, strict=True)]
        stronger += sum(a > b for a, b in zip(card, caris, strict=True))
        printed = [a - b for a, b in zip(ours, caris, strict=True)]
        parts.append(
            f"{METRIC[table]} {shows(card)} (gain of AML {show(min(gains), 2, True)} to {show(max(gains), 2, True)} "
            f"instead of {show(min(printed), 2, True)} to {show(max(printed), 2, True)})"
        )
        above += [f"{METRIC[table]} {title(paper, s)}" for s, gain in zip(SPLITS, gains, strict=True) if gain < 0]
        numbers |= named((f"{table} {split}" for split in SPLITS), gains)
    text = f"the authors' card: {'; '.join(parts)}. The card is above CARIS* in {stronger} of {2 * len(SPLITS)} cells"
    text += f", and above Ours in {', '.join(above)}" * bool(above)
    printed_oiou = shows(paper.row("table1_oiou", "caris", SPLITS))
    return Outcome("unclear" if stronger else "consistent", f"oIoU {printed_oiou}", text, numbers)


@check("X-DETRIS")
def public_detris(paper: Paper) -> Outcome:
    """DETRIS's own schedule and numbers."""
    ours = [paper.number("table1_miou", "detris", split) for split in SPLITS[:6]]
    card = paper.publics("X-DETRIS", "miou")
    schedule = {key: (paper.quoted("X-DETRIS", key), paper.public("X-DETRIS", key)) for key in ("epochs", "batch")}
    gaps = [exact(a) - exact(b) for a, b in zip(card[:6], ours, strict=True)]
    text = ", ".join(f"{key} {public.text}" for key, (_, public) in schedule.items())
    text += f", mIoU {texts(card[:6])} ({shows(gaps, 2, True)}), RefCOCOg {texts(card[6:])}"
    same = all(exact(a) == exact(b) for a, b in schedule.values())
    printed = ", ".join(f"{key} {own.text}" for key, (own, _) in schedule.items()) + f", mIoU {texts(ours)}"
    return Outcome(judged(same, "unclear"), printed, text, named(SPLITS[:6], gaps))


@check("X-RELA")
def public_rela(paper: Paper) -> Outcome:
    """ReLA's own schedule."""
    keys = ("batch", "size", "iterations")
    own, public = ([exact(source("X-RELA", key)) for key in keys] for source in (paper.quoted, paper.public))
    seen = own[0] * own[2] / (public[0] * public[2])
    text = f"batch {show(public[0], 0)}, {show(public[1], 0)} x {show(public[1], 0)}, {show(public[2], 0)} iterations: "
    text += f"the same iterations at batch {show(own[0], 0)} see {show(100 * seen, 0)} % of the samples"
    printed = f"batch {show(own[0], 0)}, {show(own[1], 0)} x {show(own[1], 0)}, {show(own[2], 0)} iterations"
    return Outcome(judged(own == public, "unclear"), printed, text, {"samples": float(seen)})


@check("X-CODE1", "both")
def released_similarity(paper: Paper) -> Outcome:
    """Similarity of the released code."""
    projections, width = (paper.quoted("X-CODE1", key) for key in ("projections", "width"))
    public = {key: paper.public("X-CODE1", key) for key in ("projections", "width", "tokens")}
    same = exact(projections) == exact(public["projections"]) and exact(width) == exact(public["width"])
    text = f"the code has no normalisation and {public['projections'].text} linear layer with bias, to "
    text += (
        f"{public['width'].text}, on the text alone, which gets no gradient and so stays random, then a softmax over "
    )
    text += f"all {public['tokens'].text} positions, padding included. It has no D_a"
    printed = f"L2 normalisation, {projections.text} Gaussian projections to D_a {width.text}"
    return Outcome(judged(same, "contradictory"), printed, text)


@check("X-CODE2", "both")
def released_step(paper: Paper) -> Outcome:
    """Training step of the released code."""
    own, public = paper.quoted("X-CODE2", "gradient_passes"), paper.public("X-CODE2", "gradient_passes")
    step, printed_time = FORWARD + BACKWARD, exact(paper.quoted("X-CODE2", "time"))
    least = 100 * (exact(public) * step / step - 1)
    encoders = paper.public("X-CODE2", "encoder_passes").text
    text = f"the code goes back through {public.text} whole passes a step, half the loss of the whole image and half "
    text += (
        f"that of the masked one, runs the encoders {encoders} times, and gives the second decoder text features of "
    )
    text += f"the whole image. That is at least +{show(least, 0)} % of time, where Table 9 has "
    text += f"+{show(printed_time, 1)} %, and it contradicts 3.4 and S34-A"
    same = exact(own) == exact(public)
    printed = "stage one without gradient, loss on the masked image only"
    return Outcome(judged(same, "contradictory"), printed, text, {"least_overhead": float(least)})


def released_share(weak: int, rho: Fraction, blocks: int, pixels: int) -> float:
    """Expected share of blocks that the released rule blanks where `weak` whole blocks of `blocks` are weak.

    All weak * pixels pairs (block, pixel) are listed, n = floor(rho * count) are drawn without replacement, and both
    numbers of a drawn pair, cut at the last block, are blanked. So pixel number j < blocks - 1 blanks block j unless
    none of its `weak` pairs is drawn; the last block stands for all pixels from there on. Weak blocks lie anywhere.
    """
    pairs = weak * pixels
    drawn = max(1, math.floor(pairs * rho))

    def spared(places: int) -> float:
        """Probability that none of `places` pairs is drawn."""
        left = pairs - places
        if left < drawn:
            return 0.0
        return math.exp(_log_choices(left, drawn) - _log_choices(pairs, drawn))

    unrelated = (1 - spared(weak)) * (blocks - 1) + (1 - spared(weak * (pixels - blocks + 1)))
    own = 1 - spared(pixels)
    return own * weak / blocks + (1 - weak / blocks) * unrelated / blocks


def _log_choices(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


@check("X-CODE3", "both")
def released_masks(paper: Paper) -> Outcome:
    """Masks of the released code, on average over where the weak blocks lie."""
    rho = exact(paper.public("X-CODE3", "share"))
    blocks, pixels = (int(exact(paper.quoted("X-CODE3", key))) for key in ("blocks", "pixels"))
    shares = {weak: 100 * released_share(weak, rho, blocks, pixels) for weak in WEAK}
    meant = {weak: 100 * weak / blocks * float(rho) for weak in WEAK}
    text = "the code draws a quarter of the weak (block, pixel) pairs and takes both numbers of each for block "
    text += f"numbers: of {blocks} blocks with {', '.join(map(str, WEAK))} wholly weak it blanks "
    text += f"{', '.join(f'{share:.0f}' for share in shares.values())} %, where a quarter of the weak blocks is "
    text += f"{', '.join(f'{share:.1f}' for share in meant.values())} %"
    holds = all(abs(shares[weak] - 100 * weak / blocks) < 1 for weak in WEAK)
    printed = "pixel-wise dropout, then any-triggers-all"
    return Outcome(judged(holds, "contradictory"), printed, text, {str(weak): share for weak, share in shares.items()})


@check("X-CODE4", "both")
def released_settings(paper: Paper) -> Outcome:
    """Loss and optimiser of CARIS's and the authors' code."""
    weights = paper.publics("X-CODE4", "weights")
    warmup, clip, tokens = (paper.public("X-CODE4", key).text for key in ("warmup", "clip", "tokens"))
    text = (
        f"class weights {texts(weights)}, warm-up of {warmup} iterations, clipping at {clip}, half precision, best val "
    )
    text += f"oIoU kept, at most {tokens} tokens: the paper tells none of it"
    same = [exact(a) for a in weights] == [exact(a) for a in paper.quotes("X-CODE4", "weights")]
    return Outcome(judged(same, "unclear"), "plain cross-entropy; AdamW, poly", text)


@check("X-LEAK1", "both")
def leaked_pictures(paper: Paper) -> Outcome:
    """Evaluated pictures that are training pictures; `leak.py` counts them where the annotations are there."""
    images, seen, sentences, theirs = (
        int(exact(paper.public("X-LEAK1", key))) for key in ("images", "seen_images", "sentences", "seen_sentences")
    )
    text = f"{seen:,} of {images:,} images of RefCOCOg (umd) val, {theirs:,} of {sentences:,} sentences, are training "
    text += f"images of RefCOCO+ ({show(100 * Fraction(seen, images), 0)} %), so {images - seen} are unseen"
    numbers = {"images": seen, "sentences": theirs}
    return Outcome(judged(seen == 0, "contradictory"), "RefCOCOg val, all samples", text, numbers)
