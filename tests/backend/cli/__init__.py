"""Tests of backend/cli."""
