"""Comparisons: launch, list, edit, delete, restore; presets, sweeps, imports."""
