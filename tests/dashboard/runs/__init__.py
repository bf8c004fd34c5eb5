"""Tests of dashboard.runs."""
