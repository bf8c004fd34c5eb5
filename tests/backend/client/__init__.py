"""Tests of backend/client."""
