"""Templates to text: every page has the same frame, its own style and script inside, and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from amlrepro.report.html.content import Page
from amlrepro.suite.plan import Plan

if TYPE_CHECKING:
    import jinja2

Links = Sequence[tuple[str, str]]  # file and name of each page of a report, in order


def render_template(name: str, plan: Plan, stamp: str | None, here: str, links: Links, values: dict[str, Any]) -> str:
    """The text of a template. here: the page's own file; links: all pages, none where there is only one."""
    style, script = _template_text("style.css"), _template_text("script.js")
    frame = {
        "plan": plan,
        "stamp": stamp,
        "here": here,
        "pages": links,
        "newest": None,
        "runs": True,
        "seeds": plan.seeds,
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
    }
    return _environment().get_template(name).render(frame | values)


def render_page(page: Page, plan: Plan, stamp: str | None, links: Links) -> str:
    """A page beside the tables."""
    return render_template(
        "page.html.j2", plan, stamp, page.file, links, {"page": page, "runs": page.runs, "seeds": page.seeds}
    )


@cache  # templates that pages share are compiled once
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("amlrepro.report.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


@cache
def _template_text(name: str) -> Any:
    """A file of the project that goes into the page as it is."""
    from markupsafe import Markup

    return Markup(files("amlrepro.report.html").joinpath("templates", name).read_text("utf-8"))


def _hash(text: str) -> str:
    """A text as the page's own security policy names it: nothing else is run, however it came into the page."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
