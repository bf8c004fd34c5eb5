"""What the doctor finds."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Executable


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, or a `remark` on what may well be.

    `repair`, or dropping files and folders, mends it and loses no row of any run.
    """

    what: str
    repair: Executable | None = None
    drop: tuple[Path, ...] = ()
    remark: bool = False

    @property
    def mendable(self) -> bool:
        """Whether a repair is known."""
        return self.repair is not None or bool(self.drop)
