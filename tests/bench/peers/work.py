"""What both Python peers do besides speaking HTTP: read with aioboto3, verify with PyJWT, log JSON.

Written as the packages' own documentation shows, once for both, so that they differ in the framework
alone. The answers are the services' own documents: the comparison holds them against each other.

A program of an environment of its own (3rdparty/python/bench_peers.lock): it imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aioboto3
import aiohttp
import jwt
from boto3.dynamodb.conditions import Attr, Key

OUTLINE_SECONDS = 30.0
URL_SECONDS = 1_200


class JsonLines(logging.Formatter):
    """One JSON object a line, with what was bound to it."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname.lower(),
                "service": "peer",
                "version": "0.0.0",
                "event": record.getMessage(),
                "logger": record.name,
                **getattr(record, "fields", {}),
            }
        )


_handler = logging.StreamHandler(sys.stdout)
_handler.setFormatter(JsonLines())
log = logging.getLogger("peer.access")
log.addHandler(_handler)
log.setLevel(logging.INFO)
log.propagate = False


def log_request(
    *, request_id: str, method: str, route: str, sub: str | None, status: int, began: float
) -> None:
    """The one line of a request."""
    fields = {
        "requestId": request_id,
        "method": method,
        "route": route,
        "sub": sub,
        "status": status,
        "durationMs": round((time.perf_counter() - began) * 1000, 3),
    }
    log.info("request", extra={"fields": fields})


def new_request_id() -> str:
    return uuid.uuid4().hex


class UnauthorizedError(Exception):
    """No token, or none that is accepted."""


