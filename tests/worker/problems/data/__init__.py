"""Tests of worker/problems/data."""
