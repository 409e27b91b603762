"""HTML and SVG written by functions, so that nothing gets onto a page unescaped by accident."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

_EMPTY = frozenset(("br", "circle", "col", "img", "line", "link", "meta", "path", "rect", "source"))  # have no end tag


class Html(str):
    """Text that is markup already; any other text is escaped where it is put."""

    __slots__ = ()


def tag(_name: str, *children: Any, **attributes: Any) -> Html:
    """Write one element.

    Args:
        _name: of the element.
        children: what is inside: markup as it is, anything else as text; None is nothing.
        attributes: underscores become hyphens and one at the end goes; True is an attribute without a value, None and
            False are none.
    """
    written = "".join(
        f" {key}" if value is True else f' {key}="{html.escape(_number(value))}"'
        for key, value in ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
        if value is not None and value is not False
    )
    if _name in _EMPTY and not children:
        return Html(f"<{_name}{written}>" if _name in ("br", "col", "img", "link", "meta") else f"<{_name}{written}/>")
    return Html(f"<{_name}{written}>{join(children)}</{_name}>")


def join(children: Iterable[Any]) -> Html:
    """Put markup and text together; text is escaped, None is left out."""
    shown = (child for child in children if child is not None)
    return Html("".join(child if isinstance(child, Html) else html.escape(_number(child)) for child in shown))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str | None = None, merge: bool = False) -> Html:
    """A table whose first cells name the rows; it scrolls by itself where it is too wide.

    Args:
        head: of the columns.
        rows: of cells.
        caption: for those who do not see it.
        merge: whether cells of a row that are all equal are shown once.
    """
    top = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    lines = (tag("tr", tag("th", row[0], scope="row"), *_cells(row[1:], merge)) for row in rows)
    title = tag("caption", caption) if caption else None
    inside = tag("table", title, top if any(head) else None, tag("tbody", *lines))
    return tag("div", inside, class_="wide", tabindex="0", role="region", aria_label=caption or "table")


def data_uri(kind: str, content: bytes) -> str:
    """A file as an address that needs no network, such as ``data_uri("image/png", ...)``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _cells(cells: Sequence[Any], merge: bool) -> list[Html]:
    if merge and len(cells) > 1 and all(cell == cells[0] for cell in cells):
        return [tag("td", cells[0], colspan=len(cells))]
    return [tag("td", cell) for cell in cells]


def _number(value: Any) -> str:
    """Text of a value; coordinates need no more than two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
