"""The Python client of the REST API."""

from backend.client.client import Client

__all__ = ["Client"]
