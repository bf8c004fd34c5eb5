"""Small tables as HTML: readable by machine and by eye, and every text in them is text."""

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass

MARK = " class='bhf-marked'"


@dataclass(frozen=True)
class Link:
    """A cell that leads to an address, told to those who do not see its row."""

    text: str
    address: str
    told: str


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str | Link]],
    *,
    label: str,
    marked: Collection[int] = (),
) -> str:
    """Write a table; the first column names the row. Those at the numbers `marked` stand out, by a sign too."""
    heads = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in head)
    lines = "".join(
        f"<tr{MARK if number in marked else ''}><th scope='row'>{_cell(row[0])}</th>"
        + "".join(f"<td>{_cell(text)}</td>" for text in row[1:])
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return (
        f'<div class="bhf-sheet" role="region" aria-label="{html.escape(label)}" tabindex="0">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _cell(content: str | Link) -> str:
    if isinstance(content, str):
        return html.escape(content)
    return (
        f'<a href="{html.escape(content.address)}" aria-label="{html.escape(content.told)}">'
        f"{html.escape(content.text)}</a>"
    )
