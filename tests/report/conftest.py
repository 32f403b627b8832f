"""The tiny run as a folder, and a browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, sync_playwright
from tiny_run import MARKUP, RECIPE, MakeRun


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run(five_cat=…, history=…)` → a finished run folder; None leaves that file out."""

    def make(
        five_cat: dict[str, Any] | None, history: list[dict[str, Any]] | None = None, manifest: bool = True
    ) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        if five_cat is not None:
            (run / "5cat.json").write_text(json.dumps(five_cat))
        if history is not None:
            (run / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in history))
        (run / "recipe.yaml").write_text(RECIPE)
        if manifest:
            fields = {"kind": "run", "format": 1, "made_by": "tests", "segue": "0.1.0", "made_at": "2025-01-01T10:00"}
            (run / "manifest.json").write_text(json.dumps({**fields, "title": MARKUP}))
        return run

    return make


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: the system's where there is one, else playwright's own. Without one the tests fail, with the remedy."""
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        try:
            started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Error as error:
            raise RuntimeError(
                "The report's page is tested in a browser and none was found. Install one with "
                "`.venv/bin/playwright install chromium` (or Debian's package `chromium`)."
            ) from error
        yield started
        started.close()
