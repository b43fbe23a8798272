"""Who may ask the pages for what, and what they say; over a socket, without a platform."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from deploy.local._errors import PlatformError
from deploy.local._faults import DynamoDBDialect, FaultProxy
from deploy.local._faults.__main__ import control_app
from deploy.local._pages import _assets
from deploy.local._pages._assets import PAGES, SITE, asset, is_own
from deploy.local._pages._server import Pages
from deploy.local._provision import AccessToken
from deploy.local._services import PAGES as PAGES_SERVICE
from deploy.local._services import contract_of
from deploy.local._state import StateFolder

AWS = "http://127.0.0.1:4566"
S3 = "http://127.0.0.1:4567"
Client = TestClient[aiohttp.web.Request, aiohttp.web.Application]


async def token(folder: StateFolder, user: str) -> AccessToken:
    """Signs everybody in but the author."""
    if user == "author":
        raise PlatformError("no token for author: refused")
    return AccessToken("sub", f"token of {user}", 3600)


@pytest.fixture()
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder(tmp_path)
    made.logs.mkdir()
    made.traces.mkdir()
    return made


def publish(folder: StateFolder) -> None:
    users = {"learner-a": {"sub": "s", "accessToken": "secret"}}
    folder.platform.write_text(json.dumps({"aws": AWS, "s3": S3, "users": users}))


@pytest.fixture()
async def client(folder: StateFolder) -> AsyncIterator[Client]:
    proxies = {"dynamodb": FaultProxy(DynamoDBDialect())}
    async with (
        proxies["dynamodb"].running(),
        TestServer(control_app(proxies)) as control,
        aiohttp.ClientSession() as session,
    ):
        faults = URL(str(control.make_url("/faults")))
        pages = Pages(folder, token=token, faults=faults, session=session, now=lambda: 0.0)
        async with TestClient(TestServer(pages.app())) as made:
            yield made


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_not_sent_twice(client: Client, path: str) -> None:
    first = await client.get(path)
    assert (first.status, first.content_type) == (200, "text/html")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


async def test_the_worker_may_keep_all_that_the_pages_are_made_of(client: Client) -> None:
    worker = await client.get("/-/worker.js")
    assert (worker.status, worker.content_type) == (200, "text/javascript")
    assert worker.headers["Service-Worker-Allowed"] == "/"
    kept = await (await client.get("/-/files")).json()
    scripts = {f"/-/assets/{path.name}" for path in SITE.iterdir() if path.suffix == ".js"}
    assert scripts - {"/-/assets/worker.js"} < set(kept["files"])
    assert set(PAGES) < set(kept["files"])
    for path in kept["files"]:
        assert (await client.get(path)).status == 200
    # By which it knows whose page it is.
    assert (await client.get("/board")).headers["Lyceum-Page"] == "board"


async def test_a_changed_file_is_another_version(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    shutil.copytree(SITE, site)
    monkeypatch.setattr(_assets, "SITE", site)
    before = await (await client.get("/-/files")).json()
    assert before == await (await client.get("/-/files")).json()
    with (site / "dom.js").open("a") as file:
        file.write("// changed\n")
    after = await (await client.get("/-/files")).json()
    assert after["version"] != before["version"]
    assert after["files"] == before["files"]


async def test_the_policy_names_the_store_and_nothing_else(
    client: Client, folder: StateFolder
) -> None:
    assert S3 not in (await client.get("/")).headers["Content-Security-Policy"]
    publish(folder)
    policy = (await client.get("/")).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["connect-src"] == rules["media-src"] == f"'self' {S3}"
    assert AWS not in policy
    assert rules["require-trusted-types-for"] == "'script'"


@pytest.mark.parametrize(
    "name", ["../_server.py", "learn.html", "nothing.js", "BUILD", "..%2fBUILD"]
)
async def test_only_the_sites_own_files_are_given(client: Client, name: str) -> None:
    answer = await client.get(URL(f"/-/assets/{name}", encoded=True))
    assert answer.status == 404
    assert answer.content_type == "application/problem+json"


async def test_another_name_is_not_answered(client: Client, folder: StateFolder) -> None:
    """A page of another site that has its name lead to 127.0.0.1."""
    publish(folder)
    for path in ("/", "/-/session"):
        answer = await client.get(path, headers={"Host": "evil.example:8080"})
        assert answer.status == 421
        assert "sub" not in await answer.text()


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_another_sites_page_can_do_nothing(
    client: Client, folder: StateFolder, headers: dict[str, str]
) -> None:
    publish(folder)
    signed_in = await client.post("/-/users/learner-a/token", headers=headers)
    broken = await client.put("/-/faults/dynamodb", headers=headers, json={"fault": "hanging"})
    assert (signed_in.status, broken.status) == (403, 403)
    states = await (await client.get("/-/faults")).json()
    assert states["dependencies"]["dynamodb"]["fault"] == "none"


async def test_users_and_tokens(client: Client, folder: StateFolder) -> None:
    for path, method in (("/-/session", "GET"), ("/-/users/learner-a/token", "POST")):
        starting = await client.request(method, path)
        assert starting.status == 503
        assert starting.headers["Retry-After"] == "1"
    publish(folder)
    session = await client.get("/-/session")
    assert await session.json() == {"users": [{"name": "learner-a", "sub": "s", "groups": []}]}
    assert session.headers["Cache-Control"] == "no-store"
    given = await (await client.post("/-/users/learner-a/token")).json()
    assert given == {"accessToken": "token of learner-a", "expiresInSeconds": 3600}
    assert (await client.post("/-/users/nobody/token")).status == 404
    refused = await client.post("/-/users/author/token")
    assert (refused.status, (await refused.json())["detail"]) == (
        503,
        "no token for author: refused",
    )


async def test_faults_are_switched(client: Client) -> None:
    switched = await client.put("/-/faults/dynamodb", json={"fault": "answering 500"})
    assert (await switched.json())["dependencies"]["dynamodb"]["fault"] == "answering 500"
    assert (await client.put("/-/faults/dynamodb", json={"fault": "flying"})).status == 422
    assert (await client.put("/-/faults/dynamodb", data=b"[")).status == 422
    assert (await client.put("/-/faults/moon", json={"fault": "hanging"})).status == 404
    assert (await client.put("/-/faults/dynamodb", data=b"x" * 5000)).status == 413
    assert (await client.post("/-/faults")).status == 405


async def test_a_wrong_question_is_refused(client: Client) -> None:
    for after in ("-1", "x", "9" * 30):
        assert (await client.get("/-/traces", params={"after": after})).status == 400
    assert (await client.get("/-/traces/1-none")).status == 404
    assert (await client.get("/-/nothing")).status == 404


async def test_every_path_is_in_the_contract(folder: StateFolder) -> None:
    """What is not there, the gateway does not lead here; and all that is there is the pages' own."""
    async with aiohttp.ClientSession() as session:
        app = Pages(folder, token=token, faults=None, session=session, now=lambda: 0.0).app()
    contract = yaml.safe_load(contract_of(PAGES_SERVICE).read_text())
    assert {resource.canonical for resource in app.router.resources()} == set(contract["paths"])
    assert all(is_own(path) for path in contract["paths"])
    assert not is_own("/courses")


def test_pages_ask_for_nothing_that_is_not_there() -> None:
    for page in SITE.glob("*.html"):
        named = {part.split('"')[0] for part in page.read_text().split("/-/assets/")[1:]}
        assert named
        assert all(asset(name) is not None for name in named)
    for script in SITE.glob("*.js"):
        text = script.read_text()
        imported = {part.split('"')[0] for part in text.split('from "./')[1:]}
        assert all((SITE / name).is_file() for name in imported)
        # What turns text into markup; the pages' policy refuses it as well.
        assert not any(
            word in text for word in ("innerHTML", "insertAdjacentHTML", "document.write")
        )
