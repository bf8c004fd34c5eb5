"""Tables and headings as HTML; every text is escaped."""

import html
from collections.abc import Collection, Sequence

MARK = " class='bhf-marked'"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, label: str, marked: Collection[int] = ()) -> str:
    """Return a table whose first column names the row. Rows at the indices `marked` are highlighted."""
    heads = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in head)
    lines = "".join(
        f"<tr{MARK if number in marked else ''}><th scope='row'>{html.escape(row[0])}</th>"
        + "".join(f"<td>{html.escape(text)}</td>" for text in row[1:])
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return (
        f'<div class="bhf-sheet" role="region" aria-label="{html.escape(label)}" tabindex="0">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def page_heading(name: str) -> str:
    """Return the heading of a page with live curves: its title, a place for their status, and a link to the chart."""
    title = html.escape(name, quote=True)
    return (
        "<a class='bhf-skip' href='#bhf-chart' target='_self'>Skip to the chart</a>"
        f"<div class='bhf-heading'><h1 title='{title}'>{title}</h1><span class='bhf-progress-text'></span></div>"
    )
