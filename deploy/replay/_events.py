"""A course of the public API as the event that its outline changed.

The contract is `services/course_catalog/events.yaml`; a contract test holds this against it, and
against what the consumer reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from libs.aws import marshal

SOURCE = "lyceum.replay"


class NotACourseError(Exception):
    """What the API gave lacks something that the event needs. The message names no value."""


def outline_event(course: Mapping[str, Any]) -> str:
    """The body of the message. Raises NotACourseError."""
    try:
        key = {"courseId": f"outline#{course['id']}"}
        image = {
            **key,
            "outlineVersion": course["outlineVersion"],
            "updatedAt": course["updatedAt"],
            "items": [
                {name: item[name] for name in ("contentId", "required", "weight")}
                for section in course["outline"]
                for item in section["items"]
            ],
        }
        record = {
            "eventID": f"replay-{course['id']}-{course['outlineVersion']}",
            "eventName": "MODIFY",
            "eventSource": SOURCE,
            "dynamodb": {"Keys": marshal(key), "NewImage": marshal(image)},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise NotACourseError(f"not a course: {type(error).__name__}") from None
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
