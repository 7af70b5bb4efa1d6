"""A page that stands alone: text, figures and tables to one HTML file without network or foreign code.

Everything that a caller passes as text is escaped. Pictures are embedded; the only script sorts tables, and
the page reads the same without it. A content policy in the page forbids it to fetch anything.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from neurotools._version import __version__
from neurotools.errors import SettingsError

MAX_OPEN_ROWS = 12  # longer tables start folded
MAX_ROWS = 2000  # longer ones say where the rest stands
WIDE_PX = 560  # pictures wider than this get the page's full width
CSS_PX_PER_INCH = 96

_SCRIPT = """
document.documentElement.classList.add('js');
document.querySelectorAll('th button').forEach(function (button) {
  button.addEventListener('click', function () {
    var th = button.parentNode, body = th.closest('table').tBodies[0];
    var up = th.getAttribute('aria-sort') !== 'ascending', at = th.cellIndex;
    th.parentNode.querySelectorAll('th').forEach(function (other) { other.removeAttribute('aria-sort'); });
    th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    var key = function (row) {
      var cell = row.cells[at], number = cell.getAttribute('data-value');
      return number === null ? cell.textContent : parseFloat(number);
    };
    Array.from(body.rows).sort(function (a, b) {
      var x = key(a), y = key(b), order;
      if (typeof x === 'number' && typeof y === 'number') {
        order = isNaN(x) ? 1 : isNaN(y) ? -1 : x - y;
      } else {
        order = String(x).localeCompare(String(y), undefined, {numeric: true});
      }
      return up ? order : -order;
    }).forEach(function (row) { body.appendChild(row); });
  });
});
"""


# ---- the pieces of a page -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Text:
    """One paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Note:
    """A boxed list of things that a reader must not miss."""

    points: Sequence[str]
    warn: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture (matplotlib Figure or bytes of a PNG), a caption, and ``alt`` for those who cannot see it."""

    image: Any
    caption: str
    alt: str
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of a DataFrame under a title; folded when long. ``more`` says where to find rows beyond 2,000.

    ``links`` are where the cells of the first column lead, None where nowhere; ``folded`` overrules.
    """

    frame: pd.DataFrame
    title: str
    caption: str = ""
    more: str = ""
    links: Sequence[str | None] = ()
    folded: bool | None = None


@dataclass(frozen=True)
class Cards:
    """Key numbers: (what it is, value, unit)."""

    cards: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Facts:
    """Names and values, one per line."""

    facts: Mapping[str, str]
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    code: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class References:
    """A numbered list of references: (text, DOI or empty)."""

    references: Sequence[tuple[str, str]]


Block = Text | Note | Figure | Table | Cards | Facts | Code | References


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading; ``lead`` is a sentence under it, ``short`` its name in the menu."""

    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    lead: str = ""
    short: str = ""


def build_report(
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    eyebrow: str = "neurotools",
    cards: Sequence[tuple[str, str, str]] = (),
) -> str:
    """Make one self-contained HTML page.

    Parameters
    ----------
    title : str
    sections : sequence of Section
        In reading order; the page's menu lists them.
    subtitle : str
        A sentence under the title.
    eyebrow : str
        A few words above the title.
    cards : sequence of (str, str, str)
        Key numbers under the title: what it is, value, unit.

    Returns
    -------
    str
        HTML text: write it in UTF-8 (``nt.provenance.write_text``).

    Raises
    ------
    SettingsError
        A figure has no alternative text, or two sections have the same title.
    """
    names = [_anchor(section.title) for section in sections]
    if len(set(names)) != len(names):
        raise SettingsError("each section of a page needs its own title", found=", ".join(names))
    menu = "".join(
        f'<li><a href="#{name}">{_escape(section.short or section.title)}</a></li>'
        for name, section in zip(names, sections, strict=True)
    )
    body = "\n".join(_section(name, section) for name, section in zip(names, sections, strict=True))
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    lead = f'<p class="lead">{_escape(subtitle)}</p>' if subtitle else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="neurotools {_escape(__version__)}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{_escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header class="top">
<p class="eyebrow">{_escape(eyebrow)}</p>
<h1>{_escape(title)}</h1>
{lead}
{_cards(Cards(cards)) if cards else ""}
</header>
<nav aria-label="Sections"><ul>{menu}</ul></nav>
<main>
{body}
</main>
<footer>Made by neurotools {_escape(__version__)}. All figures are in this page; it needs no network.</footer>
<script>{_SCRIPT}</script>
</body>
</html>
"""


# ---- each piece as HTML ---------------------------------------------------------------------------------
def _escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def _section(name: str, section: Section) -> str:
    lead = f'<p class="lead">{_escape(section.lead)}</p>' if section.lead else ""
    parts, small = [], []
    for block in section.blocks:
        if isinstance(block, Figure) and not _is_wide(block):
            small.append(_figure(block))
            continue
        parts += _side_by_side(small)
        small = []
        parts.append(RENDER[type(block)](block))
    parts += _side_by_side(small)
    body = "\n".join(parts)
    return f'<section id="{name}">\n<h2>{_escape(section.title)}</h2>\n{lead}\n{body}\n</section>'


def _side_by_side(figures: Sequence[str]) -> list[str]:
    return [f'<div class="figures">{"".join(figures)}</div>'] if figures else []


def _text(block: Text) -> str:
    return f"<p>{_escape(block.text)}</p>"


def _note(block: Note) -> str:
    points = "".join(f"<li>{_escape(point)}</li>" for point in block.points)
    return f'<div class="note{" warn" if block.warn else ""}"><ul>{points}</ul></div>'


def _is_wide(block: Figure) -> bool:
    return _size_px(block.image)[0] > WIDE_PX


