"""A report as one page of HTML that needs nothing from elsewhere."""

from html import escape
from string import Template

from keras_admm.pictures import svg
from keras_admm.reporting.pictures import draw

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>keras_admm report</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { font-weight: bold; }
svg { width: 100%; height: auto; }
</style>
</head>
<body>
<h1>What each layer kept</h1>
<div class="table">
<table>
<thead>
$head
</thead>
<tbody>
$body
</tbody>
</table>
</div>
$below
<h2>$pictures</h2>
$drawn
</body>
</html>
""")


def page(report, history=None):
    """The page, a str. See `Report.to_html`."""
    head, *body = report.cells()
    return PAGE.substitute(
        head=_line("th", head),
        body="\n".join(_line("td", cells) for cells in body),
        below="\n".join(f"<p>{escape(text)}</p>" for text in (*report.summary, report.notes) if text),
        pictures="Zeros, weights" if history is None else "Zeros, weights, residuals",
        drawn=svg(draw(report, history)),
    )


def _line(tag, cells):
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
