"""Logs are events: a stable name and fields, to standard error, for people (console) or machines (json).

Level `trace` is `debug` and, on top, what the libraries say of themselves at that level.
"""

import logging
import sys

import structlog

from shared.levels import LEVELS

__all__ = ["configure", "get_logger"]


def configure(*, level: str, form: str, **always: str) -> None:
    """Set up logging for the process.

    level: one of LEVELS. form: `console` or `json`. always: fields that every line carries.
    """
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**always)
    render: structlog.typing.Processor
    if form == "json":
        render = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # One write for a line: lines of processes that share a terminal do not run into each other.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
    libraries = logging.DEBUG if level == "trace" else logging.WARNING
    for library in ("aiohttp", "asyncio"):
        logging.getLogger(library).setLevel(libraries)
    # While the database is away its pool says so with a page of traceback again and again; our loops say it once.
    logging.getLogger("asyncpg").setLevel(logging.DEBUG if level == "trace" else logging.ERROR)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a module; call it with an event's name and fields."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return logger
