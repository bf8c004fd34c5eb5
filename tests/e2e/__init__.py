"""Real processes, real browser."""
