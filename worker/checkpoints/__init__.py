"""Checkpoint and weight files: format, when to write them, how much disk they may use."""
