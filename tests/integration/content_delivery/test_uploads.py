"""Uploads through the service's own process to the embedded S3: whole, in parts, killed, resumed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from libs.auth.testing import TokenIssuer
from libs.aws import Clients
from tests.backends import Backend
from tests.contract.content_delivery.clients import clients_of, new_bucket, new_table
from tests.integration.service_process import ServiceProcess, python_path, service_process

ISSUER = TokenIssuer()
AUTHOR = ISSUER.token(sub="author", groups=["authors"])
PART_BYTES = 65_536
# Thirteen parts, the last of them shorter: as 200 MB has in parts of 16 MiB.
MOVIE = random.Random(7).randbytes(12 * PART_BYTES + 1000)
SMALL = b"# Spring and neap\n\nTwice a month the tide is highest.\n"
NEW = {"courseId": "course-1", "title": "Ebbe & Flut – 海の潮", "contentType": "video/mp4"}


def sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


class Api:
    """The service as an author's program uses it."""

    def __init__(self, base: str, http: aiohttp.ClientSession) -> None:
        self.base = base
        self.http = http

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        async with self.http.request(
            method,
            f"{self.base}{path}",
            json=json,
            data=data,
            headers={"Authorization": f"Bearer {AUTHOR}", **(headers or {})},
        ) as answer:
            text = await answer.text()
            return answer.status, _loaded(text)

    async def send_form(self, upload: Mapping[str, Any], body: bytes) -> int:
        form = aiohttp.MultipartWriter("form-data")
        for name, value in upload["fields"].items():
            form.append(value).set_content_disposition("form-data", name=name)
        form.append(body).set_content_disposition("form-data", name="file", filename="ü.bin")
        async with self.http.post(URL(upload["url"], encoded=True), data=form) as answer:
            await answer.read()
            return answer.status

    async def send_parts(self, upload: Mapping[str, Any], body: bytes) -> None:
        for part in upload["partUrls"]:
            start = (part["partNumber"] - 1) * upload["partSize"]
            piece = body[start : start + part["sizeBytes"]]
            async with self.http.put(URL(part["url"], encoded=True), data=piece) as answer:
                assert answer.status == 200, await answer.text()

    async def download(self, content_id: str, query: str = "") -> bytes:
        status, document = await self.call("GET", f"/content/{content_id}{query}")
        assert status == 200, document
        async with self.http.get(URL(document["url"], encoded=True)) as answer:
            assert answer.status == 200
            body = await answer.read()
        assert document["sizeBytes"] == len(body)
        assert answer.headers["ETag"] == document["etag"]
        return body


def _loaded(text: str) -> Any:
    return json.loads(text) if text else None


@asynccontextmanager
async def issuer_keys() -> AsyncIterator[str]:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response(ISSUER.jwks())

    app = web.Application()
    app.add_routes([web.get("/jwks.json", keys)])
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/jwks.json"))


class Running:
    """The service's process, an author's view of it, and what lies behind it."""

    def __init__(self, process: ServiceProcess, api: Api, bucket: str, clients: Clients) -> None:
        self.process = process
        self.api = api
        self.bucket = bucket
        self.clients = clients


