"""Logs of the application: one line per record, for a terminal or as JSON."""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, Processor

NOISY: Final = ("alembic",)


def _take_fields(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put the name of an event and its fields in place of the readable line."""
    record = event.get("_record")
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return event
    return {**event, "event": getattr(record, "event", event["event"]), **fields}


def configure_logs(*, level: str = "info", as_json: bool | None = None) -> None:
    """Send every record of the standard library's logging to standard error.

    Args:
        level: The lowest level that is shown: `debug`, `info`, `warning` or `error`.
        as_json: One JSON object a line; by default, if standard error is not a terminal.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    shared: list[Processor] = [
        _take_fields,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
