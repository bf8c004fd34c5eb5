"""The Markdown pages, and what tests read in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted(
    [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *(ROOT / "docs").rglob("*.md")]
)
_FENCE = re.compile(r"^ *```(?P<language>[^\n]*)\n(?P<code>.*?)^ *```", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a language; the empty language is that of terminal commands."""
    return [match["code"] for match in _FENCE.finditer(page.read_text()) if match["language"].strip() == language]


def prose(page: Path) -> list[str]:
    """Return the paragraphs and list items of a page as plain text, without code, tables, headings and comments."""
    text = re.sub(r"<!--.*?-->", "", _FENCE.sub("", page.read_text()), flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = []
    for part in re.split(r"\n\s*\n|\n(?=- )", text):
        stripped = part.strip()
        if stripped and not stripped.startswith(("#", "|")):
            found.append(" ".join(stripped.replace("*", "").removeprefix("- ").split()))
    return found


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures that are not on the web, without their fragments."""
    found = re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text()))
    return [target.partition("#")[0] for target in found if not re.match(r"[a-z]+:|#", target)]


def commands() -> list[str]:
    """Return every distinct `blockhf` command in the pages, without variables set before it."""
    lines = [line.strip() for page in PAGES for code in blocks(page, "") for line in code.splitlines()]
    found = [match[1] for line in lines if (match := re.fullmatch(r"(?:[A-Z_]+=\S* )*(?:blockhf)( .*)?", line))]
    return list(dict.fromkeys((arguments or "").strip() for arguments in found))