@pytest.fixture()
async def running(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    table, bucket = await new_table(ministack_backend), await new_bucket(ministack_backend)
    async with issuer_keys() as jwks_url, clients_of(ministack_backend, monkeypatch) as clients:
        variables = dict(
            ministack_backend.variables,
            CONTENT_PORT="0",
            CONTENT_TABLE=table,
            CONTENT_BUCKET=bucket,
            CONTENT_AUTH_ISSUER=ISSUER.settings.issuer,
            CONTENT_AUTH_JWKS_URL=jwks_url,
            CONTENT_AUTH_CLIENT_IDS=ISSUER.client_id,
            CONTENT_CURSOR_SECRETS="a-secret-of-at-least-thirty-two-bytes",
            CONTENT_LOG_LEVEL="DEBUG",
            CONTENT_CACHE_SECONDS="0",
            CONTENT_UPLOAD_SINGLE_BYTES=str(PART_BYTES),
            CONTENT_UPLOAD_PART_BYTES=str(PART_BYTES),
        )
        async with (
            service_process("content_delivery", variables) as process,
            aiohttp.ClientSession() as http,
        ):
            await process.ready(http)
            yield Running(process, Api(process.base_url, http), bucket, clients)


async def announced(api: Api, body: bytes, **changes: object) -> dict[str, Any]:
    status, ticket = await api.call(
        "POST",
        "/content",
        json={**NEW, "sizeBytes": len(body), "checksumSha256": sha256(body), **changes},
    )
    assert status == 201, ticket
    document: dict[str, Any] = ticket
    return document


async def test_a_small_object_is_sent_as_a_form(running: Running) -> None:
    api = running.api
    ticket = await announced(api, SMALL, contentType="text/markdown; charset=utf-8")
    upload = ticket["upload"]
    assert (ticket["status"], upload["method"], upload["partUrls"]) == ("pending", "post", [])
    path = f"/content/{ticket['id']}"
    status, problem = await api.call("POST", f"{path}/upload/complete")
    assert (status, problem["code"]) == (409, "upload_incomplete")
    status, problem = await api.call("GET", path)
    assert (status, problem["code"]) == (409, "content_not_ready")
    assert await api.send_form(upload, SMALL) == 204
    status, state = await api.call("GET", f"{path}/upload")
    assert (status, state["state"]) == (200, "uploaded")
    answers = await asyncio.gather(*(api.call("POST", f"{path}/upload/complete") for _ in range(5)))
    assert [status for status, _ in answers] == [200] * 5
    assert len({json.dumps(body, sort_keys=True) for _, body in answers}) == 1
    assert answers[0][1]["state"] == "ready"
    assert await api.call("POST", f"{path}/upload/complete") == answers[0]
    assert await api.download(ticket["id"]) == SMALL
    status, problem = await api.call("POST", f"{path}/upload/parts", json={})
    assert (status, problem["code"]) == (409, "not_uploading")


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        (SMALL + b".", {}),
        (SMALL[:-1], {}),
        (SMALL, {"Content-Type": "text/html"}),
        (SMALL, {"key": "content/other/object"}),
    ],
)
async def test_a_form_with_other_bytes_type_or_key_is_refused_by_the_store(
    running: Running, sent: bytes, fields: dict[str, str]
) -> None:
    ticket = await announced(running.api, SMALL)
    upload = ticket["upload"] | {"fields": ticket["upload"]["fields"] | fields}
    assert await running.api.send_form(upload, sent) in (400, 403)
    status, problem = await running.api.call("POST", f"/content/{ticket['id']}/upload/complete")
    assert (status, problem["code"]) == (409, "upload_incomplete")


async def test_other_bytes_of_the_same_length_are_found_out(running: Running) -> None:
    """S3 compares the checksum when the form arrives; MiniStack does not, so the service reads."""
    api = running.api
    ticket = await announced(api, SMALL)
    path = f"/content/{ticket['id']}"
    assert await api.send_form(ticket["upload"], SMALL[::-1]) == 204
    answers = await asyncio.gather(*(api.call("POST", f"{path}/upload/complete") for _ in range(3)))
    assert {(status, body["code"]) for status, body in answers} == {(409, "upload_failed")}
    assert "SHA-256" in answers[0][1]["detail"]
    status, metadata = await api.call("GET", f"{path}/metadata")
    assert (metadata["status"], metadata["failureReason"]) == (
        "failed",
        answers[0][1]["detail"],
    )
    assert await _objects(running, ticket["upload"]["fields"]["key"]) == []


async def _objects(running: Running, prefix: str) -> list[str]:
    answer = await running.clients.s3._client.list_objects_v2(Bucket=running.bucket, Prefix=prefix)
    return [entry["Key"] for entry in answer.get("Contents", ())]


async def test_an_upload_that_is_killed_is_resumed_by_another_process(
    running: Running, tmp_path: Path
) -> None:
    file = tmp_path / "movie.mp4"
    file.write_bytes(MOVIE)
    arguments = ["--api", running.process.base_url, "--file", str(file), "--type", "video/mp4"]
    first = await started([*arguments, "--hang-in-part", "7"])
    steps = await steps_until(first, "hanging")
    os.kill(first.pid, signal.SIGKILL)
    await first.wait()
    content_id = steps[0]["id"]
    assert [step["part"] for step in steps if step["step"] == "sent"] == [1, 2, 3, 4, 5, 6]

    status, state = await running.api.call("GET", f"/content/{content_id}/upload")
    assert (status, state["state"], state["partCount"]) == (200, "uploading", 13)
    # The half of a part that was cut is no part.
    assert state["missing"] == [{"first": 7, "last": 13}]
    status, problem = await running.api.call("POST", f"/content/{content_id}/upload/complete")
    assert (status, problem["code"]) == (409, "upload_incomplete")
    assert problem["errors"][0]["pointer"] == "/parts/7"

    second = await started([*arguments, "--content", content_id])
    steps = await steps_until(second, "ready")
    assert await second.wait() == 0
    assert [step["part"] for step in steps if step["step"] == "sent"] == list(range(7, 14))
    body = await running.api.download(content_id)
    assert sha256(body) == sha256(MOVIE)
    status, metadata = await running.api.call("GET", f"/content/{content_id}/metadata")
    assert (metadata["status"], metadata["checksumSha256"]) == ("ready", sha256(MOVIE))


