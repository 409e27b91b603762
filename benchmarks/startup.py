"""How long a command takes to answer: ``import worldmodel`` and ``--help`` of every command, in fresh processes.

Run it as ``python -m worldmodel.benchmarks.startup``. Each number is the median of five processes, the interpreter's
own start included, which is shown on the first line.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = ("train", "plan", "data", "doctor")
REPEATS = 5


def seconds(*arguments: str) -> float:
    """Median wall-clock seconds of a fresh interpreter given these arguments."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    rows = {"python -c pass": seconds("-c", "pass"), "import worldmodel": seconds("-c", "import worldmodel")}
    for name in COMMANDS:
        call = f"import sys; sys.argv = ['wm-{name}', '--help']; from worldmodel.cli.{name} import main; main()"
        rows[f"wm-{name} --help"] = seconds("-c", call)
    width = max(map(len, rows))
    print(f"{'median of ' + str(REPEATS):<{width}}  seconds")
    for name, value in rows.items():
        print(f"{name:<{width}}  {value:7.3f}")


if __name__ == "__main__":
    main()
