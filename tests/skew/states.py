"""What a contract presupposes, brought about through the API of one version of the services.

The contracts name things (`crs-1`, `c-1`, the tag `ocean`); here each of their interactions gets things
of its own, made by one version for the other to be asked about. So the interaction is told in the names
that those got. Owns the making and the renaming; what is asked and expected is the contract's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from tests.contract.consumers.pact import Interaction
from tests.skew.deployment import PART_BYTES, Deployment

_PATIENCE_SECONDS = 30.0
# What the contracts' own sizes are multiplied by: a real service takes no parts of 40 bytes.
_SCALE = PART_BYTES // 40
_SIZES = {"sizeBytes", "partSize"}
_CUE = "WEBVTT\n\n00:00.000 --> 00:02.000\nNight.\n"
_OUTLINE = [
    {
        "id": "one",
        "title": "Section one",
        "items": [
            {
                "contentId": "c1-1",
                "title": "Watch",
                "type": "video",
                "durationSeconds": 62,
                "required": True,
                "weight": 1,
            },
            {"contentId": "c1-2", "title": "Read", "type": "reading", "weight": 0.5},
        ],
    }
]
_LEARNT_OUTLINE = [
    {
        "id": "one",
        "title": "Section one",
        "items": [
            {"contentId": name, "title": name, "type": "reading", "weight": weight, **more}
            for name, weight, more in (
                ("intro", 1, {}),
                ("tides", 2, {}),
                ("extra", 5, {"required": False}),
            )
        ],
    }
]
_COMPLETION = {
    "occurredAt": "2026-02-01T09:00:00Z",
    "deviceId": "phone",
    "resume": {"contentId": "intro", "positionSeconds": 30},
    "items": {"intro": {"completed": True}},
}


class Stage:
    """What is so before one interaction, made by `version`; its names, by those of the contract."""

    def __init__(self, deployment: Deployment, version: str) -> None:
        self._deployment = deployment
        self._version = version
        number = deployment.number()
        self.subject = f"learner-{number}"
        self._course_slug = f"course-1-{number}"
        self._tag = f"ocean-{number}"
        self._course_version = ""
        self._content_version = ""
        self.names = {
            "course-1": self._course_slug,
            "ocean": self._tag,
            "night-sky": f"night-sky-{number}",
            "learner-a": self.subject,
            # The last part of an idempotency key.
            "000000000001": f"{number:012}",
        }

    def token(self, groups: tuple[str, ...]) -> str:
        """Of whoever asks: nobody before had this name."""
        return self._deployment.token(self.subject, *groups)

    def told(self, interaction: Interaction) -> Interaction:
        """The interaction in the names and sizes of this stage."""
        return replace(
            interaction,
            request=self._renamed(interaction.request),
            response=self._renamed(interaction.response),
        )

    async def set_up(self, states: tuple[Mapping[str, Any], ...]) -> None:
        """Bring all of these about, in their order."""
        # An outline is learnt of a course, and a completion may come before there is one.
        for state in sorted(states, key=lambda state: "is known" not in state["name"]):
            await self._set_up(state["name"], state.get("params") or {})

    async def seen_in_listing(self, version: str) -> None:
        """Wait until that version lists the published course of this stage."""
        url = self._deployment.urls[version]["course_catalog"]
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = await self._call(f"{url}/courses?tag={self._tag}", "GET")
                if found["items"]:
                    return
                await asyncio.sleep(0.05)

    async def _set_up(self, name: str, given: Mapping[str, Any]) -> None:
        match name:
            case "a draft":
                await self._draft()
            case "a published course":
                await self._draft()
                await self._publish()
            case "an author has changed its title":
                changed = {"title": "Another author's"}
                await self._catalog("PATCH", self.names["crs-1"], changed)
            case "a ready content":
                await self._announce(9)
                await self._send(9)
                await self._content("POST", "/upload/complete")
                await self._content("PUT", "/captions/en?kind=captions", text=_CUE)
                await self._content("PUT", "/captions/pt-BR?kind=subtitles", text=_CUE)
                document = await self._content("GET", "/metadata")
                await self._content(
                    "PUT",
                    "/metadata",
                    {"title": document["title"], "position": 1, "durationSeconds": 600},
                )
                # For `If-Match`, as the contract has it of a ready content.
                await self._content("GET", "/metadata")
                self.names['"v3"'] = self._content_version
            case "an announced content":
                await self._announce(int(given["sizeBytes"]))
            case "its bytes have arrived":
                await self._send(self._size)
            case "the outline of crs-1 is known":
                # The third version of it, as the contract has it.
                await self._draft(outline=_OUTLINE)
                for outline in ([], _LEARNT_OUTLINE):
                    await self._catalog("PATCH", self.names["crs-1"], {"outline": outline})
                await self._publish()
                await self._until_learnt(3)
            case "the learner has completed intro of crs-1":
                self.names.setdefault("crs-1", f"unknown-{self._course_slug}")
                await self._complete(self.subject)
            case other:
                raise AssertionError(f"no such state: {other}")

    async def _draft(self, outline: object = _OUTLINE) -> None:
        body = {
            "slug": self._course_slug,
            "title": "Course 1",
            "description": "What this course is about,\nin two lines.",
            "shortDescription": "What this course is about.",
            "language": "en",
            "level": "beginner",
            "tags": [self._tag, "physics"],
            "instructors": ["Coastal Observatory"],
            "outline": outline,
        }
        made = await self._call(f"{self._url('course_catalog')}/courses", "POST", body)
        self.names["crs-1"] = made["id"]
        self._course_version = '"v1"'

    async def _publish(self) -> None:
        await self._catalog("POST", f"{self.names['crs-1']}/publish")

    async def _catalog(self, method: str, path: str, body: object = None) -> Any:
        headers = {"If-Match": self._course_version}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        url = f"{self._url('course_catalog')}/courses/{path}"
        return await self._call(url, method, body, headers=headers)

    async def _announce(self, size: int) -> None:
        self._size = size * _SCALE if size > 100 else size
        body = {
            "courseId": self._course_slug,
            "title": "Mangroves",
            "contentType": "text/html" if size < 1000 else "video/mp4",
            "sizeBytes": self._size,
            "position": 1,
            "checksumSha256": base64.b64encode(
                hashlib.sha256(_bytes(self._size)).digest()
            ).decode(),
        }
        ticket = await self._call(f"{self._url('content_delivery')}/content", "POST", body)
        self.names["c-1"] = ticket["id"]
        self._upload = ticket["upload"]

    async def _send(self, size: int) -> None:
        await send_form(self._deployment.http, self._upload, _bytes(size))

    async def _content(
        self, method: str, path: str, body: object = None, *, text: str | None = None
    ) -> Any:
        headers = {"If-Match": self._content_version} if path == "/metadata" and body else {}
        if text is not None:
            headers["Content-Type"] = "text/vtt"
        url = f"{self._url('content_delivery')}/content/{self.names['c-1']}{path}"
        return await self._call(url, method, body, headers=headers, text=text)

    async def _complete(self, subject: str) -> Any:
        url = f"{self._url('progress_tracking')}/progress/me/{self.names['crs-1']}"
        return await self._call(url, "PUT", _COMPLETION, token=self._deployment.token(subject))

    async def _until_learnt(self, outline_version: int) -> None:
        """Somebody else's progress shows when the outline has come."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                seen = await self._complete(f"scout-of-{self.subject}")
                if seen["outlineVersion"] == outline_version:
                    return
                await asyncio.sleep(0.05)

    async def _call(
        self,
        url: str,
        method: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        text: str | None = None,
        token: str | None = None,
    ) -> Any:
        sent = {"Authorization": f"Bearer {token or self._deployment.token('author', 'authors')}"}
        data = text
        if body is not None:
            data = json.dumps(body)
            sent["Content-Type"] = "application/json"
        async with self._deployment.http.request(
            method, URL(url, encoded=True), data=data, headers=sent | dict(headers or {})
        ) as answer:
            content = await answer.read()
            assert answer.status < 300, f"{method} {url}: {answer.status} {content!r}"
            if "/content/" in url:
                self._content_version = answer.headers.get("ETag", self._content_version)
            elif "/courses/" in url:
                self._course_version = answer.headers.get("ETag", self._course_version)
            return json.loads(content) if content else None

    def _url(self, service: str) -> str:
        return self._deployment.urls[self._version][service]

    def _renamed(self, value: Any, *, of: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: self._renamed(member, of=name) for name, member in value.items()}
        if isinstance(value, list):
            return [self._renamed(member, of=of) for member in value]
        if isinstance(value, int) and of in _SIZES and 9 < value < 1000:
            return value * _SCALE
        if isinstance(value, str):
            for name, own in self.names.items():
                if name.startswith('"'):
                    value = own if value == name and of == "If-Match" else value
                else:
                    value = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", own, value)
        return value


def _bytes(size: int) -> bytes:
    return b"x" * size


async def send_form(http: aiohttp.ClientSession, upload: Mapping[str, Any], body: bytes) -> None:
    """Upload by the signed form of an announcement."""
    form = aiohttp.MultipartWriter("form-data")
    for name, value in upload["fields"].items():
        form.append(value).set_content_disposition("form-data", name=name)
    form.append(body).set_content_disposition("form-data", name="file", filename="file.bin")
    async with http.post(URL(upload["url"], encoded=True), data=form) as answer:
        assert answer.status == 204, await answer.text()
