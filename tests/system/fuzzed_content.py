"""What Schemathesis does to content: to contents of the tests' own, each for what is done to it.

OpenAPI 3.0 can not say that an upload is still open or that a rendition is there: valid requests
are led to where they can succeed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from tests.system.exchange import ask

READY = "tides-1-1"
SAMPLES = ("tides-1-1", "tides-1-2", "asyncio-1-1", "maps-1-1")
FIRST_DELETED = "gone"
LARGEST_BYTES = 10 * 1024**3  # what the service takes unless it is told otherwise
LARGE_BYTES = 150_000_000  # in parts
PARTS = 9

Announce = Callable[[dict[str, object]], str]

_open: dict[str, str] = {}
_deleted: list[str] = []
_renditions: list[str] = []
_keys = count(1)


def prepare_content(gateway: str, token: str) -> None:
    """Announce the contents that the requests are led to."""

    def announce(title: str, size: int = 1000) -> str:
        answer = ask(
            f"{gateway}/content",
            method="POST",
            token=token,
            json_body={
                "courseId": "fuzzed",
                "title": title,
                "contentType": "video/mp4",
                "sizeBytes": size,
            },
        )
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    for name in ("abort", "change", "caption"):
        _open[name] = announce(f"Fuzzed: {name}")
    _open["parts"] = announce("Fuzzed: parts", LARGE_BYTES)
    _deleted[:] = [announce(f"Fuzzed: deleted {number}") for number in range(40)]
    _renditions[:] = [f"r-{number}" for number in range(8)]
    _open["renditions"] = announce("Fuzzed: renditions")
    for name in _renditions:
        answer = ask(
            f"{gateway}/content/{_open['renditions']}/renditions",
            method="POST",
            token=token,
            json_body={"name": name, "contentType": "video/mp4", "sizeBytes": 10},
        )
        assert answer.status == 201, answer.body


def spared(case: Any) -> Any:
    """No request, valid or not, changes the sample content: other tests play it."""
    path = case.operation.path
    changes = case.method in ("DELETE", "PUT") or path.endswith("/renditions")
    known = (case.path_parameters or {}).get("contentId")
    if path.startswith("/content") and changes and known in SAMPLES:
        case.path_parameters["contentId"] = FIRST_DELETED
    return case


def possible_content_request(case: Any) -> Any:
    """A valid request, led to where it can succeed."""
    path, parameters = case.operation.path, case.path_parameters or {}
    headers, body = case.headers or {}, case.body
    if "Idempotency-Key" in headers:
        # Each is a request of its own.
        headers["Idempotency-Key"] = f"{headers['Idempotency-Key'][:200]}-{next(_keys)}"
    if "If-Match" in headers:
        headers["If-Match"] = "*"
    if isinstance(body, dict) and isinstance(body.get("sizeBytes"), int):
        body["sizeBytes"] = min(body["sizeBytes"], LARGEST_BYTES)
    if "/upload" in path and case.query and len(case.query.get("rendition", "")) % 2:
        del case.query["rendition"]
    if "contentId" in parameters:
        parameters["contentId"] = _place(case.method, path)
    if path.endswith("/renditions/{rendition}"):
        parameters["rendition"] = _renditions.pop() if _renditions else "gone"
    if path.endswith("/upload/parts") and isinstance(body, dict) and body.get("partNumbers"):
        body["partNumbers"] = [1 + number % PARTS for number in body["partNumbers"]]
    if path.endswith("/captions/{language}") and isinstance(body, str):
        # A line of cues behind the first line, or a NUL, is beyond a pattern.
        text = body.removeprefix("WEBVTT\n").replace("\x00", "")
        case.body = f"WEBVTT\n\n{text}"
    return case


def _place(method: str, path: str) -> str:
    """The content that an operation is tried on."""
    if method == "DELETE" and path == "/content/{contentId}":
        return _deleted.pop() if _deleted else FIRST_DELETED
    for end, name in _places():
        if path.endswith(end):
            # Examples are made before the platform runs.
            return _open.get(name, FIRST_DELETED)
    return READY


def _places() -> Iterator[tuple[str, str]]:
    yield "/upload/parts", "parts"
    yield "/upload/abort", "abort"
    yield "/metadata", "change"
    yield "/captions/{language}", "caption"
    yield "/renditions", "change"
    yield "/renditions/{rendition}", "renditions"
