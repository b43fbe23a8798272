"""The authoring APIs and the object store in memory, played by their contracts over real sockets.

Every request that arrives is held against the `openapi.yaml` of the service that it is for, and so is
every answer: what a service would refuse is refused here, and nothing is answered that no service
answers. On top of that it does what services do on bad days, when a test says so (`faults`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from tests.contract.openapi import Contract

ROOT = Path(__file__).parents[3]
NOW = "2026-05-01T09:00:00.000Z"
TOKEN = "header.payload.signature"


@dataclass
class Fault:
    """What happens to the next `times` requests of a method whose path matches."""

    method: str
    path: str
    status: int | None = None  # None: the connection is cut
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = "dependency_unavailable"
    times: int = 1
    after: bool = False  # the request is carried out, and its answer lost


@dataclass
class Stored:
    """A piece of content and its bytes."""

    document: dict[str, Any]
    tracks: dict[str, bytes] = field(default_factory=dict)
    body: bytes | None = None
    parts: dict[int, bytes] = field(default_factory=dict)


class AuthoringApis:
    """Catalog, content delivery and the object store behind one address."""

    def __init__(self, *, single_bytes: int = 100_000_000, part_bytes: int = 8_000_000) -> None:
        self.courses: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, Stored] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.contract_errors: list[str] = []
        self.tokens = {TOKEN}
        self.hold: Callable[[str], bool] = lambda request: False
        self.held = asyncio.Event()
        self.verifying = 0
        self.signatures_end_after: int | None = None
        self._single_bytes = single_bytes
        self._part_bytes = part_bytes
        self._keys: dict[str, tuple[str, str]] = {}
        self._numbers = itertools.count(1)
        self._contracts = {name: _contract(name) for name in ("course_catalog", "content_delivery")}
        self._store_requests = 0

    def app(self) -> web.Application:
        """The application that a test server runs."""
        app = web.Application(middlewares=[self._around], client_max_size=256 << 20)
        course, content = "/courses/{courseId}", "/content/{contentId}"
        catalog, delivery = "course_catalog", "content_delivery"
        for method, path, service, handler in (
            ("GET", "/courses", catalog, self._list_courses),
            ("POST", "/courses", catalog, self._create_course),
            ("GET", course, catalog, self._get_course),
            ("PATCH", course, catalog, self._patch_course),
            ("POST", f"{course}/publish", catalog, self._publish_course),
            ("GET", "/content", delivery, self._list_content),
            ("POST", "/content", delivery, self._announce),
            ("GET", content, delivery, self._get_content),
            ("DELETE", content, delivery, self._delete_content),
            ("GET", f"{content}/metadata", delivery, self._get_metadata),
            ("PUT", f"{content}/metadata", delivery, self._put_metadata),
            ("GET", f"{content}/upload", delivery, self._get_upload),
            ("POST", f"{content}/upload/parts", delivery, self._get_parts),
            ("POST", f"{content}/upload/complete", delivery, self._complete),
            ("PUT", f"{content}/captions/{{language}}", delivery, self._put_caption),
            ("DELETE", f"{content}/captions/{{language}}", delivery, self._delete_caption),
        ):
            app.router.add_route(method, path, self._checked(service, method, path, handler))
        app.router.add_post("/store", self._store_form)
        app.router.add_put("/store/{contentId}/{number}", self._store_part)
        app.router.add_get("/store/{contentId}/{language}.vtt", self._fetch_track)
        return app

    def count(self, pattern: str) -> int:
        """How many requests matched, as `METHOD /path`."""
        return sum(1 for request in self.requests if re.fullmatch(pattern, request))

    @property
    def changes(self) -> Counter[str]:
        """The requests that are no reads, by method."""
        return Counter(one.split()[0] for one in self.requests if not one.startswith("GET"))

    def put_content(self, course_id: str, **settings: Any) -> str:
        """Ready content of another author's."""
        stored = self._new_content(
            {"courseId": course_id, "title": "Other", "contentType": "text/plain", "sizeBytes": 3}
        )
        stored.document |= {"status": "ready", **settings}
        return str(stored.document["id"])

    def bytes_of(self, content_id: str) -> bytes:
        """The bytes of ready content."""
        body = self.contents[content_id].body
        assert body is not None
        return body

    # Around every request

    @web.middleware
    async def _around(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        line = f"{request.method} {request.path}"
        self.requests.append(line)
        if self.hold(line):
            self.held.set()
            await asyncio.Event().wait()
        is_store = request.path.startswith("/store")
        if is_store == ("Authorization" in request.headers):
            self.contract_errors.append(
                f"{line}: Authorization {'sent' if is_store else 'missing'}"
            )
        for fault in self.faults:
            if (
                fault.times
                and fault.method == request.method
                and re.fullmatch(fault.path, request.path)
            ):
                fault.times -= 1
                if fault.after:
                    await handler(request)
                if fault.status is None:
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response()
                return problem(request, fault.status, fault.code, headers=fault.headers)
        if not is_store:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in self.tokens:
                return problem(request, 401, "invalid_token")
        response: web.StreamResponse = await handler(request)
        return response

    def _checked(
        self, service: str, method: str, template: str, handler: Callable[[web.Request], Any]
    ) -> Callable[[web.Request], Any]:
        contract = self._contracts[service]
        paths: Any = contract.document["paths"]
        operation = paths[template][method.lower()]

        async def checked(request: web.Request) -> web.StreamResponse:
            where = f"{method} {template}"
            self._check_request(contract, where, operation, request, await request.read())
            response: web.Response = await handler(request)
            self._check_answer(contract, where, operation, response)
            return response

        return checked

    def _check_request(
        self, contract: Contract, where: str, operation: Any, request: web.Request, body: bytes
    ) -> None:
        parameters = [_resolved(contract, one) for one in operation.get("parameters", ())]
        queries = {one["name"]: one for one in parameters if one["in"] == "query"}
        for name, text in request.query.items():
            if name not in queries:
                self.contract_errors.append(f"{where}: unknown query {name}")
                continue
            schema = queries[name]["schema"]
            value: object = int(text) if schema.get("type") == "integer" else text
            self.contract_errors += [
                f"{where} ?{name}: {p}" for p in contract.validate(schema, value)
            ]
        for one in parameters:
            if one["in"] == "header" and one.get("required") and one["name"] not in request.headers:
                self.contract_errors.append(f"{where}: header {one['name']} is missing")
            if one["in"] == "header" and one["name"] in request.headers:
                problems = contract.validate(one["schema"], request.headers[one["name"]])
                self.contract_errors += [f"{where} {one['name']}: {p}" for p in problems]
        if "requestBody" not in operation:
            if body:
                self.contract_errors.append(f"{where}: a body that is not described")
            return
        described = _resolved(contract, operation["requestBody"])["content"]
        kind = request.content_type
        if kind not in described:
            self.contract_errors.append(f"{where}: a body of type {kind}")
            return
        value = json.loads(body) if kind.endswith("json") else body.decode()
        if len(body) > 262_144:
            self.contract_errors.append(f"{where}: a body of {len(body)} bytes")
        self.contract_errors += [
            f"{where}: {p}" for p in contract.validate(described[kind]["schema"], value)
        ]

    def _check_answer(
        self, contract: Contract, where: str, operation: Any, response: web.Response
    ) -> None:
        documented = operation["responses"].get(str(response.status))
        if documented is None:
            self.contract_errors.append(f"{where}: {response.status} is not documented")
            return
        described = _resolved(contract, documented).get("content", {})
        if response.body and response.content_type == "application/json":
            assert isinstance(response.body, bytes)
            schema = described["application/json"]["schema"]
            problems = contract.validate(schema, json.loads(response.body))
            self.contract_errors += [f"{where} -> {response.status}: {p}" for p in problems]

    # Catalog

    async def _list_courses(self, request: web.Request) -> web.Response:
        wanted, tag = request.query.get("status", "published"), request.query.get("tag")
        found = [
            {
                name: value
                for name, value in course.items()
                if name not in ("outline", "description", "_changed")
            }
            for course in self.courses.values()
            if course["status"] == wanted and (tag is None or tag in course["tags"])
        ]
        # A page holds one, so that paging is lived.
        begin = int(request.query.get("cursor", "0"))
        more = str(begin + 1) if begin + 1 < len(found) else None
        return answer({"items": found[begin : begin + 1], "nextCursor": more})

    async def _create_course(self, request: web.Request) -> web.Response:
        sent = await request.read()
        replayed = self._replayed(request, sent)
        if isinstance(replayed, web.Response):
            return replayed
        if replayed is not None and replayed in self.courses:
            return self._course_answer(self.courses[replayed], status=201)
        content = json.loads(sent)
        if any(course["slug"] == content["slug"] for course in self.courses.values()):
            return problem(request, 409, "slug_taken")
        course = {
            "id": replayed or f"crs{next(self._numbers):04}",
            "tags": [],
            "instructors": [],
            "outline": [],
            **content,
            "status": "draft",
            "outlineVersion": 1,
            "version": 1,
            "createdAt": NOW,
            "updatedAt": NOW,
            "publishedAt": None,
        }
        self.courses[course["id"]] = course
        self._keep(request, sent, course["id"])
        return self._course_answer(course, status=201)

    async def _get_course(self, request: web.Request) -> web.Response:
        course = self.courses.get(request.match_info["courseId"])
        if course is None:
            return problem(request, 404, "course_not_found")
        return self._course_answer(course)

    async def _patch_course(self, request: web.Request) -> web.Response:
        course = self.courses[request.match_info["courseId"]]
        if request.headers["If-Match"] != f'"v{course["version"]}"':
            return problem(request, 412, "precondition_failed", errors=course.get("_changed", []))
        self.edit_course(course["id"], **json.loads(await request.read()))
        return self._course_answer(course)

    async def _publish_course(self, request: web.Request) -> web.Response:
        course = self.courses[request.match_info["courseId"]]
        if request.headers["If-Match"] != f'"v{course["version"]}"':
            return problem(request, 412, "precondition_failed")
        if not course["outline"]:
            return problem(request, 409, "course_not_publishable")
        for section in course["outline"]:
            for item in section["items"]:
                assert self.contents[item["contentId"]].document["status"] == "ready"
        course |= {"status": "published", "publishedAt": NOW, "version": course["version"] + 1}
        return self._course_answer(course)

    def edit_course(self, course_id: str, **members: Any) -> None:
        """Another author's edit, or ours."""
        course = self.courses[course_id]
        course["outlineVersion"] += "outline" in members
        course["version"] += 1
        course["_changed"] = [
            {"pointer": f"/{name}", "message": f"was changed in version {course['version']}"}
            for name in members
        ]
        course |= members

    def _course_answer(self, course: dict[str, Any], *, status: int = 200) -> web.Response:
        shown = {name: value for name, value in course.items() if not name.startswith("_")}
        etag = f'"v{course["version"]}"'
        return answer(shown, status=status, headers={"ETag": etag, "Vary": "Authorization"})

    # Content

    async def _list_content(self, request: web.Request) -> web.Response:
        found = [
            {
                name: stored.document[name]
                for name in ("id", "courseId", "title", "position", "status", "contentType",
                             "sizeBytes", "durationSeconds", "version", "updatedAt")
            }
            for stored in self.contents.values()
            if stored.document["courseId"] == request.query["courseId"]
            and stored.document["status"] != "deleted"
        ]  # fmt: skip
        found.sort(key=lambda one: (one["position"], one["id"]))
        begin = int(request.query.get("cursor", "0"))
        more = str(begin + 7) if begin + 7 < len(found) else None
        return answer({"items": found[begin : begin + 7], "nextCursor": more})

    async def _announce(self, request: web.Request) -> web.Response:
        sent = await request.read()
        replayed = self._replayed(request, sent)
        if isinstance(replayed, web.Response):
            return replayed
        stored = self.contents.get(replayed) if replayed else None
        if stored is None:
            stored = self._new_content(json.loads(sent))
            self._keep(request, sent, stored.document["id"])
        is_open = stored.document["status"] == "pending" and self._state(stored) == "uploading"
        ticket = self._ticket(request, stored) if is_open else None
        return answer(
            {
                "id": stored.document["id"],
                "rendition": "original",
                "status": stored.document["status"],
                "upload": ticket,
            },
            status=201,
            headers={"Location": f"/content/{stored.document['id']}"},
        )

    async def _get_content(self, request: web.Request) -> web.Response:
        stored = self._present(request)
        document = stored.document
        return answer(
            {
                **{
                    name: document[name]
                    for name in ("id", "courseId", "title", "contentType", "sizeBytes", "durationSeconds")
                },
                "etag": '"e"',
                "url": f"{origin(request)}/store/{document['id']}",
                "method": "GET",
                "expiresAt": NOW,
                "refreshAfter": NOW,
                "renditions": [
                    {"name": "original", "contentType": document["contentType"],
                     "sizeBytes": document["sizeBytes"], "etag": '"e"', "width": None, "height": None}
                ],
                "captions": [
                    {"language": language, "kind": "subtitles", "expiresAt": NOW,
                     "url": f"{origin(request)}/store/{document['id']}/{language}.vtt"}
                    for language in sorted(stored.tracks)
                ],
            }
        )  # fmt: skip

    async def _get_metadata(self, request: web.Request) -> web.Response:
        stored = self.contents.get(request.match_info["contentId"])
        if stored is None:
            return problem(request, 404, "content_not_found")
        return self._metadata_answer(stored)

    async def _put_metadata(self, request: web.Request) -> web.Response:
        stored = self._present(request)
        if request.headers["If-Match"] != f'"v{stored.document["version"]}"':
            return problem(request, 412, "precondition_failed")
        stored.document |= {"durationSeconds": None, **json.loads(await request.read())}
        stored.document["version"] += 1
        return self._metadata_answer(stored)

    async def _get_upload(self, request: web.Request) -> web.Response:
        return answer(self._upload_document(self._present(request)))

    async def _get_parts(self, request: web.Request) -> web.Response:
        stored = self._present(request)
        if self._state(stored) != "uploading":
            return problem(request, 409, "not_uploading")
        document = stored.document
        return answer(
            {
                "id": document["id"],
                "rendition": "original",
                "status": document["status"],
                "upload": self._ticket(request, stored),
            }
        )

    async def _complete(self, request: web.Request) -> web.Response:
        stored = self._present(request)
        document = stored.document
        if document["status"] == "failed":
            return problem(request, 409, "upload_failed")
        if document["status"] == "pending":
            if self._state(stored) == "uploading":
                return problem(request, 409, "upload_incomplete")
            if self.verifying:
                self.verifying -= 1
                return answer(
                    self._upload_document(stored), status=202, headers={"Retry-After": "2"}
                )
            if stored.body is None:
                stored.body = b"".join(stored.parts[n] for n in sorted(stored.parts))
            found = base64.b64encode(hashlib.sha256(stored.body).digest()).decode()
            announced = document["checksumSha256"]
            if len(stored.body) != document["sizeBytes"] or announced not in (None, found):
                document |= {"status": "failed", "failureReason": "The checksum differs."}
                return problem(request, 409, "upload_failed")
            document |= {"status": "ready", "checksumSha256": found}
            document["version"] += 1
        return answer(self._upload_document(stored))

    async def _put_caption(self, request: web.Request) -> web.Response:
        stored = self._present(request)
        language = request.match_info["language"]
        is_new = language not in stored.tracks
        stored.tracks[language] = await request.read()
        stored.document["version"] += 1
        return self._metadata_answer(stored, status=201 if is_new else 200)

    async def _delete_caption(self, request: web.Request) -> web.Response:
        self._present(request).tracks.pop(request.match_info["language"], None)
        return web.Response(status=204)

    async def _delete_content(self, request: web.Request) -> web.Response:
        self._present(request).document |= {"status": "deleted", "deletedAt": NOW}
        return web.Response(status=204)

    def _new_content(self, new: dict[str, Any]) -> Stored:
        document = {
            "id": f"cnt{next(self._numbers):04}",
            "position": 0,
            "durationSeconds": None,
            "checksumSha256": None,
            **new,
            "status": "pending",
            "renditions": [],
            "failureReason": None,
            "version": 1,
            "createdAt": NOW,
            "updatedAt": NOW,
            "deletedAt": None,
            "purgeAt": None,
        }
        stored = self.contents[document["id"]] = Stored(document)
        return stored

    def _present(self, request: web.Request) -> Stored:
        stored = self.contents.get(request.match_info["contentId"])
        if stored is None or stored.document["status"] == "deleted":
            raise web.HTTPNotFound
        return stored

    def _part_count(self, stored: Stored) -> int:
        size: int = stored.document["sizeBytes"]
        return 0 if size <= self._single_bytes else -(-size // self._part_bytes)

    def _state(self, stored: Stored) -> str:
        if stored.document["status"] in ("ready", "failed"):
            return str(stored.document["status"])
        count = self._part_count(stored)
        arrived = len(stored.parts) == count if count else stored.body is not None
        return "uploaded" if arrived else "uploading"

    def _upload_document(self, stored: Stored) -> dict[str, Any]:
        document, count = stored.document, self._part_count(stored)
        missing = [number for number in range(1, count + 1) if number not in stored.parts]
        return {
            "id": document["id"],
            "rendition": "original",
            "state": self._state(stored),
            "method": "multipart" if count else "post",
            "contentType": document["contentType"],
            "sizeBytes": document["sizeBytes"],
            "checksumSha256": document["checksumSha256"],
            "partSize": self._part_bytes if count else None,
            "partCount": count or None,
            "missing": [{"first": number, "last": number} for number in missing],
            "failureReason": document["failureReason"],
        }

    def _ticket(self, request: web.Request, stored: Stored) -> dict[str, Any]:
        document, count = stored.document, self._part_count(stored)
        missing = [number for number in range(1, count + 1) if number not in stored.parts]
        size = self._part_bytes
        return {
            "method": "multipart" if count else "post",
            "contentType": document["contentType"],
            "sizeBytes": document["sizeBytes"],
            "url": None if count else f"{origin(request)}/store",
            "fields": None if count else {"key": document["id"], "Content-Type": document["contentType"]},
            "uploadId": "up-1" if count else None,
            "partSize": size if count else None,
            "partCount": count or None,
            "partUrls": [
                {
                    "partNumber": number,
                    "sizeBytes": min(size, document["sizeBytes"] - (number - 1) * size),
                    "url": f"{origin(request)}/store/{document['id']}/{number}?X-Amz-Signature=s",
                }
                for number in missing[:3]  # a hundred, in life
            ],
            "expiresAt": NOW,
        }  # fmt: skip

    def _metadata_answer(self, stored: Stored, *, status: int = 200) -> web.Response:
        tracks = [{"language": name, "kind": "subtitles"} for name in sorted(stored.tracks)]
        etag = f'"v{stored.document["version"]}"'
        return answer(
            {**stored.document, "captions": tracks}, status=status, headers={"ETag": etag}
        )

    def _replayed(self, request: web.Request, sent: bytes) -> str | web.Response | None:
        """What a key made before; a problem where it came with another request."""
        kept = self._keys.get(request.headers.get("Idempotency-Key", ""))
        if kept is None:
            return None
        if kept[0] != f"{request.path} {sent.decode()}":
            return problem(request, 422, "idempotency_key_reused")
        return kept[1]

    def _keep(self, request: web.Request, sent: bytes, made: str) -> None:
        if "Idempotency-Key" in request.headers:
            key = request.headers["Idempotency-Key"]
            self._keys[key] = (f"{request.path} {sent.decode()}", made)

    # The object store

    async def _store_form(self, request: web.Request) -> web.Response:
        if self._signature_has_ended():
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        if request.content_length is None:
            return web.Response(status=411)
        fields: dict[str, bytes] = {}
        last = ""
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            last = str(part.name)
            fields[last] = bytes(await part.read())
        stored = self.contents[fields["key"].decode()]
        if last != "file" or fields["Content-Type"].decode() != stored.document["contentType"]:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        if len(fields["file"]) != stored.document["sizeBytes"]:
            return web.Response(status=400, text="<Error><Code>EntityTooLarge</Code></Error>")
        stored.body = fields["file"]
        return web.Response(status=204)

    async def _store_part(self, request: web.Request) -> web.Response:
        if self._signature_has_ended():
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        if request.content_length is None:
            return web.Response(status=411)
        stored = self.contents[request.match_info["contentId"]]
        stored.parts[int(request.match_info["number"])] = await request.read()
        return web.Response(headers={"ETag": '"part"'})

    async def _fetch_track(self, request: web.Request) -> web.Response:
        stored = self.contents[request.match_info["contentId"]]
        return web.Response(body=stored.tracks[request.match_info["language"]])

    def _signature_has_ended(self) -> bool:
        self._store_requests += 1
        if self._store_requests - 1 == self.signatures_end_after:
            self.signatures_end_after = None
            return True
        return False


@cache
def _contract(service: str) -> Contract:
    """Read once: that takes a second."""
    return Contract(ROOT / "services" / service / "openapi.yaml")


def answer(
    document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.json_response(document, status=status, headers=dict(headers or {}))


def problem(
    request: web.Request,
    status: int,
    code: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An RFC 9457 problem."""
    document: dict[str, object] = {
        "type": f"https://lyceum.example/problems/{code}",
        "title": "Problem",
        "status": status,
        "detail": f"It is {code}.",
        "instance": request.path,
        "code": code,
        "requestId": "r-1",
    }
    if errors:
        document["errors"] = errors
    return web.json_response(
        document,
        status=status,
        headers=dict(headers or {}),
        content_type="application/problem+json",
    )


def origin(request: web.Request) -> str:
    """The address that the server was asked at."""
    return f"http://{request.host}"


def _resolved(contract: Contract, node: Any) -> Any:
    while "$ref" in node:
        target: Any = contract.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node
