"""Folders that are either finished or visibly not: manifests, hashes, atomic writes, locks.

Every artifact is a folder with a `manifest.json` written last, by rename. A reader asks `read_manifest`; a folder
without one is unfinished and is refused. Writers go through `write_atomic` and never leave a half-written file under
its final name.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from segue.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 1  # raised when a reader of the old format would misread the new one


def _explain(error: OSError, path: Path) -> InputError | None:
    """The user's own trouble with a path, in one line; None when it is not the user's."""
    if error.errno == errno.ENOENT and not path.parent.is_dir():
        return InputError(f"{path}: its folder {path.parent} does not exist. Make it first (`mkdir -p {path.parent}`).")
    remedy = {
        errno.EACCES: "is not writable by you. Choose another --out or change its permissions.",
        errno.EPERM: "is not writable by you. Choose another --out or change its permissions.",
        errno.EROFS: "lies on a read-only file system. Choose another --out.",
        errno.ENOSPC: "could not be written: the disk is full. Free some space and run the same command again: "
        "what was finished is kept.",
        errno.EDQUOT: "could not be written: your disk quota is used up. Free some space and run the same command "
        "again: what was finished is kept.",
        errno.EFBIG: "could not be written: it is larger than this system lets a file be (`ulimit -f`). Raise the "
        "limit and run the same command again: what was finished is kept.",
        errno.ENOTDIR: "is not a folder, or a part of its path is a file. Choose another --out.",
        errno.EEXIST: "is a file where a folder is wanted. Choose another --out.",
        errno.EISDIR: "is a folder where a file is wanted. Choose another name.",
    }.get(error.errno or 0)
    return InputError(f"{path}: {remedy}") if remedy else None


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn the operating system's refusals (no permission, disk full, …) into an InputError that names `path`.

    Raises InputError for those; any other OSError passes unchanged.
    """
    try:
        yield
    except OSError as error:
        told = _explain(error, Path(path))
        if told is None:
            raise
        raise told from error


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents; writable, or an InputError that says why not."""
    path = Path(path)
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "not writable", str(path))
    return path


def refuse_unwritable(path: str | Path) -> None:
    """Raise InputError when a file could not be written under `path`: said before the work, not after it."""
    path = Path(path)
    with explained(path):
        code = 0
        if path.is_dir():
            code = errno.EISDIR
        elif not path.parent.exists():
            code = errno.ENOENT
        elif not path.parent.is_dir():
            code = errno.ENOTDIR
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            code = errno.EACCES
        if code:
            raise OSError(code, os.strerror(code), str(path))


@contextmanager
def write_atomic(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path` whole or not at all.

    Written beside its final name, flushed to disk, then renamed; on any error the temporary file is removed and what
    was at `path` before stays.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with explained(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with write_atomic(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON with NaN refused: what was not computed is null, never NaN (STYLE)."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises InputError, naming the file, when it is missing or not JSON."""
    path = Path(path)
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, a JSON file is wanted. Check the path.") from None
    except PermissionError:
        raise InputError(f"{path}: is not readable by you. Change its permissions.") from None
    except ValueError as error:
        raise InputError(
            f"{path}: is not valid JSON ({error}). Write it again with the command that made it."
        ) from None


def hash_file(path: str | Path) -> str:
    """sha256 of a file's bytes, as `sha256:…`."""
    with Path(path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def hash_json(value: Any) -> str:
    """sha256 of a value's canonical JSON, as `sha256:…`."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def write_manifest(folder: str | Path, kind: str, made_by: str, **fields: Any) -> dict[str, Any]:
    """Finish an artifact: write its `manifest.json`, the last file of the folder."""
    manifest = {
        "kind": kind,
        "format": FORMAT,
        "made_by": made_by,
        "segue": version("segue"),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **fields,
    }
    write_json(Path(folder) / MANIFEST, manifest)
    return manifest


def is_finished(folder: str | Path) -> bool:
    """Whether a folder holds a finished artifact."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: str | Path, kind: str) -> dict[str, Any]:
    """The manifest of a finished artifact of one kind.

    Raises InputError when the folder is missing, unfinished, of another kind, or of a later format.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such {kind}. Check the path.")
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, a {kind} folder is wanted. Check the path.")
    if not is_finished(folder):
        raise InputError(
            f"{folder}: has no {MANIFEST}, so it is not a finished {kind}. "
            f"Run the command that makes it again; it goes on where it stopped."
        )
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(f"{folder}: holds a {found}, a {kind} is wanted. Check the path.")
    if not isinstance(manifest.get("format", 0), int):
        raise InputError(
            f"{folder / MANIFEST}: its format is {manifest['format']!r}, a number is wanted. Fetch it again."
        )
    if manifest.get("format", 0) > FORMAT:
        raise InputError(
            f"{folder}: is in format {manifest['format']}, this segue reads up to {FORMAT}. Upgrade segue to read it."
        )
    return manifest


@contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Hold a folder against a second writer. Released by the operating system however the process ends.

    Raises InputError when another process holds it.
    """
    path = Path(folder) / ".lock"
    with explained(path):
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another segue process is writing here. Wait for it, or choose another --out."
            ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_held(folder: str | Path) -> bool:
    """Whether a process holds a folder's lock now. Looks without writing; a lock left by a kill does not count."""
    try:
        file = (Path(folder) / ".lock").open("rb")
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
