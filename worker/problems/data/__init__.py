"""Data sets: what they are, where they come from, how they are checked."""

from worker.problems.data.dataset import Dataset, Source, Split

__all__ = ["Dataset", "Source", "Split"]
