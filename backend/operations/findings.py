"""A finding of the doctor."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Executable


@dataclass(frozen=True)
class DoctorFinding:
    """A problem with the stored data, or a note about it.

    A repair loses no row of any run.

    Attributes:
        text: description, and what to do.
        repair: statement that repairs it.
        remove: files and folders whose removal repairs it.
        note: whether this is only a note.
    """

    text: str
    repair: Executable | None = None
    remove: tuple[Path, ...] = ()
    note: bool = False

    @property
    def repairable(self) -> bool:
        """Whether it can be repaired."""
        return self.repair is not None or bool(self.remove)
