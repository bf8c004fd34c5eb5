"""Tests of worker/engines."""
