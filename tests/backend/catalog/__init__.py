"""Tests of backend/catalog."""