def _size_px(image: Any) -> tuple[int, int]:
    """Width and height of a picture on the page, in CSS pixels: half the dots of a PNG."""
    if isinstance(image, bytes):
        return int.from_bytes(image[16:20], "big") // 2, int.from_bytes(image[20:24], "big") // 2
    width, height = image.get_size_inches()
    return round(width * CSS_PX_PER_INCH), round(height * CSS_PX_PER_INCH)


def _figure(block: Figure) -> str:
    if not block.alt.strip():
        raise SettingsError("every figure needs alternative text that says what it shows", found=block.title)
    width, height = _size_px(block.image)
    data = base64.b64encode(_png(block.image)).decode("ascii")
    title = f"<b>{_escape(block.title)}</b> " if block.title else ""
    wide = " class=wide" if _is_wide(block) else ""
    return (
        f'<figure{wide}><div class="frame"><img alt="{_escape(block.alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{title}{_escape(block.caption)}</figcaption></figure>"
    )


def _png(image: Any) -> bytes:
    """Bytes of a PNG with two dots per CSS pixel; text in it stays sharp on fine screens and in print."""
    if isinstance(image, bytes):
        if not image.startswith(b"\x89PNG\r\n\x1a\n"):
            raise SettingsError("a figure given as bytes must be a PNG", found=repr(image[:8]))
        return image
    buffer = io.BytesIO()
    image.savefig(buffer, format="png", dpi=2 * CSS_PX_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _table(block: Table) -> str:
    frame = block.frame
    shown = frame.head(MAX_ROWS)
    numeric = [
        pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
        for dtype in frame.dtypes
    ]
    head = "".join(
        f'<th scope="col"{" class=n" if number else ""}><button type="button">{_escape(name)}</button></th>'
        for name, number in zip(frame.columns, numeric, strict=True)
    )
    places = [_decimals(frame[name]) if number else 0 for name, number in zip(frame, numeric, strict=True)]
    columns = [shown[name].tolist() for name in shown.columns]
    links = [*block.links, *[None] * len(shown)]
    rows = "".join(
        "<tr>" + _linked("".join(map(_cell, row, numeric, places)), link) + "</tr>"
        for row, link in zip(zip(*columns, strict=True), links, strict=False)
    )
    left = f"The first {MAX_ROWS:,} of {len(frame):,} rows. {block.more}" if len(frame) > MAX_ROWS else ""
    caption = " ".join(part for part in (block.caption, left) if part)
    table = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_escape(block.title)}"><table>'
        + (f"<caption>{_escape(caption)}</caption>" if caption else "")
        + f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    if not (len(frame) > MAX_OPEN_ROWS if block.folded is None else block.folded):
        return f"<h3>{_escape(block.title)}</h3>{table}"
    summary = f"<summary>{_escape(block.title)} <span>({len(frame):,} rows)</span></summary>"
    return f"<details>{summary}{table}</details>"


def _decimals(column: pd.Series) -> int:
    """Digits after the point that show four digits of a column's largest number; none for whole numbers."""
    values = np.abs(column.to_numpy(dtype="float64", na_value=np.nan))
    values = values[np.isfinite(values)]
    if not values.size or (values == np.floor(values)).all():
        return 0
    return int(np.clip(3 - np.floor(np.log10(values.max())), 0, 8))


def _cell(value: Any, number: bool, decimals: int) -> str:
    if number:
        missing = value is None or not np.isfinite(value)
        text = "–" if missing else f"{value:,.{decimals}f}"
        return f'<td class="n" data-value="{"NaN" if missing else repr(float(value))}">{text}</td>'
    text = _escape(value)
    return f"<td{' class=long' if len(text) > 60 else ''}>{text}</td>"


def _linked(cells: str, link: str | None) -> str:
    """Cells of a row, of which the first is text and leads somewhere."""
    if link is None:
        return cells
    first, text, rest = re.split(r"(?<=>)([^<]*)(?=</td>)", cells, maxsplit=1)
    return f'{first}<a href="{_escape(quote(link))}">{text}</a>{rest}'


def _cards(block: Cards) -> str:
    cards = "".join(
        f'<div class="card"><dt>{_escape(name)}</dt><dd>{_escape(value)}'
        + (f" <small>{_escape(unit)}</small>" if unit else "")
        + "</dd></div>"
        for name, value, unit in block.cards
    )
    return f'<dl class="cards column">{cards}</dl>'


def _facts(block: Facts) -> str:
    rows = "".join(f"<dt>{_escape(k)}</dt><dd>{_escape(v)}</dd>" for k, v in block.facts.items())
    body = f'<dl class="facts">{rows}</dl>'
    if block.folded:
        return f"<details><summary>{_escape(block.title or 'Details')}</summary>{body}</details>"
    return (f"<h3>{_escape(block.title)}</h3>" if block.title else "") + body


def _code(block: Code) -> str:
    body = f"<pre><code>{_escape(block.code)}</code></pre>"
    if block.folded:
        return f"<details><summary>{_escape(block.title or 'Details')}</summary>{body}</details>"
    return (f"<h3>{_escape(block.title)}</h3>" if block.title else "") + body


def _references(block: References) -> str:
    rows = []
    for text, doi in block.references:
        link = f' <a href="https://doi.org/{_escape(doi)}">doi:{_escape(doi)}</a>' if doi else ""
        rows.append(f"<li>{_escape(text)}{link}</li>")
    return f'<ol class="references">{"".join(rows)}</ol>'


RENDER: dict[type, Callable[[Any], str]] = {
    Text: _text, Note: _note, Figure: _figure, Table: _table, Cards: _cards, Facts: _facts, Code: _code,
    References: _references,
}  # fmt: skip
