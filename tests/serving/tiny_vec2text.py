"""The parts of `benchmarks/tiny_inverter.py`, which trains a tiny vec2text, by its path: benchmarks are no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tiny_inverter.py"


def tiny_inverter() -> ModuleType:
    """The script as a module; its encoder needs sentence-transformers, its training vec2text."""
    spec = importlib.util.spec_from_file_location("tiny_inverter", SCRIPT)
    assert spec and spec.loader
    module = sys.modules.setdefault("tiny_inverter", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


def make_encoder(folder: Path) -> Path:
    """A 768-wide sentence-transformers encoder with random weights. → its folder"""
    tiny = tiny_inverter()
    tiny.write_t5(folder / "t5", len(tiny.write_tokenizer(folder / "t5")))
    tiny.write_encoder(folder / "encoder", folder / "t5")
    return folder / "encoder"
