"""Files a page needs, from inside the package: a fixed table, so that no path from a request reaches the disk."""

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from segue.serving.refusals import Refusal

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}


class Assets:
    """The files of one folder, by name. `assets.answer(request, name)` is the response; 404 for any other name."""

    def __init__(self, folder: Path):
        self._files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in TYPES}

    def answer(self, request: Request, name: str) -> Response:
        """The file, or 304 where the browser has it already. Raises Refusal 404."""
        path = self._files.get(name)
        if path is None:
            raise Refusal(404, "no such file.")
        body, tag = _read(path)
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=TYPES[path.suffix])


@cache
def _read(path: Path) -> tuple[bytes, str]:
    body = path.read_bytes()
    return body, f'"{hashlib.sha256(body).hexdigest()[:20]}"'
