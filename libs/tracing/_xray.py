"""Spans as X-Ray segment documents, sent to a daemon over UDP. The only importer of the SDK.

The SDK's document model is used, its recorder is not: that one brings a task factory that hangs
under uvloop, poller threads and two ERROR lines for each call without a segment. It is not even
made. Moving to another back end means replacing this file.

Fields: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

import contextlib
import logging
import platform
import re
import socket
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec, module_from_spec
from typing import Any, Final

from aws_xray_sdk.version import VERSION

from libs.tracing._datagrams import datagrams
from libs.tracing._record import AttributeValue, FinishedSpan, RecordedException

_CORE: Final = "aws_xray_sdk.core"


@contextlib.contextmanager
def _no_recorder() -> Iterator[None]:
    """Let modules of the SDK's core be imported without its `__init__`.

    That one makes a recorder, and for its sampler two of botocore's clients: a fifth of a
    service's start (docs/adr/0155). The copies are this module's alone: whoever imports the SDK
    later gets it whole.
    """
    if _CORE in sys.modules:
        yield
        return
    spec = find_spec(_CORE)
    if spec is None:
        raise ModuleNotFoundError(name=_CORE)
    # Not executed: a package that has a place and nothing else.
    sys.modules[_CORE] = module_from_spec(spec)
    try:
        yield
    finally:
        for name in [known for known in sys.modules if f"{known}.".startswith(f"{_CORE}.")]:
            del sys.modules[name]


with _no_recorder():
    from aws_xray_sdk.core.models import http
    from aws_xray_sdk.core.models.segment import Segment
    from aws_xray_sdk.core.models.subsegment import Subsegment

_log: Final = logging.getLogger(__name__)

_NAMESPACES: Final = {
    "aws": "aws",
    "producer": "aws",
    "client": "remote",
    "internal": "local",
}
# A message is handed to SNS or SQS: there is no other queue.
_AWS_KINDS: Final = frozenset({"aws", "producer"})
_NAME_CHARACTERS: Final = re.compile(r"[^\w\s.:/%&#=+\\\-@]")
_ANNOTATION_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9_]")
_LONGEST_NAME: Final = 200
_LONGEST_USER: Final = 250
_DEEPEST_NESTING: Final = 50
# Attributes of this prefix become annotations, which X-Ray indexes for its filter expressions.
_ANNOTATED_PREFIX: Final = "lyceum."

_HTTP_TEXTS: Final = {
    "http.request.method": http.METHOD,
    "user_agent.original": http.USER_AGENT,
    "client.address": http.CLIENT_IP,
}
_HTTP_NUMBERS: Final = {
    "http.response.status_code": http.STATUS,
    "http.response.body.size": http.CONTENT_LENGTH,
}
_AWS_FIELDS: Final = {
    "rpc.method": "operation",
    "aws.operation": "operation",
    "cloud.region": "region",
    "aws.region": "region",
    "aws.request_id": "request_id",
    "aws.dynamodb.table_names": "table_name",
    "aws.s3.bucket": "bucket_name",
    "aws.sqs.queue.url": "queue_url",
    "aws.sns.topic.arn": "topic_arn",
    "aws.request.retries": "retries",
}
_SHOWN_ELSEWHERE: Final = frozenset(
    {"url.full", "url.scheme", "url.path", "server.address", "server.port"}
    | {"rpc.service", "enduser.pseudo.id", "sampling.rule"}
)


class XRayEmitter:
    """Sends documents without waiting; what the socket does not take at once is dropped.

    Raises ValueError for a malformed address.
    """

    def __init__(self, address: str, *, service: str, version: str) -> None:
        host, port = _parse_address(address)
        self._service = service
        self._version = version
        self._destination: tuple[Any, ...] | None = None
        self._socket: socket.socket | None = None
        self.sent = 0
        self.dropped = 0
        try:
            family, _, _, _, self._destination = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        except UnicodeError as problem:
            raise ValueError(f"daemon address {address!r} has no valid host name") from problem
        except OSError as problem:
            # A service has to start without its tracing.
            _log.warning("no tracing: daemon %s can't be addressed: %s", address, problem)

    def emit(self, spans: Sequence[FinishedSpan]) -> None:
        if self._socket is None or self._destination is None:
            return
        for document in documents(spans, service=self._service, version=self._version):
            for datagram in datagrams(document):
                try:
                    self._socket.sendto(datagram, self._destination)
                    self.sent += 1
                except OSError:
                    # No daemon, a full buffer, no network: telemetry is not worth waiting for.
                    self.dropped += 1

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def documents(
    spans: Sequence[FinishedSpan], *, service: str, version: str
) -> list[dict[str, object]]:
    """The spans as trees: a segment with its subsegments, and each subsegment by itself whose
    parent is not among the spans."""
    ids = {span.span_id for span in spans}
    children: dict[str, list[FinishedSpan]] = {}
    roots: deque[FinishedSpan] = deque()
    for span in spans:
        if not span.is_segment and span.parent_id in ids:
            children.setdefault(str(span.parent_id), []).append(span)
        else:
            roots.append(span)
    result = []
    while roots:
        root = roots.popleft()
        segment = _segment(root, service, version)
        entity = segment if root.is_segment else _subsegment(root, segment)
        tree = level = [(root, entity)]
        for _ in range(_DEEPEST_NESTING):
            below = []
            for span, parent in level:
                for child in children.pop(span.span_id, ()):
                    child_entity = _subsegment(child, segment)
                    parent.add_subsegment(child_entity)
                    below.append((child, child_entity))
            level = below
            tree = tree + below
        # What is deeper than a JSON encoder can go is continued in a document of its own:
        # X-Ray joins them by id.
        for span, _ in level:
            roots.extend(children.pop(span.span_id, ()))
        for span, closing in tree:
            closing.close(span.end)
        result.append(entity.to_dict())
    return result


def _segment(span: FinishedSpan, service: str, version: str) -> Any:
    """The span's segment, empty where the span is but a part of it: a subsegment can't be made
    without one."""
    segment = Segment(
        _name(service), entityid=span.segment_id, traceid=span.trace_id, parent_id=span.parent_id
    )
    if not span.is_segment:
        return segment
    xray = {"sdk": "X-Ray for Python", "sdk_version": VERSION}
    rule = span.attributes.get("sampling.rule")
    if rule is not None:
        xray["sampling_rule_name"] = str(rule)
    segment.set_aws({"xray": xray})
    segment.set_service(
        {
            "version": version,
            "runtime": platform.python_implementation(),
            "runtime_version": platform.python_version(),
        }
    )
    user = span.attributes.get("enduser.pseudo.id")
    if user is not None:
        segment.set_user(str(user)[:_LONGEST_USER])
        # The field can be searched for too, but only annotations can be grouped by.
        segment.put_annotation("user", str(user)[:_LONGEST_USER])
    segment.put_annotation("service", service)
    segment.put_annotation("operation", span.name)
    _fill(segment, span)
    return segment


def _subsegment(span: FinishedSpan, segment: Any) -> Any:
    name = span.name
    if span.kind in _AWS_KINDS:
        # X-Ray draws one node for each name: the AWS service, not the operation.
        name = str(span.attributes.get("rpc.service", name))
    subsegment = Subsegment(_name(name), _NAMESPACES[span.kind], segment)
    subsegment.id = span.span_id
    subsegment.parent_id = span.parent_id
    _fill(subsegment, span)
    return subsegment


def _fill(entity: Any, span: FinishedSpan) -> None:
    entity.start_time = span.start
    _put_attributes(entity, span.attributes, kind=span.kind)
    _put_errors(entity, span)


def _put_attributes(entity: Any, attributes: Mapping[str, AttributeValue], *, kind: str) -> None:
    aws = dict(entity.aws)
    for key, value in attributes.items():
        if key in _HTTP_TEXTS:
            entity.put_http_meta(_HTTP_TEXTS[key], str(value))
        elif key in _HTTP_NUMBERS and isinstance(value, int):
            entity.put_http_meta(_HTTP_NUMBERS[key], value)
        elif key in _AWS_FIELDS and kind in _AWS_KINDS:
            aws.update(_aws_field(_AWS_FIELDS[key], value))
        elif key == "http.route":
            entity.put_annotation("route", str(value))
        elif key.startswith(_ANNOTATED_PREFIX):
            name = _ANNOTATION_CHARACTERS.sub("_", key.removeprefix(_ANNOTATED_PREFIX))
            # An annotation has one value.
            if not isinstance(value, str | bool | int | float):
                value = ", ".join(value)
            entity.put_annotation(name, value)
        elif key not in _SHOWN_ELSEWHERE:
            entity.put_metadata(key, value)
    url = _url(attributes)
    if url and kind in ("server", "client"):
        entity.put_http_meta(http.URL, url)
    if aws:
        entity.set_aws(aws)


def _aws_field(field: str, value: AttributeValue) -> dict[str, AttributeValue]:
    if field != "table_name" or isinstance(value, str | bool | int | float):
        return {field: value}
    return {"table_name": value[0]} if len(value) == 1 else {"table_names": list(value)}


def _url(attributes: Mapping[str, AttributeValue]) -> str | None:
    """The URL, with the route template for a path: a path holds ids, and X-Ray groups by URL."""
    full = attributes.get("url.full")
    if full:
        return str(full)
    path = attributes.get("http.route", attributes.get("url.path"))
    if not path:
        return None
    host = attributes.get("server.address")
    if not host:
        return str(path)
    port = f":{attributes['server.port']}" if "server.port" in attributes else ""
    return f"{attributes.get('url.scheme', 'http')}://{host}{port}{path}"


def _put_errors(entity: Any, span: FinishedSpan) -> None:
    if span.error:
        entity.add_error_flag()
    if span.fault:
        entity.add_fault_flag()
    if span.throttled:
        entity.add_throttle_flag()
    if span.exceptions:
        entity.cause = {
            "working_directory": "",
            "exceptions": [
                _ExceptionDocument(exception, remote=span.kind in ("aws", "client", "producer"))
                for exception in span.exceptions
            ],
        }
    elif span.inherited_exception:
        # By X-Ray's format, the id of an exception that is recorded in another subsegment.
        entity.cause = span.inherited_exception


class _ExceptionDocument:
    """In the place of the SDK's Throwable, which marks the exception object itself."""

    def __init__(self, exception: RecordedException, *, remote: bool) -> None:
        self._exception = exception
        self._remote = remote

    def to_dict(self) -> dict[str, object]:
        document: dict[str, object] = {
            "id": self._exception.id,
            "type": self._exception.type,
            "message": self._exception.message,
            "remote": self._remote,
            "stack": [
                {"path": path, "line": line, "label": label}
                for path, line, label in reversed(self._exception.stack)
            ],
        }
        if self._exception.caused_by:
            document["cause"] = self._exception.caused_by
        return document


def _name(name: str) -> str:
    return _NAME_CHARACTERS.sub("", name)[:_LONGEST_NAME].strip() or "unnamed"


def _parse_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"daemon address must be host:port, not {address!r}")
    return host, int(port)
