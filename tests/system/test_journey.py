"""The user journey through the gateway, with tokens that Cognito issued and the sample courses."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from deploy.local._provision import DEMO_USERS
from deploy.local._samples import SAMPLES_DIRECTORY
from libs.aws import S3Endpoint, Signer, presign
from tests.system.exchange import Answer, ask
from tests.system.platform_process import RunningPlatform, run_up
from tests.system.roles import credentials_of, environment_of

pytestmark = pytest.mark.timeout(300)

COURSE = "tides"
VIDEO, READING, QUIZ = "tides-1-1", "tides-1-2", "tides-1-3"
DRAFT = "maps"
VIDEO_FILE = SAMPLES_DIRECTORY / "media" / "tides" / "spring-and-neap.mp4"
RANGE_BYTES = 1024 * 1024
PATHS = ("/courses", f"/courses/{COURSE}", f"/content/{VIDEO}", "/progress/me")


class Person:
    """A demo user with an app that talks to the gateway."""

    def __init__(self, platform: RunningPlatform, name: str, token: str) -> None:
        self.name = name
        self.token = token
        self.subject: str = platform.document["users"][name]["sub"]
        self._gateway = platform.gateway

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def ask(self, method: str, path: str, *, json_body: object = None, **headers: str) -> Answer:
        return ask(
            self._gateway + path,
            method=method,
            token=self.token,
            json_body=json_body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def put_text(self, path: str, body: bytes, media_type: str) -> Answer:
        return ask(
            self._gateway + path,
            method="PUT",
            token=self.token,
            body=body,
            headers={"Content-Type": media_type},
        )

    def record(self, course: str, update: object, *, user: str = "me") -> Answer:
        return self.ask("PUT", f"/progress/{user}/{course}", json_body=update)


def sign_in(platform: RunningPlatform, name: str) -> dict[str, str]:
    """Signs in as the user's app does: InitiateAuth with the password, without a key of AWS."""
    passwords = json.loads((platform.state / "demo-users.json").read_text())
    session = json.loads((platform.state / "session.json").read_text())
    answer = ask(
        platform.document["aws"] + "/",
        method="POST",
        body=json.dumps(
            {
                "AuthFlow": "USER_PASSWORD_AUTH",
                "ClientId": session["resources"]["pool"]["client_id"],
                "AuthParameters": {"USERNAME": name, "PASSWORD": passwords[name]},
            }
        ).encode(),
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
        },
    )
    assert answer.status == 200, answer.body
    result: dict[str, str] = answer.json["AuthenticationResult"]
    return result


def signed_in(platform: RunningPlatform, name: str) -> Person:
    return Person(platform, name, sign_in(platform, name)["AccessToken"])


@pytest.fixture(scope="module")
def learner(platform: RunningPlatform) -> Person:
    return signed_in(platform, "learner-a")


@pytest.fixture(scope="module")
def other_learner(platform: RunningPlatform) -> Person:
    return signed_in(platform, "learner-b")


@pytest.fixture(scope="module")
def author(platform: RunningPlatform) -> Person:
    return signed_in(platform, "author")


@pytest.fixture(scope="module")
def staff(platform: RunningPlatform) -> Person:
    return signed_in(platform, "staff")


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.media_type == "application/problem+json"
    assert answer.json["status"] == answer.status
    return answer.status, answer.json["code"]


def downloaded_in_ranges(url: str, size: int, etag: str) -> bytes:
    """The object as a player fetches it: range after range, each of the same version."""
    parts = []
    for start in range(0, size, RANGE_BYTES):
        end = min(start + RANGE_BYTES, size) - 1
        part = ask(url, headers={"Range": f"bytes={start}-{end}", "If-Range": etag})
        assert part.status == 206
        assert part.headers["Content-Range"] == f"bytes {start}-{end}/{size}"
        assert part.headers["Accept-Ranges"] == "bytes"
        assert len(part.body) == end - start + 1
        parts.append(part.body)
    assert len(parts) > 2
    return b"".join(parts)


