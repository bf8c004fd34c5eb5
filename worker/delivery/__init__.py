"""Delivery of rows to the backend, also after an outage or the death of this process."""
