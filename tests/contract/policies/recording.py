"""A plugin of pytest that writes down what the code under test asks of AWS: which IAM actions it needs.

    python -m pytest -p tests.contract.policies.recording …      with RECORDED_CALLS=FILE

Listens where the clients of `libs.aws` are called, and only to callers outside of the tests: what a test
itself prepares and looks at is no need of the service. Which action a call needs is AWS's: the "Actions
defined by" tables of DynamoDB, S3 and SQS in the Service Authorization Reference.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from libs.aws import S3, SQS, DynamoDB

FILE_VARIABLE = "RECORDED_CALLS"

_TABLE_CALLS = {
    "get_item": "GetItem",
    "batch_get_item": "BatchGetItem",
    "query": "Query",
    "scan": "Scan",
    "describe_table": "DescribeTable",
    "put_item": "PutItem",
    "update_item": "UpdateItem",
    "delete_item": "DeleteItem",
    "batch_write_item": "BatchWriteItem",
}
# A transaction is authorized as what is in it.
_IN_TRANSACTIONS = {
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_OBJECT_CALLS = {
    "head_object": "GetObject",
    "get_object": "GetObject",
    "put_object": "PutObject",
    "delete_object": "DeleteObject",
    "create_multipart_upload": "PutObject",
    "upload_part": "PutObject",
    "list_parts": "ListMultipartUploadParts",
    "complete_multipart_upload": "PutObject",
    "abort_multipart_upload": "AbortMultipartUpload",
    "presign_post": "PutObject",
}
# Batches have no actions of their own.
_QUEUE_CALLS = {
    "receive_message": "ReceiveMessage",
    "delete_message_batch": "DeleteMessage",
    "change_message_visibility_batch": "ChangeMessageVisibility",
    "send_message_batch": "SendMessage",
    "get_queue_attributes": "GetQueueAttributes",
}

Needs = Callable[[tuple[Any, ...], Mapping[str, Any]], Iterable[tuple[str, str]]]
"""From a call's arguments: the actions and on what (`table`, an index' name, `objects`, `queue`)."""


def _on_a_table(action: str) -> Needs:
    def needs(_: tuple[Any, ...], named: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        yield f"dynamodb:{action}", named.get("IndexName", "table")

    return needs


def _in_a_transaction(_: tuple[Any, ...], named: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for entry in named["TransactItems"]:
        for kind in entry:
            yield f"dynamodb:{_IN_TRANSACTIONS[kind]}", "table"


def _of(action: str, thing: str) -> Needs:
    return lambda _, __: [(action, thing)]


def _signed(given: tuple[Any, ...], named: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    method = given[0] if given else named["method"]
    yield f"s3:{_OBJECT_CALLS[method]}", "objects"


def _listen(
    patch: pytest.MonkeyPatch, kind: type[object], method: str, needs: Needs, seen: set[Any]
) -> None:
    original = getattr(kind, method)

    @functools.wraps(original)
    def listened(self: object, *given: Any, **named: Any) -> object:
        caller = sys._getframe(1)
        if not caller.f_globals["__name__"].startswith("tests."):
            function = caller.f_code.co_qualname
            seen.update((function, *need) for need in needs(given, named))
        return original(self, *given, **named)

    patch.setattr(kind, method, listened)


@pytest.fixture(scope="session", autouse=True)
def recording() -> Iterable[None]:
    """Listen as long as the session lasts. In the file then: [calling function, action, on what] of each."""
    seen: set[tuple[str, str, str]] = set()
    with pytest.MonkeyPatch.context() as patch:
        for method, action in _TABLE_CALLS.items():
            _listen(patch, DynamoDB, method, _on_a_table(action), seen)
        for method in ("transact_get_items", "transact_write_items"):
            _listen(patch, DynamoDB, method, _in_a_transaction, seen)
        for method, action in _OBJECT_CALLS.items():
            _listen(patch, S3, method, _of(f"s3:{action}", "objects"), seen)
        _listen(patch, S3, "presign", _signed, seen)
        for method, action in _QUEUE_CALLS.items():
            _listen(patch, SQS, method, _of(f"sqs:{action}", "queue"), seen)
        yield
    Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(sorted(seen)), encoding="utf-8")
