"""What the commands share: one line for a mistake, parsing, the device, tables, bars and the newest run."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from worldmodel import shipped
from worldmodel.errors import BadFile, BadValue, UnknownName, WorldModelError
from worldmodel.files import read_json

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
RUNS = Path("runs")


def program() -> str:
    """Name of the running command, such as ``wm-plan``, however it was started."""
    return "wm-" + Path(sys.argv[0]).stem.removeprefix("wm-")


def run(main: Callable[[], object]) -> None:
    """Call ``main`` and end as commands do: a mistake is one line on stderr and exit code 2, Ctrl-C is 130."""
    keep_memory()
    try:
        main()
        sys.stdout.flush()
    except WorldModelError as error:
        _stop(2, str(error))
    except KeyboardInterrupt:
        _stop(130, "interrupted; nothing is lost: what was finished and saved is still there")
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        where = f" while writing {error.filename}" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _stop(2, f"disk full{where}: free some space and run the command again")
        if not error.filename:
            raise
        _stop(2, f"{error.filename}: {error.strerror}")


def keep_memory() -> None:
    """Let the C library keep freed tensors for the next ones; giving pages back and forth costs a tenth of the time.

    Does nothing where the library is not glibc.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # of mallopt(3)
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 2**25)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**26)


def _stop(code: int, message: str) -> None:
    where = f" (process {rank()})" if rank() else ""
    print(f"{program()}{where}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


# Processes


def rank() -> int:
    """Number of this process among those that torchrun started, from 0; the first one speaks."""
    return int(os.environ.get("RANK", "0"))


# Parsing


def parse(cls: type[T], arguments: Sequence[str] | None = None, default: T | None = None) -> T:
    """Parse options into a frozen dataclass, with flags such as ``--execute-steps 5``.

    Args:
        cls: the dataclass; its docstring and those of its fields are the help.
        arguments: what was typed; the process's by default.
        default: values for what was not typed.
    """
    import tyro

    with _one_line():
        return cast(T, tyro.cli(cls, prog=program(), args=arguments, default=default))


def subcommands(commands: Mapping[str, Any], description: str) -> object:
    """Parse ``command --options`` with one function for each command, and call the one chosen.

    Raises:
        UnknownName: there is no such command.
    """
    name = next(iter(sys.argv[1:]), "")
    if name and not name.startswith("-") and name not in commands:
        raise UnknownName("command", name, commands)
    import tyro

    def deferred(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def later(*args: Any, **options: Any) -> object:
            return functools.partial(function, *args, **options)

        return later

    with _one_line():
        chosen: Any = tyro.extras.subcommand_cli_from_dict(
            {name: deferred(function) for name, function in commands.items()}, prog=program(), description=description
        )
    return chosen()


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn the box that tyro draws around a mistake into one line."""
    drawn = io.StringIO()
    try:
        with contextlib.redirect_stderr(drawn):
            yield
    except SystemExit as stop:
        if stop.code != 2:
            raise
        from worldmodel.cli.boxes import undraw

        _stop(2, f"{undraw(drawn.getvalue())} (all options: {program()} --help)")
    else:
        sys.stderr.write(drawn.getvalue())  # a warning


@contextlib.contextmanager
def option(name: str) -> Iterator[None]:
    """Name the option that a mistake found inside belongs to: ``unknown ...`` becomes ``--env: unknown ...``."""
    try:
        yield
    except WorldModelError as error:
        message = str(error)
        if message.startswith("--"):
            raise
        raise BadValue(f"{name}: {message}") from error


@contextlib.contextmanager
def options_as_fields(names: Collection[str] | None = None) -> Iterator[None]:
    """Write the field that a config's message begins with as an option: ``init_std: ...`` as ``--init-std: ...``.

    ``names`` are the fields that have an option of their own; None for all.
    """
    try:
        yield
    except BadValue as error:
        field, colon, rest = str(error).partition(": ")
        if not (colon and field.replace(".", "").isidentifier()) or (names is not None and field not in names):
            raise
        raise BadValue(f"--{field.replace('_', '-')}: {rest}") from error


def require_writable(name: str, path: str | None) -> None:
    """Raise ``BadValue`` if a file cannot be written there, before the work that it is to hold; None is no file."""
    if path is None:
        return
    if Path(path).is_dir():
        raise BadValue(f"{name}: {path} is a folder, expected a file")
    there = next(parent for parent in Path(path).absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise BadValue(f"{name}: {path} cannot be written: {there} is no folder that can be written to")


# Devices


def device(name: str) -> torch.device:
    """Choose where to compute; ``auto`` takes the accelerator when there is one.

    Raises:
        UnknownName: no such kind of device.
        BadValue: this machine or this build of PyTorch has none.
    """
    kind, _, index = name.partition(":")
    if kind == "gpu":
        raise BadValue(
            f"--device: PyTorch calls a GPU by its maker's interface, expected cuda, xpu or auto, got {name}"
        )
    if kind not in DEVICES or (index and not index.isdigit()):
        raise UnknownName("--device", name, DEVICES)
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":  # not mps: nothing of this has been tried there
        return torch.device("cpu") if found is None or found.type == "mps" else torch.device(found.type)
    if kind != "cpu" and (found is None or found.type != kind):
        has = "no accelerator" if found is None else f"only {found.type}"
        raise BadValue(f"--device: {name} is not available here, PyTorch sees {has}")
    if kind != "cpu" and index and int(index) >= torch.accelerator.device_count():
        raise BadValue(f"--device: {name} does not exist, PyTorch sees {torch.accelerator.device_count()} of them")
    return torch.device(name)


def auto_preset(name: str = "auto") -> str:
    """The preset that suits a device: ``nano`` for a CPU, ``small`` for an accelerator."""
    return "nano" if device(name).type == "cpu" else "small"


# Showing


def aligned(rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows of cells in aligned columns; rows may have different lengths."""
    text = [[str(cell) for cell in row] for row in rows]
    last = max(map(len, text), default=0)
    widths = [max(len(row[i]) for row in text if i < len(row)) for i in range(last)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in text)


def bar(total: int | None, unit: str, desc: str) -> Any:
    """A tqdm bar on stderr, shown on a terminal only, and by the first process only."""
    from tqdm import tqdm

    hidden = True if rank() else None
    return tqdm(total=total, unit=f" {unit}", desc=desc, disable=hidden, leave=False, dynamic_ncols=True)


def move(line: Any, done: int, total: int) -> None:
    """Move a bar to ``done`` of ``total``; what was there at the first call does not count for the speed."""
    if line.total is None:
        line.total, line.initial = total, done
    line.update(done - line.n)


# Tasks and runs


def short_name(env: str) -> str:
    """Return the short name of a task, such as ``pusht``, given that or its Gymnasium id.

    Raises:
        UnknownName: no such environment.
    """
    from worldmodel.envs.registry import short_name

    return short_name(env)


def is_simulated(env: str) -> bool:
    """Whether something here simulates a task of this name; of others there may be recorded episodes."""
    try:
        short_name(env)
    except UnknownName:
        return False
    return True


def default_file(env: str) -> Path:
    """Where the episodes of a task are kept if nobody says otherwise: ``data/<env>.h5``."""
    from worldmodel.envs.registry import file_name

    return Path(f"data/{file_name(env)}.h5")


def run_folder(folder: Path) -> Path:
    """The run folder that a model folder lies in, or itself."""
    return folder.parent if folder.name == "model" else folder


def newest_run(env: str | None, root: Path = RUNS, otherwise: str = "--model PATH") -> Path:
    """Find the run folder whose model was saved last; copies of shipped models do not count.

    Args:
        env: short name of the task it was trained on; None for any.
        root: folder of run folders.
        otherwise: what names a run.

    Raises:
        BadFile: there is none; the message says how to make one.
    """
    found = []
    for config in root.glob("*/model/config.json"):
        try:
            trained_on = read_json(config)["env"]
        except (BadFile, KeyError, TypeError):
            continue  # an unreadable neighbour does not stand in the way
        if env in (None, trained_on) and not (config.parent / shipped.PAIRS).is_file():
            found.append((config.stat().st_mtime, config.parent.parent))
    if not found:
        what = "trained run" if env is None else f"trained run of {env}"
        ships = f" (models ship for {names})" if (names := ", ".join(shipped.models())) else ""
        raise BadFile(
            f"no {what} in {root}/: make one with wm-train --env {env or 'pusht'}, or give {otherwise}{ships}"
        )
    return max(found)[1]
