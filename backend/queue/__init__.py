"""Which worker trains which run: claim, lease, heartbeat, rollback, priority."""
