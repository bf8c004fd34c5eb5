"""The FastAPI application: routes, guard, error responses, OpenAPI."""
