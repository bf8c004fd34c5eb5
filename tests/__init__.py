"""All tests: they mirror the tree."""
