"""The page: what it says is what the tables say, nothing in it can do harm, and it can be read by anyone."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_store import dump_config, fill, finish_run, make_plan

from amlrepro.errors import UserError
from amlrepro.files import write_json, write_text
from amlrepro.report.html.content import Chapter, Page, Text, Tile, grid
from amlrepro.report.html.overview import overview
from amlrepro.report.html.page import write_html
from amlrepro.report.html.parts import PageFigure, Verdict
from amlrepro.report.tabledata import TableData, build_table
from amlrepro.suite.plan import Plan
from amlrepro.suite.printed import load_printed
from amlrepro.suite.store import Store

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \" ' & {{ 7 * 7 }}"
TEMPLATES = Path(sys.modules["amlrepro.report.html.page"].__file__ or "").parent / "templates"


class Outline(HTMLParser):
    """Elements, ids, links and texts of a page, by the standard library's parser."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if values.get("id") and tag == "td":
            self._open.append(str(values["id"]))
            self.texts[str(values["id"])] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in self._open:
            self.texts[name] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [str(values["id"]) for _, values in self.elements if values.get("id")]


def tables_of(store: Store, plan: Plan) -> list[TableData]:
    return [build_table(store, plan, experiment) for experiment in plan.experiments]


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan, list[TableData]]:
    """Table 1 in two seeds; one run of DETRIS has failed, one lacks its last seed."""
    store, plan = Store(tmp_path_factory.mktemp("store"), "paper"), make_plan("paper", (0, 1))
    whole = dataclasses.replace(plan, runs={k: r for k, r in plan.runs.items() if not k.startswith("detris")})
    fill(store, whole, samples=30, images=10)
    failed = next(run for run in plan.runs.values() if run.run_id.startswith("detris"))
    write_text(store.run(failed.run_id).config, dump_config(failed.config))
    store.run(failed.run_id).write_state("failed", epoch=7, reason=NASTY)
    first = next(iter(whole.runs.values()))
    session = {
        "start": 1_760_000_000.0,
        "end": 1_760_007_200.0,
        "host": "secret-host",
        "command": ["/home/somebody/worker.py"],
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "versions": {"torch": "2.6.0"},
        "hardware": {"cpus": 8, "memory_gib": 64.0, "gpus": ["A800", "A800"], "system": "Linux"},
    }
    write_json(store.run(first.run_id).provenance, {"run_id": first.run_id, "data": {}, "sessions": [session]})
    return store, plan, tables_of(store, plan)


@pytest.fixture(scope="module")
def page(paper: tuple[Store, Plan, list[TableData]], tmp_path_factory: pytest.TempPathFactory) -> str:
    store, plan, tables = paper
    return write_html(store, plan, tables, [], tmp_path_factory.mktemp("page")).read_text("utf-8")


def test_a_cell_holds_printed_ours_and_difference(page: str, paper: tuple[Store, Plan, list[TableData]]) -> None:
    outline = Outline(page)
    seen = 0
    for table in paper[2]:
        for block in table.blocks:
            lines = {(line.row, line.kind): line for line in block.lines}
            for (row, key), result in block.cells.items():
                j = [column.key for column in block.columns].index(key)
                text = outline.texts[f"cell-{table.id}-{block.id}-{row}-{key}"]
                words = text.split()
                printed = lines.get((row, "printed")) or lines[row, "cited"]
                assert printed.entries[j].text in text
                if result.value is not None:
                    seen += 1
                    here, difference = (lines[row, kind].entries[j].text for kind in ("here", "difference"))
                    assert words[words.index("here") + 1] == here
                    assert words[words.index("difference") + 1].startswith(difference)
    assert seen == 3 * 2 * 9  # three blocks, CARIS with and without AML, eight splits and their mean


def test_every_link_has_its_target_and_every_id_is_there_once(page: str) -> None:
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    targets = [str(link["href"]) for link in outline.all("a")]
    assert targets
    assert {target.removeprefix("#") for target in targets} <= set(outline.ids)
    assert all(target.startswith("#") for target in targets)


