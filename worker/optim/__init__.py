"""The mathematics: torch alone."""
