"""Tests of worker.optim."""