class Work:
    """The use cases, over opened clients."""

    def __init__(self, courses: Any, contents: Any, progress: Any, s3: Any, dynamodb: Any) -> None:
        self._courses = courses
        self._contents = contents
        self._progress = progress
        self._s3 = s3
        self._dynamodb = dynamodb
        self._keys: dict[str, Any] = {}
        self._outlines: dict[str, tuple[float, Mapping[str, Any]]] = {}

    async def read_keys(self) -> None:
        """Fetch the issuer's keys."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(os.environ["JWKS_URL"]) as response,
        ):
            document = json.loads(await response.read())
        self._keys = {entry["kid"]: jwt.PyJWK(entry).key for entry in document["keys"]}

    def subject(self, authorization: str | None) -> str:
        """Whom the token proves. Raises UnauthorizedError."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthorizedError
        try:
            claims = jwt.decode(
                token,
                self._keys[jwt.get_unverified_header(token)["kid"]],
                algorithms=["RS256"],
                issuer=os.environ["ISSUER"],
                options={"require": ["exp", "iat", "sub"]},
            )
        except (jwt.PyJWTError, KeyError) as error:
            raise UnauthorizedError from error
        if claims.get("client_id") != os.environ["CLIENT_ID"]:
            raise UnauthorizedError
        return str(claims["sub"])

    async def course(self, course_id: str) -> dict[str, Any] | None:
        """One strongly consistent GetItem."""
        answer = await self._courses.get_item(Key={"courseId": course_id}, ConsistentRead=True)
        item = answer.get("Item")
        if item is None:
            return None
        return {
            "id": item["courseId"],
            **{
                name: item[name]
                for name in (
                    *("slug", "title", "shortDescription", "language", "level", "tags"),
                    *("instructors", "status"),
                )
            },
            "outlineVersion": int(item["outlineVersion"]),
            "version": int(item["version"]),
            "createdAt": item["createdAt"],
            "updatedAt": item["updatedAt"],
            "publishedAt": item.get("publishedAt"),
            "description": item["description"],
            "outline": [
                {
                    "id": section["id"],
                    "title": section["title"],
                    "items": [
                        {
                            **entry,
                            "durationSeconds": _number(entry["durationSeconds"]),
                            "weight": _number(entry["weight"]),
                        }
                        for entry in section["items"]
                    ],
                }
                for section in item["outline"]
            ],
        }

    async def content(self, content_id: str) -> dict[str, Any] | None:
        """One GetItem, and a URL for the object and for each caption."""
        answer = await self._contents.get_item(Key={"contentId": content_id}, ConsistentRead=True)
        item = answer.get("Item")
        if item is None or item["status"] != "ready":
            return None
        now = datetime.now(UTC)
        expires_at = _timestamp(now + timedelta(seconds=URL_SECONDS))
        original = {
            "name": "original",
            "contentType": item["contentType"],
            "sizeBytes": item["sizeBytes"],
            "etag": item["etag"],
        }
        return {
            "id": item["contentId"],
            "courseId": item["courseId"],
            "title": item["title"],
            "contentType": item["contentType"],
            "sizeBytes": int(item["sizeBytes"]),
            "etag": item["etag"],
            "durationSeconds": _number(item.get("durationSeconds")),
            "url": await self._presign(item["objectKey"], item["contentType"], item["title"]),
            "method": "GET",
            "expiresAt": expires_at,
            "refreshAfter": _timestamp(now + timedelta(seconds=URL_SECONDS * 0.8)),
            "renditions": [
                {
                    "name": entry["name"],
                    "contentType": entry["contentType"],
                    "sizeBytes": int(entry["sizeBytes"]),
                    "etag": entry["etag"],
                    "width": _number(entry.get("width")),
                    "height": _number(entry.get("height")),
                }
                for entry in [original, *item.get("renditions", [])]
            ],
            "captions": [
                {
                    "language": entry["language"],
                    "kind": entry["kind"],
                    "url": await self._presign(entry["objectKey"], "text/vtt", item["title"]),
                    "expiresAt": expires_at,
                }
                for entry in item.get("captions", [])
            ],
        }

    async def _presign(self, key: str, content_type: str, title: str) -> str:
        url: str = await self._s3.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": os.environ["BUCKET"],
                "Key": key,
                "ResponseContentType": content_type,
                "ResponseContentDisposition": f'inline; filename="{title}"',
                "ResponseCacheControl": f"private, max-age={URL_SECONDS}, immutable",
            },
            ExpiresIn=URL_SECONDS,
        )
        return url

    async def page(self, user_id: str) -> dict[str, Any]:
        """One Query; outlines are kept for a while."""
        answer = await self._progress.query(
            KeyConditionExpression=Key("userId").eq(user_id) & Key("sk").between("H#", "H#~"),
            ConsistentRead=True,
            Limit=101,
        )
        courses: dict[str, tuple[Any, Any]] = {}
        for row in answer["Items"]:
            _, course_id, kind = row["sk"].split("#")
            course, recent = courses.get(course_id, (None, None))
            courses[course_id] = (row, recent) if kind == "c" else (course, row)
        outlines = await self._known(list(courses))
        return {
            "userId": user_id,
            "items": [
                _course(course_id, course, recent, outlines.get(course_id))
                for course_id, (course, recent) in courses.items()
            ],
            "nextCursor": None,
        }

    async def record(
        self, user_id: str, course_id: str, update: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Two Queries at the same time and one conditional UpdateItem."""
        user = Key("userId").eq(user_id)
        heads, contents, outlines = await asyncio.gather(
            self._progress.query(
                KeyConditionExpression=user
                & Key("sk").between(f"H#{course_id}#c", f"H#{course_id}#r"),
                ConsistentRead=True,
            ),
            self._progress.query(
                KeyConditionExpression=user
                & Key("sk").between(f"P#{course_id}#", f"P#{course_id}#~"),
                ConsistentRead=True,
            ),
            self._known([course_id]),
        )
        course = next(row for row in heads["Items"] if row["sk"].endswith("#c"))
        resume = update["resume"]
        answer = await self._progress.update_item(
            Key={"userId": user_id, "sk": f"H#{course_id}#r"},
            UpdateExpression="SET #o = :o, #d = :d, #c = :c, #p = :p, #u = :u",
            ConditionExpression=Attr("attempt").eq(course["attempt"])
            & (Attr("occurredAt").not_exists() | Attr("occurredAt").lt(update["occurredAt"])),
            ExpressionAttributeNames={
                "#o": "occurredAt",
                "#d": "deviceId",
                "#c": "contentId",
                "#p": "positionSeconds",
                "#u": "updatedAt",
            },
            ExpressionAttributeValues={
                ":o": update["occurredAt"],
                ":d": update["deviceId"],
                ":c": resume["contentId"],
                ":p": Decimal(str(resume["positionSeconds"])),
                ":u": _timestamp(datetime.now(UTC)),
            },
            ReturnValues="ALL_NEW",
        )
        rows = {row["sk"].split("#")[2]: row for row in contents["Items"]}
        completions = _completions(course)
        return {
            "userId": user_id,
            **_course(course_id, course, answer["Attributes"], outlines.get(course_id)),
            "items": {
                content_id: _content(completions.get(content_id), rows.get(content_id))
                for content_id in sorted(completions.keys() | rows.keys())
            },
        }

    async def _known(self, course_ids: list[str]) -> dict[str, Mapping[str, Any]]:
        now = time.monotonic()
        missing = [
            course_id
            for course_id in course_ids
            if self._outlines.get(course_id, (-OUTLINE_SECONDS,))[0] <= now - OUTLINE_SECONDS
        ]
        if missing:
            answer = await self._dynamodb.batch_get_item(
                RequestItems={
                    "Progress": {
                        "Keys": [
                            {"userId": f"~outline#{course_id}", "sk": "OUTLINE"}
                            for course_id in missing
                        ]
                    }
                }
            )
            for item in answer["Responses"]["Progress"]:
                self._outlines[item["userId"].removeprefix("~outline#")] = (now, item)
        return {
            course_id: self._outlines[course_id][1]
            for course_id in course_ids
            if course_id in self._outlines
        }


@asynccontextmanager
async def opened() -> AsyncIterator[Work]:
    """The clients, opened once, as aioboto3's documentation advises for servers."""
    session = aioboto3.Session()
    async with AsyncExitStack() as stack:
        dynamodb = await stack.enter_async_context(session.resource("dynamodb"))
        s3 = await stack.enter_async_context(session.client("s3"))
        work = Work(
            await dynamodb.Table("CourseCatalog"),
            await dynamodb.Table("Content"),
            await dynamodb.Table("Progress"),
            s3,
            dynamodb,
        )
        await work.read_keys()
        yield work


def _course(course_id: str, course: Any, recent: Any, outline: Any) -> dict[str, Any]:
    completions = _completions(course)
    counted = {entry["contentId"] for entry in outline["items"] if entry["required"]}
    done = counted & completions.keys()
    return {
        "courseId": course_id,
        "status": "in_progress",
        "percent": int(100 * len(done) / len(counted)),
        "completedCount": len(done),
        "totalCount": len(counted),
        "outlineVersion": int(outline["outlineVersion"]),
        "newItemsSinceCompletion": None,
        "resume": {
            "contentId": recent["contentId"],
            "positionSeconds": _number(recent["positionSeconds"]),
            "occurredAt": recent["occurredAt"],
        },
        "startedAt": course["startedAt"],
        "completedAt": course.get("completedAt"),
        "updatedAt": max(course["updatedAt"], recent["updatedAt"]),
        "attempt": int(course["attempt"]),
    }


def _completions(course: Any) -> dict[str, int]:
    found = {}
    for member in course.get("completed", ()):
        content_id, _, milliseconds = member.partition("#")
        found[content_id] = int(milliseconds)
    return found


def _content(completed: int | None, row: Any) -> dict[str, Any]:
    moment = None if completed is None else datetime.fromtimestamp(completed / 1000, UTC)
    return {
        "completed": completed is not None,
        "completedAt": None if moment is None else _timestamp(moment),
        "fraction": None if row is None else _number(row["fraction"]),
        "positionSeconds": None if row is None else _number(row["positionSeconds"]),
        "occurredAt": None if row is None else row["occurredAt"],
    }


def _number(value: Any) -> int | float | None:
    if value is None:
        return None
    return int(value) if value == int(value) else float(value)


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
