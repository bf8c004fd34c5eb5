"""Tests of the compiled passes."""