def test_a_number_links_to_the_run_it_came_from(page: str, paper: tuple[Store, Plan, list[TableData]]) -> None:
    links = {str(link["data-cell"]): str(link["href"]) for link in Outline(page).all("a") if "data-cell" in link}
    cards = json.loads(re.search(r'id="cards">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    for table in paper[2]:
        for block in table.blocks:
            for (row, column), result in block.cells.items():
                place = f"cell-{table.id}-{block.id}-{row}-{column}"
                assert links.get(place) == (f"#run-{result.run_ids[0]}" if result.run_ids else None)
                if result.run_ids:
                    assert [run.removeprefix("run-") for run, _ in cards[place]["runs"]] == list(result.run_ids)


def test_missing_cells_are_counted_with_their_reasons(page: str) -> None:
    # DETRIS: two blocks, RefCOCO and RefCOCO+, three splits each; no average is printed for it.
    assert "<b>54</b> of 66" in page
    counted = re.search(r'<ul class="missing">(.*?)</ul>', page, re.S)
    assert counted is not None
    assert sum(map(int, re.findall(r"<b>(\d+)</b> cells", counted[1]))) == 12
    assert "not run yet" in counted[1]
    assert "training failed: &lt;/script&gt;" in counted[1]


def test_errata_are_marked_and_told(page: str) -> None:
    outline = Outline(page)
    assert "remark-1" in " ".join(outline.ids)
    assert "audit T1-AVG2" in page
    assert "68.01" in outline.texts["cell-table1-miou-lavt-avg"]  # 68.0 with mark 1


def test_provenance_and_cost_without_names_of_people_or_machines(page: str) -> None:
    assert "2025-10-09 08:53 UTC to 2025-10-09 10:53 UTC" in page
    assert "Code 0123456789ab with uncommitted changes" in page
    assert "2 x A800, 8 CPU cores, 64 GiB" in page
    assert "secret-host" not in page
    assert "/home/somebody" not in page
    assert "Training time, measured</dt><dd><b>2.0 h</b>" in page  # 7,200 seconds


def test_what_others_wrote_is_shown_and_not_obeyed(page: str) -> None:
    outline = Outline(page)
    assert len(outline.all("script")) == 2
    assert not [image for image in outline.all("img") if image.get("src") == "x"]
    assert "{{ 7 * 7 }}" in page
    assert "alert(1)" in page
    policy = next(m["content"] for m in outline.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_nothing_is_fetched(page: str) -> None:
    outline = Outline(page)
    sources = [
        v for _, e in outline.elements for k, v in e.items() if k in ("src", "srcset", "data", "action", "poster")
    ]
    assert not [source for source in sources if not str(source).startswith("data:")]
    style = (TEMPLATES / "style.css").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert "fetch(" not in (TEMPLATES / "script.js").read_text("utf-8")


def test_tables_have_captions_and_headers_with_scope(page: str) -> None:
    assert page.count("<table") == page.count("<caption")
    outline = Outline(page)
    assert {str(header.get("scope")) for header in outline.all("th")} == {"row", "col", "colgroup"}
    assert outline.all("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer"):
        assert len(outline.all(landmark)) == 1


def test_watermark_stands_above_and_nothing_is_compared(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    fill(store, plan, samples=20, images=8)
    text = write_html(store, plan, tables_of(store, plan), [], tmp_path).read_text("utf-8")
    assert '<div class="stamp" role="note"><strong>SYNTHETIC DATA</strong>' in text
    assert text.count('<span class="badge">SYNTHETIC DATA</span>') == 3  # one a block
    assert 'class="difference"' not in text.partition("</main>")[0].partition("table1-title")[2]
    assert "no difference from the paper is given" in text


def test_figures_are_inside_and_told_in_words(paper: tuple[Store, Plan, list[TableData]], tmp_path: Path) -> None:
    store, plan, tables = paper
    svg, png, other = tmp_path / "a.svg", tmp_path / "a.png", tmp_path / "a.pdf"
    svg.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    png.write_bytes(b"\x89PNG")
    drawn = PageFigure("table1", "radar", "Radar", NASTY, (other, png, svg))
    text = write_html(store, plan, tables, [drawn], tmp_path).read_text("utf-8")
    (image,) = Outline(text).all("img")
    assert str(image["src"]).startswith("data:image/svg+xml;base64,")
    assert image["alt"] == NASTY
    svg.write_text("<svg><image href='data:'/></svg>")  # made of pixels: the smaller PNG is taken
    assert drawn.data_uri().startswith("data:image/png;base64,")
    with pytest.raises(UserError, match="no picture for the page"):
        PageFigure("table1", "radar", "Radar", "", (other,)).data_uri()


def test_a_figure_links_to_its_runs_or_says_why_it_is_not_drawn(
    paper: tuple[Store, Plan, list[TableData]], tmp_path: Path
) -> None:
    store, plan, tables = paper
    run_id = next(iter(plan.runs))
    (tmp_path / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    figures = [
        PageFigure("table1", "there", "There", "alt", (tmp_path / "a.svg",), run_ids=(run_id,)),
        PageFigure("table1", "absent", "Absent", "", (), reason=NASTY),
    ]
    text = write_html(store, plan, tables, figures, tmp_path).read_text("utf-8")
    inside = text.partition('id="table1-there"')[2].partition("</figure>")[0]
    assert f'<a href="#run-{run_id}">' in inside
    assert "Not drawn: &lt;/script&gt;" in text.partition('id="table1-absent"')[2]
    assert "Figures drawn</dt><dd><b>1</b> of 2" in text
    assert "<b>1</b> figure: &lt;/script&gt;" in text


def test_verdicts_have_a_place_and_without_any_none_is_shown(
    page: str, paper: tuple[Store, Plan, list[TableData]], tmp_path: Path
) -> None:
    store, plan, tables = paper
    bare = Outline(page)
    assert not [e for _, e in bare.elements if e.get("class") == "verdict" or str(e.get("id")).startswith("verdict")]
    given = {("table1", "oiou", "caris_aml", "refcoco.val"): Verdict("not yet decided", NASTY)}
    text = write_html(store, plan, tables, [], tmp_path, verdicts=given).read_text("utf-8")
    outline = Outline(text)
    assert "not yet decided" in outline.texts["cell-table1-oiou-caris_aml-refcoco.val"]
    assert "verdicts" in outline.ids
    assert len(outline.all("script")) == 2


def test_the_same_store_gives_the_same_bytes(
    page: str, paper: tuple[Store, Plan, list[TableData]], tmp_path: Path
) -> None:
    store, plan, tables = paper
    assert write_html(store, plan, tables, [], tmp_path).read_text("utf-8") == page


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio by WCAG 2.2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_by_hand() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the textbook near miss


def palettes() -> dict[str, dict[str, str]]:
    """Colours by name: light, dark and print."""
    style = (TEMPLATES / "style.css").read_text("utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for name, block in zip(("light", "dark", "print"), blocks, strict=True)
    }


@pytest.mark.parametrize("name", ["light", "dark", "print"])
def test_contrast_of_every_text_on_every_ground_it_stands_on(name: str) -> None:
    colours = palettes()[name]
    for ground in ("paper", "panel", "tint"):
        for text in ("ink", "soft", "accent", "good", "bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["stamp-ink"], colours["stamp"]) >= 4.5
    for ground in ("paper", "panel", "tint"):  # an outline is no text: 3
        assert contrast(colours.get("focus", "#000000"), colours[ground]) >= 3


def test_the_page_needs_no_torch() -> None:
    code = (
        "import sys, amlrepro.report.html.page;"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'jinja2', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pages_beside_are_linked_watermarked_and_harmless(tmp_path: Path) -> None:
    store, plan = Store(tmp_path, "demo"), make_plan("demo")
    fill(store, plan, samples=12, images=4)
    rows = [[Text(NASTY, "bad", detail=NASTY), "`code`", Text("3", href="index.html#runs", anchor="here")]]
    chapter = Chapter(
        "first", "First", (NASTY,), (Tile("name", "7", NASTY),), (NASTY,), (grid(NASTY, ["a", "b", ">c"], rows),)
    )
    pages = [Page("claims", "Verdicts", "Claims", NASTY, (chapter,)), Page("audit", "Audit", "The paper", "lead", ())]
    index = write_html(store, plan, tables_of(store, plan), [], tmp_path / "out", beside=pages)
    files = ["index.html", "claims.html", "audit.html"]
    for name in files:
        text = (index.parent / name).read_text("utf-8")
        outline = Outline(text)
        links = [a["href"] for a in outline.all("a") if not str(a["href"]).startswith("#")]
        assert [link for link in links if link in files] == files
        assert [a["href"] for a in outline.all("a") if a.get("aria-current") == "page"] == [name]
        assert "SYNTHETIC DATA" in text
        assert "<img src=x" not in text
        assert {*outline.ids} >= {str(a["href"])[1:] for a in outline.all("a") if str(a["href"]).startswith("#")}
    text = (index.parent / "claims.html").read_text("utf-8")
    assert '<span class="result bad">&lt;/script&gt;' in text
    assert "<code>code</code>" in text
    assert '<td id="here" class="n"><a href="index.html#runs">3</a></td>' in text


def test_hours_are_at_the_pace_of_the_store_where_it_has_one(tmp_path: Path) -> None:
    """CARIS at 10 images/s, 8 referents an epoch, epoch 1 only: 0.8 s; each of Table 7's two AML runs takes longer by
    Table 9's ratio of minutes. Before anything has run nothing is known of models so small."""
    store, plan = Store(tmp_path, "smoke"), make_plan("smoke", (0,), ("table7",))
    before = overview(store, plan, [], [], [])
    assert (before.gpu, before.paced, before.hours) == ("A800", False, None)
    run = next(run for run in plan.runs.values() if run.config.strategy == "plain")
    finish_run(store, run)
    write_json(store.run(run.run_id).provenance, {"sessions": [{"from_step": 0, "device": "cpu", "start": 1.0}]})
    row = {"kind": "epoch", "epoch": 1, "step": 2, "loss": 1.0, "images_per_s": 10.0, "seconds": 0.8}
    write_text(store.run(run.run_id).history, json.dumps(row) + "\n")
    after = overview(store, plan, [], [], [])
    minutes = load_printed("table9")
    ratio = minutes.value("caris_aml", "time_min_per_epoch") / minutes.value("caris", "time_min_per_epoch")
    assert (after.gpu, after.paced) == ("CPU", True)
    assert after.hours == pytest.approx(0.8 * (1 + 2 * ratio) / 3600)
    page = write_html(store, plan, tables_of(store, plan), [], tmp_path / "page").read_text("utf-8")
    assert "CPU time at the pace measured here" in page
    assert "by the paper’s rates" not in page
