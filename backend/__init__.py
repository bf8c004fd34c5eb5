"""The REST API, its queue and its store: the only package that touches the database."""
