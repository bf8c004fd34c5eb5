"""Tests of backend/formats."""
