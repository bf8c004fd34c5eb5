"""Data sets: formats, origins and checksums."""

from worker.problems.data.dataset import Dataset, DataSource, Split

__all__ = ["DataSource", "Dataset", "Split"]

Source = DataSource  # the name in version 0.1, which plug-ins import
