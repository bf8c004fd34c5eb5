"""Tests of backend/experiments."""
