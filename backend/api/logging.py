"""Logs: plain lines for a terminal, or JSON for a collector, one object per line with the ids of run and worker."""

import logging
from datetime import UTC, datetime

import orjson

from backend.settings import Settings


class JsonLines(logging.Formatter):
    """Writes each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, origin, message, the record's own fields, and the traceback where there is one."""
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
    """Writes a record as a line of words; what would end the line, or steer a terminal, is written as an escape."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class has named it
        """Return level and message, with the record's own fields behind."""
        fields = getattr(record, "fields", {})
        line = " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())])
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def configure(settings: Settings) -> None:
    """Send the log of this process to standard error, as the settings say."""
    handler = logging.StreamHandler()
    plain = PlainLines("backend %(levelname)s %(message)s")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else plain)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
