"""Tests of dashboard.server."""
