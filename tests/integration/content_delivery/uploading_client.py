"""A client that uploads one file through the public API and can be killed at any moment.

`python -m tests.integration.content_delivery.uploading_client --api URL --file PATH --type TYPE
[--content ID] [--hang-in-part N]`, the access token on standard input. It keeps nothing: whoever
starts it again with the id goes on where the one before was killed. Prints one JSON line a step.
`--hang-in-part` sends half of that part and then stands still, so that a test can kill it there.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL


class Client:
    """The uploading of one file."""

    def __init__(
        self, http: aiohttp.ClientSession, api: str, token: str, file: Path, hang_in: int | None
    ) -> None:
        self._http = http
        self._api = api
        self._headers = {"Authorization": f"Bearer {token}"}
        self._file = file
        self._hang_in = hang_in

    async def upload(self, content_id: str | None, content_type: str) -> None:
        """Announce the file unless it was announced, send what is missing, complete."""
        if content_id is None:
            content_id = await self._announce(content_type)
        say("announced", id=content_id)
        while True:
            state = await self._api_call("GET", f"/content/{content_id}/upload")
            if not state["missing"]:
                break
            ticket = await self._api_call("POST", f"/content/{content_id}/upload/parts", json={})
            for part in ticket["upload"]["partUrls"]:
                await self._send(part, ticket["upload"]["partSize"])
        while True:
            done = await self._api_call("POST", f"/content/{content_id}/upload/complete")
            if done["state"] == "ready":
                say("ready")
                return
            await asyncio.sleep(0.1)

    async def _announce(self, content_type: str) -> str:
        digest = hashlib.sha256(self._file.read_bytes()).digest()
        announced = await self._api_call(
            "POST",
            "/content",
            json={
                "courseId": "course-1",
                "title": "Mangroves at low tide",
                "contentType": content_type,
                "sizeBytes": self._file.stat().st_size,
                "checksumSha256": base64.b64encode(digest).decode(),
            },
        )
        content_id: str = announced["id"]
        return content_id

    async def _send(self, part: dict[str, Any], part_size: int) -> None:
        number, size = part["partNumber"], part["sizeBytes"]
        with self._file.open("rb") as file:
            file.seek((number - 1) * part_size)
            body = file.read(size)
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        headers = {"Content-Length": str(size), "Content-MD5": md5}
        data = self._half(body) if number == self._hang_in else body
        async with self._http.put(
            URL(part["url"], encoded=True), data=data, headers=headers
        ) as answer:
            if answer.status != 200:
                raise RuntimeError(f"part {number}: {answer.status} {await answer.text()}")
        say("sent", part=number)

    async def _half(self, body: bytes) -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]
        say("hanging")
        await asyncio.Event().wait()

    async def _api_call(self, method: str, path: str, *, json: object = None) -> dict[str, Any]:
        async with self._http.request(
            method, f"{self._api}{path}", json=json, headers=self._headers
        ) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
            document: dict[str, Any] = await answer.json()
            return document


def say(step: str, **details: object) -> None:
    """One line for whoever watches."""
    print(json.dumps({"step": step, **details}), flush=True)  # noqa: T201 - what its parent reads


async def main() -> None:
    """Upload as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", required=True)
    parser.add_argument("--file", required=True, type=Path)
    parser.add_argument("--type", required=True)
    parser.add_argument("--content")
    parser.add_argument("--hang-in-part", type=int)
    arguments = parser.parse_args()
    token = sys.stdin.readline().strip()
    async with aiohttp.ClientSession() as http:
        client = Client(http, arguments.api, token, arguments.file, arguments.hang_in_part)
        await client.upload(arguments.content, arguments.type)


if __name__ == "__main__":
    asyncio.run(main())
