"""Whether a specification can be trained on what the workers announced, and into which blocks."""
