"""From contents to an HTML answer: the report's templates and the studio's own, one frame, one policy."""

from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from segue.report.compare_page import shown, title_of
from segue.report.levels import gates_text
from segue.report.numerals import interval, number, size
from segue.report.page import environment as report_environment
from segue.serving.studio.sparkline import sparkline

# Nothing inline and nothing from elsewhere: a chunk of text that held a script could not run it even unescaped.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
NAV = (
    ("runs", "Runs", "/"),
    ("compare", "Compare", "/compare"),
    ("frontier", "Frontier", "/frontier"),
    ("corpus", "Corpus", "/corpus"),
    ("map", "Map", "/map"),
    ("chat", "Chat", "/chat"),
)


def environment() -> Environment:
    """The studio's templates, which include the report's."""
    made = report_environment()
    assert made.loader is not None
    made.loader = ChoiceLoader([PackageLoader("segue.serving.studio"), made.loader])
    made.globals |= {
        "nav": NAV,
        "run_url": run_url,
        "shown": shown,
        "title_of": title_of,
        "number": number,
        "size": size,
        "interval": interval,
        "gates_text": gates_text,
        "sparkline": sparkline,
        "clock": clock,
    }
    return made


def run_url(name: str, view: str = "") -> str:
    """The page of a run; its name may hold anything a folder's may."""
    return f"/runs/{quote(name)}" + (f"?view={view}" if view else "")


def clock(when: float) -> str:
    """A moment, as short as tells it: `17:04` today, `21 Nov` this year, `21 Nov 2024` before."""
    then, now = datetime.fromtimestamp(when), datetime.now()
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then.day} {then:%b}" if then.year == now.year else f"{then.day} {then:%b %Y}"


class Pages:
    """Answers rendered from templates."""

    def __init__(self) -> None:
        self._templates = environment()

    def text(self, template: str, **contents: Any) -> str:
        return self._templates.get_template(template).render(contents)

    def answer(self, template: str, status: int = 200, **contents: Any) -> Response:
        return html(self.text(template, **contents), status)

    def part(self, template: str, **contents: Any) -> Markup:
        """A part of a page as it stands there at first."""
        return Markup(self.text(template, **contents))

    def mark(self, template: str, **contents: Any) -> str:
        """Differs when what a part shows does; it asks for itself again with `?seen=MARK`."""
        return sha256(self.text(template, mark="", **contents).encode()).hexdigest()[:16]

    def again(self, request: Request, template: str, **contents: Any) -> Response:
        """The part anew; 204, which changes nothing, while it would be as it was."""
        mark = self.mark(template, **contents)
        known = request.query_params.get("seen", "")
        return Response(status_code=204) if known == mark else self.answer(template, mark=mark, **contents)


def html(text: str, status: int = 200) -> Response:
    return Response(
        text,
        status,
        headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"},
        media_type="text/html; charset=utf-8",
    )
