"""API tokens, request origin rules and the limit on failed logins."""
