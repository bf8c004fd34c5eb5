"""Tests of worker/agent."""