async def started(arguments: list[str]) -> asyncio.subprocess.Process:
    """The client program, with the author's token on its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.content_delivery.uploading_client"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    assert process.stdin is not None
    process.stdin.write(AUTHOR.encode() + b"\n")
    await process.stdin.drain()
    return process


async def steps_until(process: asyncio.subprocess.Process, last: str) -> list[dict[str, Any]]:
    """What it says up to that step; AssertionError when it ends before."""
    assert process.stdout is not None
    steps: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not steps or steps[-1]["step"] != last:
            line = await process.stdout.readline()
            assert line, f"it ended after {steps}"
            steps.append(json.loads(line))
    return steps


async def test_parts_by_number_and_what_a_wrong_one_does(running: Running) -> None:
    api = running.api
    ticket = await announced(api, MOVIE)
    upload, path = ticket["upload"], f"/content/{ticket['id']}"
    assert (upload["method"], upload["partSize"], upload["partCount"]) == (
        "multipart",
        PART_BYTES,
        13,
    )
    assert [part["sizeBytes"] for part in upload["partUrls"]] == [PART_BYTES] * 12 + [1000]
    # A part's URL takes its own length alone.
    url = URL(upload["partUrls"][0]["url"], encoded=True)
    async with api.http.put(url, data=MOVIE[: PART_BYTES - 1]) as answer:
        assert answer.status == 403
    status, wanted = await api.call("POST", f"{path}/upload/parts", json={"partNumbers": [13, 2]})
    assert [part["partNumber"] for part in wanted["upload"]["partUrls"]] == [13, 2]
    await api.send_parts(wanted["upload"], MOVIE)
    status, state = await api.call("GET", f"{path}/upload")
    assert state["missing"] == [{"first": 1, "last": 1}, {"first": 3, "last": 12}]
    status, problem = await api.call("POST", f"{path}/upload/parts", json={"partNumbers": [14]})
    assert (status, problem["errors"][0]["message"]) == (422, "the upload has parts 1 to 13")
    await api.send_parts(upload, MOVIE)
    status, done = await api.call("POST", f"{path}/upload/complete")
    assert (status, done["state"]) == (200, "ready")
    assert await api.download(ticket["id"]) == MOVIE


async def test_what_is_aborted_leaves_nothing(running: Running) -> None:
    api = running.api
    ticket = await announced(api, MOVIE)
    path = f"/content/{ticket['id']}"
    await api.send_parts({**ticket["upload"], "partUrls": ticket["upload"]["partUrls"][:2]}, MOVIE)
    for _ in range(2):
        assert await api.call("POST", f"{path}/upload/abort") == (204, None)
    status, problem = await api.call("POST", f"{path}/upload/complete")
    assert (status, problem["code"], problem["detail"]) == (
        409,
        "upload_failed",
        "The upload was aborted.",
    )
    late = URL(ticket["upload"]["partUrls"][2]["url"], encoded=True)
    async with api.http.put(late, data=MOVIE[2 * PART_BYTES : 3 * PART_BYTES]) as answer:
        assert answer.status == 404
    uploads = await running.clients.s3._client.list_multipart_uploads(Bucket=running.bucket)
    assert not [entry for entry in uploads.get("Uploads", ()) if ticket["id"] in entry["Key"]]


async def test_renditions_captions_deletion_and_return(running: Running) -> None:
    api = running.api
    ticket = await announced(api, SMALL)
    content_id, path = ticket["id"], f"/content/{ticket['id']}"
    assert await api.send_form(ticket["upload"], SMALL) == 204
    assert (await api.call("POST", f"{path}/upload/complete"))[0] == 200

    status, rendition = await api.call(
        "POST",
        f"{path}/renditions",
        json={
            "name": "480p",
            "contentType": "video/mp4",
            "sizeBytes": len(MOVIE),
            "checksumSha256": sha256(MOVIE),
            "width": 854,
            "height": 480,
        },
    )
    assert status == 201
    await api.send_parts(rendition["upload"], MOVIE)
    status, state = await api.call("POST", f"{path}/upload/complete?rendition=480p")
    assert (status, state["state"], state["rendition"]) == (200, "ready", "480p")
    assert await api.download(content_id, "?rendition=480p") == MOVIE

    track = "\ufeffWEBVTT - Ebbe\r\n\r\n00:00.000 --> 00:02.000\r\nMaré baixa\r\n".encode()
    vtt = {"Content-Type": "text/vtt; charset=utf-8"}
    for expected in (201, 200):
        status, metadata = await api.call("PUT", f"{path}/captions/pt-BR", data=track, headers=vtt)
        assert status == expected, metadata
    assert metadata["captions"] == [{"language": "pt-BR", "kind": "subtitles"}]
    assert len(await _objects(running, f"content/{content_id}/captions/")) == 1
    status, document = await api.call("GET", path)
    async with api.http.get(URL(document["captions"][0]["url"], encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (200, track)

    assert (await api.call("DELETE", path))[0] == 204
    assert (await api.call("DELETE", path))[0] == 404
    status, restored = await api.call("POST", f"{path}/restore")
    assert (status, restored["status"]) == (200, "ready")
    assert await api.download(content_id, "?rendition=480p") == MOVIE
    assert (await api.call("DELETE", f"{path}/renditions/480p"))[0] == 204
    assert (await api.call("DELETE", f"{path}/captions/PT-br"))[0] == 204
    assert await _objects(running, f"content/{content_id}/") == [ticket["upload"]["fields"]["key"]]


async def test_a_repeated_announcement_is_the_same_content(running: Running) -> None:
    api = running.api
    body = {**NEW, "sizeBytes": len(SMALL), "checksumSha256": sha256(SMALL)}
    key = {"Idempotency-Key": "a-lost-answer"}
    (first_status, first), (again_status, again) = [
        await api.call("POST", "/content", json=body, headers=key) for _ in range(2)
    ]
    assert (first_status, again_status) == (201, 201)
    assert first["id"] == again["id"]
    # The form is signed anew, for the same object.
    assert first["upload"]["fields"]["key"] == again["upload"]["fields"]["key"]
    status, problem = await api.call(
        "POST", "/content", json={**body, "title": "Another"}, headers=key
    )
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert await api.send_form(again["upload"], SMALL) == 204
    assert (await api.call("POST", f"/content/{first['id']}/upload/complete"))[0] == 200
    status, late = await api.call("POST", "/content", json=body, headers=key)
    assert (status, late) == (
        201,
        {"id": first["id"], "rendition": "original", "status": "ready", "upload": None},
    )
    status, page = await api.call("GET", "/content?courseId=course-1")
    assert [item["id"] for item in page["items"]] == [first["id"]]


async def test_nothing_of_an_upload_is_in_the_logs(running: Running) -> None:
    api = running.api
    ticket = await announced(api, MOVIE)
    form = await announced(api, SMALL)
    path = f"/content/{ticket['id']}"
    await api.send_parts(ticket["upload"], MOVIE)
    await api.send_form(form["upload"], SMALL)
    for method, target in (
        ("GET", f"{path}/upload"),
        ("POST", f"{path}/upload/complete"),
        ("POST", f"/content/{form['id']}/upload/complete?rendition=original"),
        ("GET", path),
        ("POST", f"{path}/upload/abort"),
        ("DELETE", path),
    ):
        await api.call(method, target)
    assert await running.process.stop() == 0
    written = "".join(running.process.lines)
    assert '"route":"/content/{contentId}/upload/complete"' in written
    secrets = [
        "X-Amz-",
        "uploadId=",
        "partNumber=",
        "rendition=original",
        ticket["upload"]["uploadId"],
        form["upload"]["fields"]["policy"],
        form["upload"]["fields"]["x-amz-signature"],
        form["upload"]["fields"]["key"],
        f"content/{ticket['id']}/",
        AUTHOR,
    ]
    for secret in secrets:
        # The route's template is no key.
        assert secret not in written.replace("/content/{contentId}/", ""), secret