def test_the_journey_from_signing_in_to_finishing_a_course(platform: RunningPlatform) -> None:
    # The numbers are those of the seed's journey. 1, 2: sign in.
    me = signed_in(platform, "learner-a")
    # Browse, page by page.
    first = me.get("/courses?limit=5")
    assert first.status == 200
    courses = first.json["items"]
    page = first
    while page.json["nextCursor"] is not None:
        page = me.get(f"/courses?limit=5&cursor={page.json['nextCursor']}")
        assert page.status == 200
        courses += page.json["items"]
    ids = [course["id"] for course in courses]
    assert len(ids) == len(set(ids)) >= 12
    assert {course["status"] for course in courses} == {"published"}
    assert len({course["language"] for course in courses}) >= 5
    # Nothing has changed: the list is not sent again.
    again = me.get("/courses?limit=5", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    # 3 to 5: find the course and open it.
    (found,) = me.get("/courses?q=reading%20tides&language=en").json["items"]
    assert found["id"] == COURSE
    course = me.get(f"/courses/{COURSE}")
    assert course.status == 200
    assert course.headers["ETag"] == f'"v{course.json["version"]}"'
    unchanged = me.get(f"/courses/{COURSE}", If_None_Match=course.headers["ETag"])
    assert (unchanged.status, unchanged.body) == (304, b"")
    outline = [item for section in course.json["outline"] for item in section["items"]]
    video = next(item for item in outline if item["type"] == "video")
    assert video["contentId"] == VIDEO
    # 6 to 9: where its video is.
    content = me.get(f"/content/{video['contentId']}")
    assert content.status == 200
    assert content.headers["Cache-Control"] == "private, no-store"
    delivery = content.json
    expected = VIDEO_FILE.read_bytes()
    assert (delivery["contentType"], delivery["sizeBytes"]) == ("video/mp4", len(expected))
    # 10: play it. The player has neither token nor keys, jumps to the end and reads it all.
    index = ask(delivery["url"], headers={"Range": "bytes=-4096"})
    assert (index.status, index.body) == (206, expected[-4096:])
    assert index.headers["Content-Type"] == "video/mp4"
    played = downloaded_in_ranges(delivery["url"], delivery["sizeBytes"], delivery["etag"])
    assert hashlib.sha256(played).hexdigest() == hashlib.sha256(expected).hexdigest()
    beyond = ask(delivery["url"], headers={"Range": f"bytes={len(expected)}-"})
    assert beyond.status == 416
    for caption in delivery["captions"]:
        assert ask(caption["url"]).body.startswith(b"WEBVTT")
    # Progress is recorded while it plays.
    started = me.record(
        COURSE,
        {
            "occurredAt": "2026-03-01T10:00:30Z",
            "deviceId": "phone",
            "resume": {"contentId": VIDEO, "positionSeconds": 30},
        },
    )
    assert started.status == 201
    # It goes on where it was left.
    listed = me.get("/progress/me").json
    assert listed["userId"] == me.subject
    (entry,) = (item for item in listed["items"] if item["courseId"] == COURSE)
    assert entry["status"] == "in_progress"
    assert entry["percent"] == 0
    assert entry["resume"] == {
        "contentId": VIDEO,
        "positionSeconds": 30,
        "occurredAt": "2026-03-01T10:00:30.000Z",
    }
    # Everything is done, item by item.
    percents = []
    for minute, item in enumerate(outline, start=1):
        done = me.record(
            COURSE,
            {
                "occurredAt": f"2026-03-01T11:{minute:02}:00Z",
                "deviceId": "phone",
                "items": {item["contentId"]: {"completed": True, "fraction": 1}},
            },
        )
        assert done.status == 200
        percents.append(done.json["percent"])
    total = sum(item["weight"] for item in outline)
    reached = 0
    for item, percent in zip(outline, percents, strict=True):
        reached += item["weight"]
        assert percent == int(100 * reached / total)
    # The course is finished, and both listings say so.
    finished = me.get(f"/progress/{me.subject}/{COURSE}")
    assert finished.status == 200
    assert (finished.json["status"], finished.json["percent"]) == ("completed", 100)
    assert finished.json["completedAt"] == f"2026-03-01T11:{len(outline):02}:00.000Z"
    assert all(item["completed"] for item in finished.json["items"].values())
    (entry,) = me.get("/progress/me?status=completed").json["items"]
    assert (entry["courseId"], entry["percent"]) == (COURSE, 100)


def test_a_token_of_the_command_is_as_good(platform: RunningPlatform) -> None:
    for name in DEMO_USERS:
        printed = run_up(
            "token", name, "--state", str(platform.state), directory=platform.directory
        )
        assert printed.returncode == 0, printed.stderr
        person = Person(platform, name, printed.stdout.strip())
        assert person.get("/progress/me").json["userId"] == person.subject


def without_parameter(url: str, name: str) -> str:
    path, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0] != name]
    assert len(kept) < len(query.split("&"))
    return f"{path}?{'&'.join(kept)}"


