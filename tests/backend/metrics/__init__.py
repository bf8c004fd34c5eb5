"""Tests of backend/metrics."""
