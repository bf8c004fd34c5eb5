"""Tests of worker/optim/curvature/rules."""
