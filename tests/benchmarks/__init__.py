"""Scripts that print ratios, ours beside a peer's."""
