"""Tests of worker.optim.curvature."""
