"""Tests of backend/queue."""
