"""Tests of worker/checkpoints."""
