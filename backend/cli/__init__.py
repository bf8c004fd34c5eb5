"""The `blockhf` command."""
