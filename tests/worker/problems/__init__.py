"""Tests of worker/problems."""
