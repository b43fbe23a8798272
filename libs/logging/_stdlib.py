"""Takes the records of the standard library's logging (aiohttp, botocore, asyncio) the common way."""

from __future__ import annotations

import logging

from libs.logging._pipeline import PIPELINE

# Below WARNING these print signed requests, credentials' origin or a line per connection.
_QUIET = ("aiobotocore", "aws_xray_sdk", "boto3", "botocore", "s3transfer", "urllib3")


class PipelineHandler(logging.Handler):
    """A logging handler that hands each record to the pipeline and never raises or prints itself."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage()
        except Exception:
            # Arguments that do not fit the message: say so, with the message as it was written.
            event = f"{record.msg} (the arguments do not fit)"
        values: dict[str, object] = {}
        if record.exc_info:
            values["exc_info"] = record.exc_info
        if record.stack_info:
            values["stack"] = record.stack_info
        PIPELINE.emit(record.levelno, event, values, logger=record.name)


def route_standard_logging(level: int) -> None:
    """Make the pipeline the root logger's only handler; warnings become records too."""
    root = logging.getLogger()
    root.handlers[:] = [PipelineHandler()]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
