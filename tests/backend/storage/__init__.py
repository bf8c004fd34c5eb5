"""Tests of backend/storage."""
