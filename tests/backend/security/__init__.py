"""Tests of backend/security."""
