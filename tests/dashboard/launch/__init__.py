"""Tests of dashboard.launch."""
