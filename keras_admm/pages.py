"""Pages of HTML that need nothing from elsewhere, and tables for notebooks: one style sheet, light and dark."""

import re
from html import escape
from string import Template

COLORS = """:root { color-scheme: light dark;
  --ink: #222; --paper: #fff; --faint: #bbb; --heat: #c0392b; --line: #2f6db5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181c; --faint: #555; --heat: #ff6b57; --line: #7db4f5; }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 10px; fill: currentColor; }
.heat { fill: var(--heat); } .frame { fill: none; stroke: var(--faint); stroke-width: .5; }
.forward, .backward { fill: none; stroke: var(--line); stroke-width: 1.5; } .backward { stroke-dasharray: 4 3; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0 0 1rem; font-size: .85rem; max-width: 42rem; }
.row figure { margin: 0; } figure img { width: 9rem; height: auto; image-rendering: pixelated; display: block;
  border: 1px solid var(--faint); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; }
.grid figure { margin: 0; } summary { cursor: pointer; font-size: .9rem; }
"""
# Of tables, which stand in notebooks too: it touches nothing else there.
TABLES = """.keras-admm { overflow-x: auto; }
.keras-admm table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
.keras-admm caption { text-align: left; font-size: .85rem; padding-bottom: .3rem; white-space: normal; }
.keras-admm caption span { display: block; position: sticky; left: 0; max-width: calc(100vw - 2rem); }
.keras-admm th, .keras-admm td { padding: .1rem .7rem; text-align: right; border-bottom: 1px solid #8886; }
.keras-admm tbody th { font-weight: normal; white-space: normal; overflow-wrap: normal; }
.keras-admm tfoot { font-weight: bold; } .keras-admm th:first-child { text-align: left; }
.keras-admm td wbr { display: none; }
@media (max-width: 40rem) {
  .keras-admm .total th, .keras-admm .total td { font-size: .7rem; padding: .1rem .15rem; }
  .keras-admm .total thead th { white-space: normal; overflow-wrap: normal; vertical-align: bottom; }
  .keras-admm .total th:first-child { max-width: 0; white-space: nowrap; vertical-align: top; }
  .keras-admm .total td, .keras-admm .total th + th { padding-top: 1.2rem; }
  .keras-admm .total th wbr { display: none; } .keras-admm .total td wbr { display: inline; }
}
"""
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style</style>
</head>
<body>
$glyphs
<h1>$title</h1>
$summary
$sections
</body>
</html>
""")


def page(title, summary, sections, glyphs=""):
    """The whole page, a str, of parts that are HTML already but for the title."""
    given = {"summary": summary, "sections": "\n".join(sections), "glyphs": glyphs}
    return PAGE.substitute(title=escape(title), style=COLORS + TABLES, **given)


def fragment(*parts):
    """What a notebook shows of an object: parts of HTML, with the style of the tables among them."""
    return f"<style>\n{TABLES}</style>\n" + "\n".join(parts)


def section(head, *parts):
    """A section under a heading."""
    return f"<section>\n<h2>{escape(head)}</h2>\n{chr(10).join(parts)}\n</section>"


def subsection(head, *parts):
    """A part of a section under a heading of its own."""
    return f"<h3>{escape(head)}</h3>\n{chr(10).join(parts)}"


def paragraph(words):
    """A paragraph of text."""
    return f"<p>{escape(words)}</p>"


def wide(drawing):
    """What may be wider than the screen, and is then scrolled by itself."""
    return f'<div class="keras-admm" tabindex="0">{drawing}</div>'


def table(cells, caption=None, total=False):
    """A table of lists of strings.

    Args:
        cells: the head, and a line for each row, whose first cell names it.
        caption: str, what the table shows.
        total: bool, whether the last line sums up the others. Where the screen is narrow, a name then has a line of its
            own above its numbers.
    """
    head, *lines = cells
    told = f"<caption><span>{escape(caption)}</span></caption>" if caption else ""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    rows = [
        f'<tr><th scope="row">{_name(name)}</th>{"".join(f"<td>{_shape(cell)}</td>" for cell in line)}</tr>'
        for name, *line in lines
    ]
    below = f"\n<tfoot>{rows.pop()}</tfoot>" if total else ""
    body = "\n".join(rows)
    kind = ' class="total"' if total else ""
    return wide(f"<table{kind}>{told}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>{below}</table>")


def _name(name):
    """A name that may go on in the next line after a slash."""
    return escape(name).replace("/", "/<wbr>")


def _shape(cell):
    """A cell that may go on in the next line between the sizes of a shape, where the screen is narrow."""
    return re.sub(r"x(?=\d)", "x<wbr>", escape(cell))


def numbers(cells):
    """A table behind a picture, which is opened by whoever wants it."""
    return f"<details><summary>The numbers</summary>{table(cells)}</details>"


def figure(drawing, caption):
    """A drawing in SVG with what it shows."""
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def grid(figures):
    """Small figures, as many beside one another as the screen is wide."""
    return f'<div class="grid">{"".join(figures)}</div>'


def images(captioned):
    """Pictures beside one another, a list of pairs of an address and a caption."""
    figures = [
        f'<figure><img src="{address}" alt="{escape(words)}"><figcaption>{escape(words)}</figcaption></figure>'
        for address, words in captioned
    ]
    return f'<div class="row">{"".join(figures)}</div>'
