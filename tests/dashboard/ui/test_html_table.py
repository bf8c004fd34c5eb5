"""Small tables as HTML."""

from dashboard.ui.html_table import table


def test_every_text_is_text() -> None:
    """Markup in heads, cells and the label is escaped."""
    made = table(["<i>", "b"], [["<b>row</b>", "<script>"]], label='"><img>')
    assert "<i>" not in made
    assert "<script>" not in made
    assert "<img>" not in made
    assert "<th scope='row'>&lt;b&gt;row&lt;/b&gt;</th><td>&lt;script&gt;</td>" in made


def test_marked_rows_stand_out() -> None:
    """The rows of the given numbers carry the mark, the others do not."""
    made = table(["a"], [["one"], ["two"]], label="", marked=[1])
    assert "<tr><th scope='row'>one" in made
    assert "<tr class='bhf-marked'><th scope='row'>two" in made
