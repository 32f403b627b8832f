"""What was worked out before and depends on data, seed and code alone: kept in the user's cache, found by hash.

    CACHE/controls/NAME.safetensors   the arrays
    CACHE/controls/NAME.json          the key they are found by, the hash of the file, texts beside them; written last

CACHE is $SEGUE_CACHE, else $XDG_CACHE_HOME/segue, else ~/.cache/segue; SEGUE_CACHE=off keeps nothing, nor does a user
without a home. NAME is the hash of the key. The key holds the hash of segue's own source, so that no edit of the
harness meets figures of another.
Nothing is unpickled; a file that is not what its hash says is worked out again. Safe to delete at any time.
"""

import hashlib
import logging
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

import segue
from segue.artifacts import hash_json, make_folder, read_json, write_atomic, write_json
from segue.errors import InputError
from segue.windows import Windows

log = logging.getLogger(__name__)

LIMIT = 1 << 30  # bytes kept; beyond, what was not asked for longest goes
Arrays = dict[str, np.ndarray]


@once
def source_hash() -> str:
    """Hash of segue's own Python source: another version, or one edited line, is another hash.

    A process that outlives an edit runs the old code beside the new files: it gets a hash of its own.
    """
    root = Path(segue.__file__).parent
    told, changed_at = hashlib.sha256(), 0.0
    for path in sorted(root.rglob("*.py")):
        told.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
        status = path.stat()
        changed_at = max(changed_at, status.st_mtime, status.st_ctime)
    if changed_at >= segue.LOADED_AT:
        told.update(f"changed since process {os.getpid()} began at {segue.LOADED_AT}".encode())
    return f"sha256:{told.hexdigest()}"


def computed_by(device: str) -> dict[str, Any]:
    """All that a figure's last digits depend on, beside data and seed."""
    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return {
        "source": source_hash(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": [device, accelerator, platform.machine(), torch.backends.cpu.get_cpu_capability()],
        "threads": torch.get_num_threads(),
        "products": torch.get_float32_matmul_precision(),
    }


def hash_array(values: np.ndarray) -> str:
    """sha256 of an array's type, shape and bytes."""
    told = hashlib.sha256(f"{values.dtype} {values.shape} ".encode())
    told.update(np.ascontiguousarray(values).data)
    return f"sha256:{told.hexdigest()}"


def windows_key(windows: Windows) -> dict[str, Any]:
    """Which windows of which store: by hashes of all its files and of the rows, and whether it is read backwards."""
    return {
        "store": windows.store.manifest["hashes"],
        "read": type(windows.store).__name__,
        "windows": hash_array(windows.last_W),
        "context": windows.context,
        "horizon": windows.horizon,
    }


class Cache:
    """A folder of arrays found by a key of hashes. Never the reason a command fails: what cannot be read or written is
    said and done without."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder) / "controls"

    @classmethod
    def of_user(cls) -> "Cache | None":
        """The user's cache as the environment says; None where it says off, or nothing and the user has no home."""
        asked = os.environ.get("SEGUE_CACHE", "")
        if asked.lower() == "off":
            return None
        if asked:
            return cls(asked)
        try:
            return cls(Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "segue")
        except RuntimeError:  # a container's user without a name
            return None

    def find(self, key: Mapping[str, Any]) -> tuple[Arrays, dict[str, Any]] | None:
        """Arrays and texts kept under a key; None where there are none, or damaged ones."""
        arrays, told = self._files(key)
        try:
            if not told.exists():
                return None
            its, blob = read_json(told), arrays.read_bytes()
            if its["key"] != key or its["hash"] != f"sha256:{hashlib.sha256(blob).hexdigest()}":
                raise ValueError("its hash differs")
            found = load(blob)
            beside = dict(its["beside"])
        except OSError as error:
            log.info("%s: cannot be read (%s); worked out again", arrays, error)
            return None
        except (InputError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log.warning("%s: kept figures are damaged (%s); worked out again", arrays, error)
            return None
        with suppress(OSError):  # another's files, or gone meanwhile: then it counts as asked for when it was kept
            os.utime(arrays)
        return found, beside

    def keep(self, key: Mapping[str, Any], arrays: Arrays, beside: Mapping[str, Any]) -> None:
        """Write arrays and what JSON can say beside them, whole or not at all."""
        path, told = self._files(key)
        blob = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
        try:
            make_folder(self.folder)
            told.unlink(missing_ok=True)
            with write_atomic(path) as file:
                file.write(blob)
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            write_json(told, {"key": dict(key), "hash": digest, "beside": dict(beside)})
            self._make_room()
        except (InputError, OSError) as error:
            log.info("figures of the controls are not kept for the next time: %s", error)

    def _files(self, key: Mapping[str, Any]) -> tuple[Path, Path]:
        name = hash_json(key).removeprefix("sha256:")[:32]
        return self.folder / f"{name}.safetensors", self.folder / f"{name}.json"

    def _make_room(self) -> None:
        """Delete what was not asked for longest until the rest is within `LIMIT`."""
        kept = sorted(self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in kept:
            total += path.stat().st_size
            if total > LIMIT and path != kept[0]:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