def with_parameter(url: str, name: str, value: str) -> str:
    return f"{without_parameter(url, name)}&{name}={quote(value, safe='')}"


def parameter(url: str, name: str) -> str:
    return dict(parse_qsl(urlsplit(url).query))[name]


TAMPERINGS: dict[str, Callable[[str], str]] = {
    "another object": lambda url: url.replace(f"/{VIDEO}/", f"/{QUIZ}/"),
    "another bucket": lambda url: url.replace("/lyceum-content/", "/lyceum-other/"),
    "an object above": lambda url: url.replace(f"/{VIDEO}/", f"/{VIDEO}/../{QUIZ}/"),
    "a longer life": lambda url: with_parameter(url, "X-Amz-Expires", "86400"),
    "a later start": lambda url: with_parameter(
        url,
        "X-Amz-Date",
        (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y%m%dT%H%M%SZ"),
    ),
    "another signature": lambda url: with_parameter(url, "X-Amz-Signature", "0" * 64),
    "another key": lambda url: with_parameter(
        url,
        "X-Amz-Credential",
        "ASIA0000000000000000" + parameter(url, "X-Amz-Credential")[20:],
    ),
    "another type": lambda url: with_parameter(url, "response-content-type", "text/html"),
    "another name": lambda url: with_parameter(url, "response-content-disposition", "attachment"),
    "one parameter more": lambda url: url + "&response-expires=0",
    "no query": lambda url: url.partition("?")[0],
}
# What is not even a signature: 400, as S3 answers it.
MUTILATIONS: dict[str, Callable[[str], str]] = {
    "no signature": lambda url: without_parameter(url, "X-Amz-Signature"),
    "no session": lambda url: without_parameter(url, "X-Amz-Security-Token"),
    "another session": lambda url: with_parameter(url, "X-Amz-Security-Token", "FwoGZX"),
}


@pytest.mark.parametrize(
    ("how", "status"),
    [(how, 403) for how in TAMPERINGS] + [(how, 400) for how in MUTILATIONS],
)
def test_a_tampered_url_is_refused(learner: Person, how: str, status: int) -> None:
    url = learner.get(f"/content/{VIDEO}").json["url"]
    tampered = (TAMPERINGS | MUTILATIONS)[how](url)
    assert tampered != url
    refused = ask(tampered)
    assert refused.status == status
    # An explanation at most, nothing of the object.
    assert len(refused.body) < 2048
    assert ask(url, headers={"Range": "bytes=0-0"}).status == 206


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "DELETE", "PATCH"])
def test_a_url_is_good_for_its_method_alone(learner: Person, method: str) -> None:
    delivery = learner.get(f"/content/{VIDEO}").json
    assert delivery["method"] == "GET"
    body = b"changed" if method in ("PUT", "POST", "PATCH") else None
    assert ask(delivery["url"], method=method, body=body).status == 403
    whole = ask(delivery["url"])
    assert whole.status == 200
    assert hashlib.sha256(whole.body).digest() == hashlib.sha256(VIDEO_FILE.read_bytes()).digest()


