"""Data flows one way: a stage imports only the ground and stages to its left (DESIGN)."""

import ast
from pathlib import Path

import pytest

import segue

ROOT = Path(segue.__file__).parent
STAGES = ["text", "vectors", "windows", "models", "alignment", "objectives", "training", "report", "serving"]
GROUND = {"artifacts", "errors", "geometry", "progress", "statistics", "InputError"}


def imported(path: Path) -> set[str]:
    """Second names of all `segue.X` a file imports when it runs; what only a type checker reads does not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "segue":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("segue.")}
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_what_lies_to_its_left(stage: str):
    allowed = GROUND | set(STAGES[: STAGES.index(stage) + 1])
    for path in sorted((ROOT / stage).rglob("*.py")):
        assert imported(path) <= allowed, f"{path.relative_to(ROOT)} imports {imported(path) - allowed}"


def test_the_ground_imports_no_stage():
    for name in GROUND - {"InputError"}:
        assert imported(ROOT / f"{name}.py") <= GROUND


def test_every_folder_is_a_known_stage():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert folders == {*STAGES, "cli", "recipe", "recipes"}
