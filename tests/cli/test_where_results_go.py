"""Where results are written: refused before the work when it cannot be, readable on every terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from command_line import Segue
from segue.artifacts import write_text
from segue.cli.app import app
from segue.errors import InputError


def one_line(ran, *told: str) -> None:
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: ") and ran.err.count("\n") == 1, ran.err
    for piece in told:
        assert piece in ran.err, (piece, ran.err)


def test_a_file_in_a_folder_that_is_not_there_is_refused_before_the_work(segue: Segue, make_store, tmp_path: Path):
    """It was a traceback, after all the work. That it comes before: the store named here does not exist."""
    missing = ("folder", "does not exist. Make it first")
    store = make_store([np.eye(4)] * 10)
    one_line(segue("split", store.path, "--out", tmp_path / "no/split.json"), *missing)
    for command in (("split", "--out", tmp_path / "s.json"), ("check",), ("store", "describe"), ("5cat",)):
        one_line(segue(*command, tmp_path / "no-store", "--json", tmp_path / "no/x.json"), *missing)
    one_line(segue("check", tmp_path / "no-store", "--json", tmp_path), "is a folder where a file is wanted")
    one_line(segue("check", tmp_path / "no-store", "--json", store.path / "manifest.json/x"), "part of its path is a")
    with pytest.raises(InputError, match="Make it first"):
        write_text(tmp_path / "no/x.json", "{}")


def test_a_result_inside_the_folder_that_a_command_makes(segue: Segue, tmp_path: Path):
    vectors = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "v.npz", vectors=vectors, document=np.repeat(range(4), 10), position=np.tile(range(10), 4))
    out = tmp_path / "made/store"
    assert segue("import", tmp_path / "v.npz", "--out", out, "--json", out / "told.json").status == 0
    assert json.loads((out / "told.json").read_text())["kind"] == "store"


@pytest.mark.parametrize("swapped", [False, True])
def test_it_may_be_named_before_that_folder_and_from_any_caller(tmp_path: Path, swapped: bool):
    """The place of --out was read off the words of this process, which another caller's words are not."""
    np.savez(tmp_path / "v.npz", vectors=np.eye(4), document=[0, 0, 1, 1], position=[0, 1, 0, 1])
    out = tmp_path / "made/store"
    words = [f"--out={out}", f"--json={out / 'told.json'}"]
    ran = CliRunner().invoke(app, ["import", str(tmp_path / "v.npz"), *(reversed(words) if swapped else words)])
    assert ran.exit_code == 0, ran.exception
    assert json.loads((out / "told.json").read_text())["kind"] == "store"


def test_every_command_that_makes_a_folder_knows_it_first():
    for name in ("import", "embed", "train", "steer", "demo", "notes"):
        command = typer.main.get_command(app).commands[name]
        assert next(parameter for parameter in command.params if parameter.name == "out").is_eager, name


def test_a_result_in_a_closed_folder_is_refused(segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, as tests may run, may write anywhere
    one_line(segue("check", tmp_path / "no-store", "--json", tmp_path / "x.json"), "not writable by you")


def test_the_line_of_a_split_is_broken_by_the_width_of_the_terminal_only(
    segue: Segue, make_store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A table's own title is as narrow as the table: the name of a file came in pieces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    make_store([np.eye(4)] * 10)
    ran = segue("split", "store", "--out", "a-rather-long-name.json", "--seed", 3)
    assert ran.out.splitlines()[0].rstrip() == "a-rather-long-name.json: fractions 0.8,0.1,0.1, seed 3"


def test_a_terminal_of_ascii_alone(make_store, tmp_path: Path):
    """PYTHONIOENCODING=ascii raised UnicodeEncodeError. JSON keeps what it holds, escaped."""
    store = make_store([np.eye(4)] * 10)
    split = tmp_path / "größe-→.json"

    def run(*options: object) -> str:
        command = [sys.executable, "-c", "from segue.cli import main; main()", "split", store.path, "--out", split]
        ran = subprocess.run(
            [*map(str, command), *map(str, options)],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
        )
        assert ran.returncode == 0 and not ran.stderr, ran.stderr
        return ran.stdout.decode("ascii")

    assert "train" in run()
    assert json.loads(run("--json", "-"))["split"] == str(split)
