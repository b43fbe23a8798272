"""The logger that business code holds: structlog's bound logger with typed, total methods."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NoReturn

import structlog
from structlog.typing import EventDict, WrappedLogger

from libs.logging._pipeline import PIPELINE

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
}


class BoundLogger(structlog.BoundLoggerBase):
    """Writes events: a stable ``event`` name, and values as keywords (camelCase).

    No method ever raises, whatever the values are. ``exc_info=`` takes True, an exception or
    ``sys.exc_info()``. ``bind`` and ``unbind`` give a logger with more or fewer values of its own.
    """

    def debug(self, event: str, /, **values: object) -> None:
        self._write(logging.DEBUG, event, values)

    def info(self, event: str, /, **values: object) -> None:
        self._write(logging.INFO, event, values)

    def warning(self, event: str, /, **values: object) -> None:
        self._write(logging.WARNING, event, values)

    def error(self, event: str, /, **values: object) -> None:
        self._write(logging.ERROR, event, values)

    def critical(self, event: str, /, **values: object) -> None:
        self._write(logging.CRITICAL, event, values)

    def exception(self, event: str, /, **values: object) -> None:
        """Like `error`, with the exception that is being handled."""
        self._write(logging.ERROR, event, {"exc_info": True, **values})

    def _write(self, level: int, event: str, values: Mapping[str, object]) -> None:
        own = {**self._context, **values}
        name = own.pop(_NAME, None)
        PIPELINE.emit(level, event, own, logger=name if isinstance(name, str) else None)


# The logger's name travels in its context under a name that no keyword argument can spell.
_NAME = "logger name"


def get_logger(name: str) -> BoundLogger:
    """A logger of that name (a module's ``__name__``); cheap, and fit to be made at import."""
    return BoundLogger(None, [], {_NAME: name})


def hand_over(logger: WrappedLogger, method_name: str, event_dict: EventDict) -> NoReturn:
    """The only processor of foreign structlog loggers: their events take the common way."""
    event = event_dict.pop("event", "")
    PIPELINE.emit(_LEVELS.get(method_name, logging.INFO), event, event_dict, logger="structlog")
    raise structlog.DropEvent