def test_a_url_that_has_expired_is_refused(platform: RunningPlatform, learner: Person) -> None:
    """Signed as the service signs, with the service's own credentials, a while ago."""
    variables = environment_of(platform, "content_delivery")
    credentials = credentials_of(variables)
    live = learner.get(f"/content/{VIDEO}").json["url"]
    assert parameter(live, "X-Amz-Credential").startswith(credentials.access_key)
    key = urlsplit(live).path.removeprefix(f"/{variables['CONTENT_BUCKET']}/")

    def signed(age: timedelta) -> str:
        return presign(
            "get_object",
            {"Bucket": variables["CONTENT_BUCKET"], "Key": key},
            expires_seconds=600,
            endpoint=S3Endpoint(variables["AWS_ENDPOINT_URL"], variables["AWS_REGION"]),
            signer=Signer(
                credentials.access_key,
                credentials.secret_key,
                credentials.session_token,
                credentials.expires_at,
            ),
            now=datetime.now(UTC) - age,
        )

    for age in (timedelta(seconds=601), timedelta(hours=1), timedelta(days=8)):
        expired = ask(signed(age))
        assert expired.status == 403
        assert b"<Code>AccessDenied</Code>" in expired.body
    assert ask(signed(timedelta(seconds=300))).status == 200


def test_a_url_says_itself_when_it_ends(learner: Person) -> None:
    before = datetime.now(UTC)
    delivery = learner.get(f"/content/{VIDEO}").json
    expires_at = datetime.fromisoformat(delivery["expiresAt"])
    refresh_after = datetime.fromisoformat(delivery["refreshAfter"])
    signed_at = datetime.strptime(parameter(delivery["url"], "X-Amz-Date"), "%Y%m%dT%H%M%S%z")
    assert signed_at + timedelta(seconds=int(parameter(delivery["url"], "X-Amz-Expires"))) == (
        expires_at
    )
    # 72 s of running time: the lower bound of 15 minutes decides, for whoever asks last in the
    # window of five minutes that the URL is the same for.
    assert signed_at <= before
    assert expires_at - signed_at == timedelta(minutes=20)
    assert expires_at - before >= timedelta(minutes=15)
    assert before < refresh_after < expires_at


def sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def form_of(fields: Mapping[str, str], body: bytes) -> tuple[bytes, str]:
    """A form as a browser sends it, and its content type."""
    parts = [
        f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    file = b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    whole = b"".join([*parts, file, body, b"\r\n--frontier--\r\n"])
    return whole, "multipart/form-data; boundary=frontier"


def test_an_author_uploads_and_a_learner_plays(author: Person, learner: Person) -> None:
    movie = VIDEO_FILE.read_bytes()[:300_000]
    announcement = {
        "courseId": "tides",
        "title": "Ebbe & Flut – 海の潮",
        "contentType": "video/mp4",
        "sizeBytes": len(movie),
        "checksumSha256": sha256(movie),
        "durationSeconds": 30,
    }
    assert problem(learner.ask("POST", "/content", json_body=announcement)) == (403, "forbidden")
    made = author.ask("POST", "/content", json_body=announcement, Idempotency_Key="journey-1")
    assert made.status == 201
    content_id = made.json["id"]
    path = f"/content/{content_id}"
    assert made.headers["Location"] == path
    again = author.ask("POST", "/content", json_body=announcement, Idempotency_Key="journey-1")
    assert again.json["id"] == content_id
    assert problem(learner.get(path)) == (409, "content_not_ready")
    # The page of the author's studio sends the form straight to the bucket.
    upload = made.json["upload"]
    whole, kind = form_of(upload["fields"], movie)
    sent = ask(upload["url"], method="POST", body=whole, headers={"Content-Type": kind})
    assert sent.status == 204
    other, kind = form_of(upload["fields"], movie + b"more")
    refused = ask(upload["url"], method="POST", body=other, headers={"Content-Type": kind})
    assert (refused.status, b"EntityTooLarge" in refused.body) == (400, True)
    completed = author.ask("POST", f"{path}/upload/complete")
    assert (completed.status, completed.json["state"]) == (200, "ready")
    assert author.ask("POST", f"{path}/upload/complete").json == completed.json
    track = b"WEBVTT\n\n00:00.000 --> 00:02.000\nDie Flut kommt.\n"
    put = author.put_text(f"{path}/captions/de?kind=captions", track, "text/vtt")
    assert put.status == 201
    # The learner gets what was uploaded, by one URL whoever asks.
    delivered = learner.get(path).json
    assert ask(delivered["url"]).body == movie
    assert [caption["language"] for caption in delivered["captions"]] == ["de"]
    assert ask(delivered["captions"][0]["url"]).body == track
    listed = author.get("/content?courseId=tides&limit=100").json["items"]
    assert content_id in [item["id"] for item in listed]
    metadata = author.get(f"{path}/metadata")
    edited = author.ask(
        "PUT",
        f"{path}/metadata",
        json_body={"title": "Ebb and flow", "position": 5, "durationSeconds": 30},
        If_Match=metadata.headers["ETag"],
    )
    assert (edited.status, edited.json["title"]) == (200, "Ebb and flow")
    stale = author.ask("DELETE", path, If_Match=metadata.headers["ETag"])
    assert problem(stale) == (412, "precondition_failed")
    assert author.ask("DELETE", path).status == 204
    assert problem(author.get(path + "/upload")) == (404, "content_not_found")
    assert author.ask("POST", f"{path}/restore").json["status"] == "ready"
    assert author.ask("DELETE", path).status == 204


def test_saving_in_place_of_playing(learner: Person) -> None:
    shown = ask(learner.get(f"/content/{READING}").json["url"])
    saved = ask(learner.get(f"/content/{READING}?disposition=attachment").json["url"])
    assert shown.headers["Content-Disposition"].startswith("inline;")
    assert saved.headers["Content-Disposition"].startswith("attachment;")
    assert shown.body == saved.body
    assert shown.headers.get_content_type() == "text/markdown"


def update(minute: int, device: str, **items: dict[str, object]) -> dict[str, Any]:
    """An update of 2 March, 9 o'clock and so many minutes."""
    named = {name.replace("_", "-"): item for name, item in items.items()}
    return {"occurredAt": f"2026-03-02T09:{minute:02}:00Z", "deviceId": device, "items": named}


def test_two_devices_out_of_order_and_repeated_give_one_state(other_learner: Person) -> None:
    phone = [
        update(1, "phone", tides_1_1={"fraction": 0.25, "positionSeconds": 18}),
        update(5, "phone", tides_1_1={"fraction": 0.75, "positionSeconds": 54}),
        update(9, "phone", tides_1_1={"completed": True, "fraction": 1, "positionSeconds": 72}),
    ]
    tablet = [
        update(3, "tablet", tides_1_1={"fraction": 0.5, "positionSeconds": 36}),
        update(11, "tablet", tides_1_1={"completed": False, "fraction": 0.1, "positionSeconds": 7}),
        update(12, "tablet", tides_1_2={"completed": True}),
    ]
    # The phone was offline: what it kept comes last, newest first, and everything comes twice.
    sent = [tablet[2], tablet[0], tablet[1], *reversed(phone), *tablet, *phone]
    answers = [other_learner.record(COURSE, body) for body in sent]
    assert [answer.status for answer in answers] == [201] + [200] * (len(sent) - 1)

    merged = other_learner.get(f"/progress/me/{COURSE}")
    assert merged.json["items"] == {
        VIDEO: {
            "completed": True,
            "completedAt": "2026-03-02T09:09:00.000Z",
            "fraction": 1,
            "positionSeconds": 7,
            "occurredAt": "2026-03-02T09:11:00.000Z",
        },
        READING: {
            "completed": True,
            "completedAt": "2026-03-02T09:12:00.000Z",
            "fraction": None,
            "positionSeconds": None,
            "occurredAt": None,
        },
    }
    # Weights 2 and 1 of 9.
    assert (merged.json["percent"], merged.json["completedCount"]) == (33, 2)
    assert merged.json["startedAt"] == "2026-03-02T09:01:00.000Z"
    assert merged.json["attempt"] == 1
    # The repetitions changed nothing, not even when it was last changed.
    assert {answer.json["updatedAt"] for answer in answers[6:]} == {merged.json["updatedAt"]}
    assert answers[-1].json == merged.json
    same = other_learner.get(f"/progress/me/{COURSE}", If_None_Match=merged.headers["ETag"])
    assert same.status == 304
    # `me` and the user's id are one.
    named = other_learner.get(f"/progress/{other_learner.subject}/{COURSE}")
    assert named.json == merged.json
    # In the list it is the same, without the items.
    (entry,) = other_learner.get("/progress/me").json["items"]
    whole = merged.json
    assert entry == {name: whole[name] for name in whole if name not in ("userId", "items")}


def sync(person: Person, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = person.ask("POST", "/progress/me/batch", json_body={"entries": entries})
    assert answer.status == 200, answer.body
    results: list[dict[str, Any]] = answer.json["results"]
    return results


def test_two_devices_come_back_from_a_journey_without_a_network(author: Person) -> None:
    """Both learnt offline, in the same courses; what they kept arrives in any order, at once."""
    retaken = "asyncio"
    outlines = {
        course: [
            item
            for section in author.get(f"/courses/{course}").json["outline"]
            for item in section["items"]
        ]
        for course in (retaken, "sql", "klang")
    }
    queues: dict[str, list[dict[str, Any]]] = {"phone": [], "tablet": []}
    for course, outline in outlines.items():
        for minute, item in enumerate(outline, start=1):
            # The phone has the even ones, the tablet the odd ones, both the first.
            for device in ("phone", "tablet"):
                if minute == 1 or (minute % 2 == 0) == (device == "phone"):
                    done = {item["contentId"]: {"completed": course != "klang", "fraction": 1}}
                    kept = update(minute, device) | {"items": done, "attempt": 1}
                    resume = {"contentId": item["contentId"], "positionSeconds": minute}
                    queues[device].append(kept | {"courseId": course, "resume": resume})
    queues["phone"].reverse()

    def come_back(queue: list[dict[str, Any]]) -> set[int]:
        return {result["status"] for some in batched(queue) for result in sync(author, some)}

    with ThreadPoolExecutor(2) as network:
        statuses = set().union(*network.map(come_back, queues.values()))
    assert statuses <= {200, 201}
    # The last answers were lost, as far as the devices know: everything is sent once more.
    for queue in queues.values():
        assert come_back(queue) == {200}

    found = {item["courseId"]: item for item in author.get("/progress/me").json["items"]}
    for course, outline in outlines.items():
        last = len(outline)
        assert found[course]["resume"] == {
            "contentId": outline[-1]["contentId"],
            "positionSeconds": last,
            "occurredAt": f"2026-03-02T09:{last:02}:00.000Z",
        }
        assert found[course]["startedAt"] == "2026-03-02T09:01:00.000Z"
        completed = course != "klang"
        assert found[course]["status"] == ("completed" if completed else "in_progress")
        assert found[course]["percent"] == (100 if completed else 0)
        assert found[course]["newItemsSinceCompletion"] == (0 if completed else None)

    # The course is taken again on the phone; the request is sent twice, its answer was lost.
    for _ in range(2):
        again = author.ask("DELETE", f"/progress/me/{retaken}?attempt=1")
        assert (again.status, again.json["attempt"]) == (200, 2)
        assert (again.json["status"], again.json["percent"]) == ("not_started", 0)
    # The tablet has not heard of it, and something else in its queue is wrong.
    first, wrong, new = sync(
        author,
        [
            next(kept for kept in queues["tablet"] if kept["courseId"] == retaken),
            update(30, "tablet") | {"courseId": retaken, "attempt": 9},
            update(31, "tablet", asyncio_1_1={"completed": True}) | {"courseId": retaken},
        ],
    )
    assert (first["status"], first["progress"]["attempt"]) == (200, 2)
    assert (wrong["status"], wrong["problem"]["code"]) == (409, "attempt_not_started")
    assert new["status"] == 200
    # What the first content weighs, and nothing of the attempt before.
    weights = {item["contentId"]: item["weight"] for item in outlines[retaken] if item["required"]}
    merged = author.get(f"/progress/me/{retaken}").json
    assert merged["items"].keys() == {"asyncio-1-1"}
    assert merged["percent"] == int(100 * weights["asyncio-1-1"] / sum(weights.values()))
    assert merged["completedAt"] is None


def batched(entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """In portions that are small enough to mix."""
    return [entries[start : start + 4] for start in range(0, len(entries), 4)]


def test_a_clock_that_runs_ahead_does_not_freeze_the_resume_point(author: Person) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=6)
    refused = author.record(
        COURSE, {"occurredAt": ahead.isoformat(), "deviceId": "tablet", "items": {}}
    )
    assert problem(refused) == (422, "invalid_body")
    assert [error["pointer"] for error in refused.json["errors"]] == ["/occurredAt"]
    assert problem(author.get(f"/progress/me/{COURSE}")) == (404, "progress_not_found")


def test_progress_is_its_users_and_staffs(
    platform: RunningPlatform, learner: Person, other_learner: Person, author: Person, staff: Person
) -> None:
    course = "sql"
    written = learner.record(course, update(1, "phone", sql_1_1={"completed": True}))
    assert written.status == 201
    nobody = "00000000-0000-4000-8000-000000000000"
    for stranger in (other_learner, author):
        # Whether or not there is such a user, course or progress: the same answer.
        for user in (learner.subject, nobody):
            for path in (f"/progress/{user}", f"/progress/{user}/{course}"):
                refused = stranger.get(path)
                assert problem(refused) == (403, "forbidden")
                assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            refused = stranger.record(course, update(2, "phone"), user=user)
            assert problem(refused) == (403, "forbidden")
    seen = staff.get(f"/progress/{learner.subject}/{course}")
    assert seen.status == 200
    assert seen.json["userId"] == learner.subject
    assert course in [
        item["courseId"] for item in staff.get(f"/progress/{learner.subject}").json["items"]
    ]
    corrected = staff.record(
        course, update(3, "desk", sql_1_2={"completed": True}), user=learner.subject
    )
    assert corrected.status == 200
    assert learner.get(f"/progress/me/{course}").json["items"].keys() == {"sql-1-1", "sql-1-2"}
    # It is the learner's progress that changed, not that of staff.
    assert staff.get("/progress/me").json["items"] == []


def test_a_draft_is_there_for_who_may_write_alone(
    learner: Person, other_learner: Person, author: Person, staff: Person
) -> None:
    for reader in (learner, other_learner):
        assert DRAFT not in [item["id"] for item in reader.get("/courses?limit=100").json["items"]]
        assert reader.get(f"/courses?ids={DRAFT}").json["items"] == []
        assert problem(reader.get("/courses?status=draft")) == (403, "forbidden")
        hidden = reader.get(f"/courses/{DRAFT}")
        unknown = reader.get("/courses/no-such-course")
        assert problem(hidden) == problem(unknown) == (404, "course_not_found")
        assert hidden.json["detail"] == unknown.json["detail"]
    for writer in (author, staff):
        drafts = writer.get("/courses?status=draft").json["items"]
        assert [item["id"] for item in drafts] == [DRAFT]
        opened = writer.get(f"/courses/{DRAFT}")
        assert (opened.status, opened.json["status"]) == (200, "draft")
        assert opened.json["publishedAt"] is None


@pytest.mark.parametrize("role", list(DEMO_USERS))
def test_each_role_may_what_its_groups_give(platform: RunningPlatform, role: str) -> None:
    person = signed_in(platform, role)
    may_write = role in ("author", "staff")
    statuses = {
        "/courses": 200,
        f"/courses/{COURSE}": 200,
        "/courses?status=archived": 200 if may_write else 403,
        f"/courses/{DRAFT}": 200 if may_write else 404,
        f"/content/{VIDEO}": 200,
        "/progress/me": 200,
        f"/progress/{person.subject}": 200,
        "/progress/somebody-else": 200 if role == "staff" else 403,
    }
    assert {path: person.get(path).status for path in statuses} == statuses
    for path, status in statuses.items():
        head = person.ask("HEAD", path)
        assert (head.status, head.body) == (status, b"")
    claims = token_claims(person.token)
    assert claims["token_use"] == "access"
    assert frozenset(claims.get("cognito:groups", [])) == frozenset(DEMO_USERS[role])


def token_claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return claims


def with_stripped_signature(token: str) -> str:
    return token.rpartition(".")[0] + "."


def with_other_groups(token: str) -> str:
    header, _, signature = token.split(".")
    claims = token_claims(token) | {"cognito:groups": ["staff"]}
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{forged}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        with_stripped_signature,
        with_other_groups,
        lambda token: token[:-8],
        lambda _: "not-a-token",
        lambda _: "",
    ],
)
def test_a_token_that_the_pool_did_not_sign_is_refused(
    platform: RunningPlatform, learner: Person, forge: Callable[[str], str]
) -> None:
    for path in PATHS:
        refused = ask(platform.gateway + path, token=forge(learner.token))
        assert problem(refused) == (401, "invalid_token")
        assert refused.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


