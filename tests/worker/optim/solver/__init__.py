"""Tests of worker/optim/solver."""
