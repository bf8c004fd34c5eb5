"""Logs: plain lines, or JSON with one object per line, which includes the ids of run and worker."""

import logging
from datetime import UTC, datetime

import orjson

from backend.settings import Settings


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, origin, message, the fields of the record, and its traceback if any."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "origin": record.name,
            "message": record.getMessage(),
        } | getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class PlainLines(logging.Formatter):
    """Formats a record as one line of text; line ends and control characters are escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class has named it
        """Return level, message and the fields of the record."""
        fields = getattr(record, "fields", {})
        line = " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())])
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def configure(settings: Settings) -> None:
    """Log to standard error, in the level and format of the settings."""
    handler = logging.StreamHandler()
    plain = PlainLines("backend %(levelname)s %(message)s")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else plain)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