def test_nothing_is_served_without_a_token(platform: RunningPlatform) -> None:
    for path in PATHS:
        refused = ask(platform.gateway + path)
        assert problem(refused) == (401, "authentication_required")
        assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_an_identity_token_is_no_access_token(platform: RunningPlatform) -> None:
    identity = sign_in(platform, "staff")["IdToken"]
    refused = ask(platform.gateway + "/courses", token=identity)
    assert problem(refused) == (401, "invalid_token")


def test_a_course_of_an_author_reaches_the_learners(
    learner: Person, author: Person, staff: Person
) -> None:
    item = {"contentId": VIDEO, "title": "The pull of the moon", "type": "video"}
    written = {
        "slug": "written-through-the-gateway",
        "title": "Written through the gateway",
        "description": "From a draft to the learners, and out of the listing again.",
        "shortDescription": "From a draft to the learners.",
        "language": "en",
        "level": "beginner",
        "outline": [{"id": "one", "title": "One", "items": [item]}],
    }
    key = {"Idempotency_Key": "written-through-the-gateway-1"}
    assert problem(learner.ask("POST", "/courses", json_body=written)) == (403, "forbidden")
    created = author.ask("POST", "/courses", json_body=written, **key)
    assert created.status == 201
    # The answer got lost on the way, say: sent again, it is the same.
    again = author.ask("POST", "/courses", json_body=written, **key)
    assert (again.status, again.json) == (201, created.json)
    path = created.headers["Location"]
    first = created.headers["ETag"]
    assert problem(learner.get(path)) == (404, "course_not_found")

    # Two at one course: the second is told what the first changed, and goes on from there.
    patch = {"Content_Type": "application/merge-patch+json"}
    mine = author.ask("PATCH", path, json_body={"title": "Mine"}, If_Match=first, **patch)
    assert mine.status == 200
    late = staff.ask("PATCH", path, json_body={"tags": ["ocean"]}, If_Match=first, **patch)
    assert problem(late) == (412, "precondition_failed")
    assert [error["pointer"] for error in late.json["errors"]] == ["/title"]
    current = late.headers["ETag"]
    theirs = staff.ask("PATCH", path, json_body={"tags": ["ocean"]}, If_Match=current, **patch)
    assert (theirs.json["title"], theirs.json["tags"]) == ("Mine", ["ocean"])

    published = author.ask("POST", f"{path}/publish", If_Match=theirs.headers["ETag"])
    assert published.status == 200
    course_id = created.json["id"]
    assert learner.get(path).json["title"] == "Mine"
    assert learner.get(f"/courses?ids={course_id}").json["items"][0]["title"] == "Mine"
    kept = author.ask("DELETE", path, If_Match=published.headers["ETag"])
    assert problem(kept) == (409, "course_not_draft")

    archived = author.ask("POST", f"{path}/archive", If_Match=published.headers["ETag"])
    assert archived.status == 200
    assert learner.get(f"/courses?ids={course_id}").json["items"] == []
    assert learner.get(path).json["status"] == "archived"
