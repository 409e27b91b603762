"""Writing files whole or not at all, and one process at a time."""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from worldmodel.errors import BadFile


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` (file or folder) and move it into place when the block succeeds.

    On any exception, Ctrl-C included, the temporary is removed and what stood at ``path`` before still stands. What a
    killed process left is removed, or put back where it stood, by the next one that writes the same path.

    Raises:
        BadFile: the disk is full or the folder is not writable.
    """
    path = Path(path)
    prefix = f".{path.name}.{platform.node()}-"
    temporary, old = (path.with_name(f"{prefix}{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{glob.escape(prefix)}*.???"):
            if not _is_gone(left.stem[len(prefix) :]):
                continue
            if left.suffix == ".old" and not path.exists():  # killed between the two renames below
                left.rename(path)
            else:
                _remove(left)
        yield temporary
        _sync(temporary)
        if temporary.is_dir() and path.is_dir():  # a folder cannot be renamed over another
            path.rename(old)
            try:
                temporary.rename(path)
            except BaseException:
                old.rename(path)
                raise
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    except OSError as error:
        _explain(error, path)
        raise
    finally:
        _remove(temporary)


@contextmanager
def locked(path: str | Path, busy: str) -> Iterator[None]:
    """Hold a lock file while the block runs; the system releases it however the process ends.

    Where the system or the file system has no such locks, nothing is locked.

    Raises:
        BadFile: another process holds it; ``busy`` is the message.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115
    except FileNotFoundError as error:  # the holder is just removing it
        raise BadFile(busy) from error
    except OSError as error:
        _explain(error, path)
        raise
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadFile(busy) from error
        except (ImportError, OSError):
            pass
        yield


def _explain(error: OSError, path: Path) -> None:
    """Raise one line for a failed write that the user can do something about."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise BadFile(f"disk full while writing {path}: free some space and run the command again") from error
    if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        raise BadFile(f"cannot write {path}: {error.strerror}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _is_gone(process: str) -> bool:
    """Whether a process of this machine, given by its number, has ended; False where that cannot be said."""
    if os.name != "posix" or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def _sync(path: Path) -> None:
    """Flush a file, or every file of a folder, to the disk, so that the rename never outruns the data."""
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        BadFile: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise BadFile(f"no such file: {path}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFile(f"{path} is not readable JSON: {error}") from error
