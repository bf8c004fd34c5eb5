"""What every page uses: backend access, refresh, theme, text, live curves."""
