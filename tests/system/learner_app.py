"""A learner's app, as far as it talks to the platform: what it asks, and what it reads of the answers.

It is the consumer of tests/contract/consumers/learner_app-*.json: what it begins to ask or to read is
written there first. Keeps no state; what a device does while it is offline is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.system.exchange import Answer, ask

Document = dict[str, Any]


class UnexpectedAnswerError(Exception):
    """An answer that the app has no rule for."""


@dataclass(frozen=True)
class Playable:
    """Where the bytes of a content are; neither needs the token."""

    url: str
    content_type: str
    size_bytes: int
    refresh_after: str
    captions: Mapping[str, str]


class LearnerApp:
    """The operations of one learner. Each raises UnexpectedAnswerError."""

    def __init__(self, gateway: str, token: str) -> None:
        self._gateway = gateway
        self._token = token

    def courses(self, limit: int) -> list[tuple[str, str]]:
        """Ids and titles of the first courses of the directory."""
        page = self._ask("GET", f"/courses?limit={limit}", accept={200}).json
        return [(item["id"], item["title"]) for item in page["items"]]

    def course(self, course_id: str, *, etag: str | None = None) -> tuple[Document, str] | None:
        """A course and its ETag; None where it has not changed since, or is not to be seen."""
        headers = {} if etag is None else {"If-None-Match": etag}
        path = f"/courses/{course_id}"
        answer = self._ask("GET", path, headers=headers, accept={200, 304, 404})
        return (answer.json, str(answer.headers["ETag"])) if answer.status == 200 else None

    def playable(self, content_id: str) -> Playable | None:
        """Where a content is; None while it is not ready."""
        answer = self._ask("GET", f"/content/{content_id}", accept={200, 409})
        if answer.status == 409:
            if answer.json["code"] != "content_not_ready":
                raise UnexpectedAnswerError(answer.json["code"])
            return None
        document = answer.json
        return Playable(
            url=document["url"],
            content_type=document["contentType"],
            size_bytes=document["sizeBytes"],
            refresh_after=document["refreshAfter"],
            captions={track["language"]: track["url"] for track in document["captions"]},
        )

    def my_courses(self) -> list[Document]:
        """Where the learner stands in each course."""
        items: list[Document] = self._ask("GET", "/progress/me", accept={200}).json["items"]
        return items

    def progress(self, course_id: str) -> Document | None:
        """Where the learner stands in one, with every content; None before it was started."""
        answer = self._ask("GET", f"/progress/me/{course_id}", accept={200, 404})
        found: Document | None = answer.json if answer.status == 200 else None
        return found

    def record(self, course_id: str, update: Mapping[str, Any]) -> Document:
        """Sends an update, once or again; the merged state."""
        answer = self._ask("PUT", f"/progress/me/{course_id}", body=update, accept={200, 201})
        merged: Document = answer.json
        return merged

    def sync(self, entries: Sequence[Mapping[str, Any]]) -> list[Document]:
        """Sends what was kept offline; a result for each entry, in their order."""
        body = {"entries": list(entries)}
        answer = self._ask("POST", "/progress/me/batch", body=body, accept={200})
        results: list[Document] = answer.json["results"]
        return results

    def begin_again(self, course_id: str, attempt: int) -> int:
        """Ends this attempt, if it is not ended yet; the number of the one that goes on."""
        path = f"/progress/me/{course_id}?attempt={attempt}"
        return int(self._ask("DELETE", path, accept={200}).json["attempt"])

    def _ask(
        self,
        method: str,
        path: str,
        *,
        accept: set[int],
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        answer = ask(
            self._gateway + path,
            method=method,
            token=self._token,
            headers=headers,
            json_body=body,
        )
        if answer.status not in accept:
            raise UnexpectedAnswerError(f"{method} {path}: {answer.status} {answer.body!r}")
        return answer
