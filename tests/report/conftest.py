"""The tiny run as a folder."""

import json
from pathlib import Path
from typing import Any

import pytest

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
