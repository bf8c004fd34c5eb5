"""Tests of backend/api."""
