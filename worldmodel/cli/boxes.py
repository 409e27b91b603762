"""Out of the box that tyro draws around a mistake."""

from __future__ import annotations

import re


def undraw(box: str) -> str:
    """Return the message in a box, which may be drawn without lines, and the nearest options it suggests."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip(" │") for line in text.splitlines() if not line.startswith(("╭", "╰"))]
    parts: list[list[str]] = [[]]
    for line in filter(None, lines):
        if re.fullmatch("[─-]{3,}", line):
            parts.append([])
        else:
            parts[-1].append(line)
    if "╭" not in text and len(parts) > 1:
        del parts[0]  # the title, which the upper line of a box holds
    message = " ".join(parts[0]) or text
    typed = r"no type matching (?:\{None\}\|)?(\S+) could be instantiated from \[(.*?)\]\. Got errors:.*"
    message = re.sub(typed, r"expected \1, got \2", message)
    near = [line.split()[0].rstrip(",") for part in parts[1:] for line in part if line.startswith("--")]
    if near and "Perhaps" in text:
        message += f"; did you mean {' or '.join(dict.fromkeys(near))}?"
    return message[:1].lower() + message[1:].rstrip(".")
