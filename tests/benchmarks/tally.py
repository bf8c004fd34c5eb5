"""What the fault loops have found so far, in a file, so that a loop can be taken in parts and gone on with."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


class Tally:
    """The sums over the parts of each loop. Without a file nothing is kept.

    A part is counted when it has ended: its runs compared, its ledger closed. One that was broken off does not count.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.loops: dict[str, Figures] = json.loads(file.read_text()) if file and file.exists() else {}

    def struck(self, name: str) -> int:
        """Count the faults of a loop that have been survived."""
        return sum(self.loops.get(name, {}).get("faults", {}).values())

    def parts(self, name: str) -> int:
        """Count the parts of a loop, also the failed ones."""
        return int(self.loops.get(name, {}).get("parts", 0))

    def add(self, name: str, part: Figures) -> None:
        """Add a part's figures: numbers add up, as do the counts of faults; what was wrong is collected."""
        so_far, part = self.loops.get(name, {}), part | {"parts": 1}
        self.loops[name] = {key: _sum(so_far.get(key), part.get(key)) for key in {**so_far, **part}}
        self.write()

    def put(self, name: str, figures: Figures) -> None:
        """Keep figures that do not add up, in place of earlier ones."""
        self.loops[name] = figures
        self.write()

    def wrong(self) -> list[str]:
        """List what was wrong, in any part of any loop."""
        return [f"{name}: {why}" for name, figures in self.loops.items() for why in figures.get("wrong", [])]

    def write(self) -> None:
        """Write the file, whole or not at all."""
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self.loops, indent=2) + "\n")
        new.replace(self._file)


def _sum(one: Any, two: Any) -> Any:
    """Add two figures of one kind, of which one may be missing."""
    if one is None or two is None:
        return two if one is None else one
    return dict(Counter(one) + Counter(two)) if isinstance(one, dict) else one + two
