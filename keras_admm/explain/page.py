"""The dashboard as one page of HTML that needs nothing from elsewhere."""

from html import escape
from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #bbb; --heat: #c0392b; --line: #2f6db5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181c; --faint: #555; --heat: #ff6b57; --line: #7db4f5; }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .1rem .7rem; text-align: right; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child { text-align: left; }
summary { cursor: pointer; font-size: .9rem; }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 10px; fill: var(--ink); }
.heat { fill: var(--heat); } .frame { fill: none; stroke: var(--faint); stroke-width: .5; }
.forward, .backward { fill: none; stroke: var(--line); stroke-width: 1.5; } .backward { stroke-dasharray: 4 3; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; font-size: .85rem; }
figure img { width: 9rem; height: auto; image-rendering: pixelated; display: block; border: 1px solid var(--faint); }
</style>
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
    return PAGE.substitute(title=escape(title), summary=summary, sections="\n".join(sections), glyphs=glyphs)


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
    return f'<div class="wide" tabindex="0">{drawing}</div>'


def table(cells, caption=None):
    """A table of lists of strings, the head first."""
    head, *lines = cells
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return wide(f"<table>{told}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>")


def numbers(cells):
    """A table behind a picture, which is opened by whoever wants it."""
    return f"<details><summary>The numbers</summary>{table(cells)}</details>"


def images(captioned):
    """Pictures beside one another, a list of pairs of an address and a caption."""
    figures = [
        f'<figure><img src="{address}" alt="{escape(words)}"><figcaption>{escape(words)}</figcaption></figure>'
        for address, words in captioned
    ]
    return f'<div class="row">{"".join(figures)}</div>'
