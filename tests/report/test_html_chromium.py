"""The page in a real browser: silent, a click on a number leads to its run, and it fits a phone and paper."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser, needs_chromium
from fake_store import make_plan
from injected_store import inject
from PIL import Image

from amlrepro.report.html.page import write_html
from amlrepro.report.html.parts import PageFigure
from amlrepro.report.tabledata import build_table
from amlrepro.suite.experiment import experiment_names
from amlrepro.suite.plan import Plan
from amlrepro.suite.store import Store

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.xdist_group("chromium")]
FIRST = "a[data-cell]"
PAPER_WIDTH = 1032  # A4 landscape less margins of 12 mm, in CSS pixels
WATERMARK = (247, 241, 224)  # its colour, behind the text of every page
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="1400" height="300"><rect width="1400" height="300"/></svg>'


def make_page(folder: Path, profile: str) -> Path:
    """Every experiment with results, and a figure that is wider than a phone."""
    store, plan = Store(folder, profile), make_plan(profile, experiments=tuple(experiment_names()))
    inject(store, plan)
    picture = folder / "wide.svg"
    picture.write_text(SVG)
    figure = PageFigure("figure7", "wide", "A wide figure", "a grey bar", (picture,))
    return write_html(store, plan, [build_table(store, plan, e) for e in plan.experiments], [figure], folder)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("page"), "paper")


@pytest.fixture(scope="module")
def watermarked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("page"), "demo")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def plan_of(profile: str) -> Plan:
    return make_plan(profile, experiments=tuple(experiment_names()))


def test_opens_without_a_complaint_and_fetches_nothing(browser: Browser, page: Path, watermarked: Path) -> None:
    for path, dark in itertools.product((page, watermarked), (False, True)):
        browser.open(path, dark=dark)
        browser.settle()
        assert browser.complaints == []
        others = [url for url in browser.requests if not url.startswith("data:")]
        assert others == [path.as_uri()]


def test_the_browser_would_complain(browser: Browser, tmp_path: Path) -> None:
    """The test above can fail: an exception, a console error and a refused picture are seen."""
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('one'); fetch('http://127.0.0.1:9/'); throw Error('two')</script>")
    browser.open(page)
    browser.settle()
    found = " ".join(browser.complaints)
    assert "one" in found
    assert "two" in found
    assert "ERR_" in found


def test_a_script_that_is_not_the_page_s_own_is_not_run(browser: Browser, page: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    changed.write_text(page.read_text("utf-8").replace("</main>", "<script>window.stranger = 1</script></main>"))
    browser.open(changed)
    assert browser.run("window.stranger === undefined")
    assert "Content Security Policy" in " ".join(browser.complaints)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_click_on_a_number_leads_to_its_run(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    target = browser.run(f"document.querySelector('{FIRST}').hash.slice(1)")
    assert browser.run(f"document.getElementById({target!r}).open") is False
    browser.click(FIRST)
    assert browser.run("decodeURIComponent(location.hash.slice(1))") == target
    assert browser.run(f"document.getElementById({target!r}).open") is True
    top = browser.run(f"document.getElementById({target!r}).getBoundingClientRect().top")
    assert 0 <= top < browser.run("innerHeight") / 2
    assert browser.run("document.activeElement.closest('details.run').id") == target
    back = f"[id='{target}'] .uses a"
    cell = browser.run(f'document.querySelector("{back}").hash.slice(1)')
    browser.click(back)
    assert browser.run("document.querySelector(':target').id") == cell


def test_every_number_s_link_opens_its_run(browser: Browser, page: Path) -> None:
    browser.open(page)
    wrong = browser.run(
        "Array.from(document.querySelectorAll('a[data-cell]')).filter((a) => {"
        " const run = document.getElementById(decodeURIComponent(a.hash.slice(1)));"
        " return !run || !run.matches('details.run') || !a.closest('td').id; }).length"
    )
    assert wrong == 0
    assert browser.run("document.querySelectorAll('a[data-cell]').length") > 500
    assert browser.run("document.querySelectorAll('details.run').length") == len(plan_of("paper").runs)


def test_pointing_at_a_number_or_focusing_it_shows_how_it_was_made(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("document.getElementById('card').hidden") is True
    browser.point(FIRST)
    assert browser.run("document.getElementById('card').hidden") is False
    text = browser.run("document.getElementById('card').textContent")
    assert "75.64" in text  # DETRIS, RefCOCO val
    assert "last, epoch 50" in text
    run = browser.run(f"document.querySelector('{FIRST}').hash.slice(5)")
    assert run in text
    browser.press("Escape", 27)
    assert browser.run("document.getElementById('card').hidden") is True
    browser.open(page)
    browser.run("document.querySelector('a[data-cell]').closest('.scroll').focus()")
    for _ in range(20):
        browser.press("Tab", 9)
        if browser.run("document.activeElement.matches('a[data-cell]')"):
            break
    assert browser.run("document.getElementById('card').hidden") is False
    assert browser.run("document.activeElement.getAttribute('aria-describedby')") == "card"
    browser.press("Enter", 13, "\r")
    assert browser.run("location.hash").startswith("#run-")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_does_not_overflow(browser: Browser, page: Path, watermarked: Path, width: int) -> None:
    for path in (page, watermarked):
        browser.open(path, width)
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        assert browser.run("document.documentElement.scrollWidth") <= width


def test_on_a_phone_a_wide_table_scrolls_and_its_first_column_stays(browser: Browser, page: Path) -> None:
    browser.open(page, 390)
    at = (
        "(() => { const t = document.getElementById('table1-miou'), s = t.closest('.scroll');"
        " s.scrollLeft = %d; const m = t.querySelector('tbody th').getBoundingClientRect();"
        " return [s.scrollWidth > s.clientWidth, s.scrollLeft, m.left - s.getBoundingClientRect().left]; })()"
    )
    assert browser.run(at % 0) == [True, 0, 0]
    assert browser.run(at % 200) == [True, 200, 0]


@pytest.mark.parametrize("name", ["page", "watermarked"])
def test_on_paper_nothing_is_cut(browser: Browser, request: pytest.FixtureRequest, name: str) -> None:
    browser.open(request.getfixturevalue(name), PAPER_WIDTH, printed=True)
    assert browser.run("document.documentElement.scrollWidth") <= PAPER_WIDTH
    cut = browser.run(
        "Array.from(document.querySelectorAll('.experiment table, .experiment img')).filter("
        f"(t) => t.getBoundingClientRect().right > {PAPER_WIDTH} + 1).map((t) => t.id || t.tagName)"
    )
    assert cut == []


@pytest.mark.skipif(not shutil.which("pdftoppm"), reason="pdftoppm is not installed")
def test_printed_from_a_dark_screen_it_is_light_and_every_page_is_watermarked(
    browser: Browser, watermarked: Path, tmp_path: Path
) -> None:
    browser.open(watermarked, dark=True)
    browser.pdf(tmp_path / "page.pdf")
    subprocess.run(["pdftoppm", "-r", "40", "-png", tmp_path / "page.pdf", tmp_path / "sheet"], check=True)
    sheets = sorted(tmp_path.glob("sheet*.png"))
    assert len(sheets) > 20
    for sheet in sheets:
        pixels = np.asarray(Image.open(sheet).convert("RGB")).astype(int)
        assert pixels[:8].min() == 255  # the margin
        assert (np.abs(pixels - WATERMARK).max(axis=2) <= 2).sum() > 200


def test_tables_have_headers_and_parts_have_names(browser: Browser, page: Path) -> None:
    browser.open(page)
    bare = browser.run(
        "Array.from(document.querySelectorAll('table')).filter((t) => !t.caption || !t.caption.textContent.trim()"
        " || !t.querySelector('thead th[scope]') || Array.from(t.tBodies[0].rows).some("
        "(r) => !r.cells[0].matches('th[scope=row]'))).map((t) => t.id)"
    )
    assert bare == []
    ragged = browser.run(
        "Array.from(document.querySelectorAll('table.numbers')).filter((t) => {"
        " const width = (r) => Array.from(r.cells).reduce((n, c) => n + c.colSpan, 0);"
        " const top = width(t.tHead.rows[0]); return Array.from(t.tBodies[0].rows).some((r) => width(r) !== top); })"
        ".map((t) => t.id)"
    )
    assert ragged == []
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = {node["role"]["value"] for node in nodes if not node.get("ignored")}
    assert {"main", "navigation", "banner", "contentinfo", "columnheader", "rowheader", "table"} <= roles
    for role in ("link", "image", "region", "searchbox"):
        named = [n["name"]["value"] for n in nodes if n["role"]["value"] == role and not n.get("ignored")]
        assert named
        assert all(text.strip() for text in named)
    heads = browser.run("Array.from(document.querySelectorAll('h1,h2,h3,h4')).map((h) => +h.tagName[1])")
    assert heads[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(heads))


def test_runs_are_found_by_words(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.getElementById('filter').value = 'aml s0 COMBINED'")
    browser.run("document.getElementById('filter').dispatchEvent(new Event('input'))")
    shown = browser.run("Array.from(document.querySelectorAll('details.run:not([hidden])')).map((r) => r.id)")
    wanted = [f"run-{run}" for run in plan_of("paper").runs if all(w in run.lower() for w in ("aml", "s0", "combined"))]
    assert shown == wanted
    browser.click(FIRST)  # to a run that is filtered out: the filter goes
    assert browser.run("document.querySelectorAll('details.run[hidden]').length") == 0


def test_contrast_as_rendered(browser: Browser, page: Path) -> None:
    """Of every text, on the ground that really is behind it, in light and dark."""
    script = """
    (() => {
      const parse = (c) => c.match(/[\\d.]+/g).map(Number);
      const part = (v) => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
      const lum = (c) => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
      const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c } return [255, 255, 255] };
      let least = 99, where = '';
      for (const e of document.querySelectorAll('body *')) {
        if (!Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
        if (!e.checkVisibility() || e.closest('.vh, .skip, script')) continue;
        const [a, b] = [lum(parse(getComputedStyle(e).color)), lum(ground(e))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < least) { least = ratio; where = e.outerHTML.slice(0, 120) }
      }
      return [least, where];
    })()"""
    for dark in (False, True):
        browser.open(page, dark=dark)
        least, where = browser.run(script)
        assert 4.5 <= least < 22, where
