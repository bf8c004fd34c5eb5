"""One page a file; each reads from top to bottom."""
