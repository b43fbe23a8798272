"""The policies are least: the actions that the services' repositories use, on their own resources."""

import ast
import inspect
import json
from collections.abc import Iterator
from types import ModuleType

import pytest

from deploy.local._iam import policy_document, role_name
from services.content_delivery.storage import dynamodb as content_rows
from services.content_delivery.storage import s3 as content_objects
from services.course_catalog.storage import dynamodb as catalog_rows
from services.progress_tracking.consumer import queue as progress_queue
from services.progress_tracking.storage import dynamodb as progress_rows

STORAGE: dict[str, tuple[ModuleType, ...]] = {
    "course_catalog": (catalog_rows,),
    "content_delivery": (content_rows, content_objects),
    "progress_tracking": (progress_rows, progress_queue),
}
TABLE_ARN = "arn:aws:dynamodb:eu-central-1:000000000000:table/Own"
BUCKET_ARN = "arn:aws:s3:::own"
QUEUE_ARN = "arn:aws:sqs:eu-central-1:000000000000:own"

ACTIONS = {
    "batch_get_item": "dynamodb:BatchGetItem",
    "delete_item": "dynamodb:DeleteItem",
    "describe_table": "dynamodb:DescribeTable",
    "get_item": "dynamodb:GetItem",
    "put_item": "dynamodb:PutItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "update_item": "dynamodb:UpdateItem",
    # S3 has no action of its own for HEAD; a pre-signed GET is a GET.
    "delete_object": "s3:DeleteObject",
    "get_object": "s3:GetObject",
    "get_object_range": "s3:GetObject",
    "head_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    # An upload in parts is begun, sent and completed with the right to put.
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "presign_post": "s3:PutObject",
    "list_parts": "s3:ListMultipartUploadParts",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    # AWS authorizes each entry of a batch as the action on one message.
    "change_message_visibility_batch": "sqs:ChangeMessageVisibility",
    "delete_message_batch": "sqs:DeleteMessage",
    "get_queue_attributes": "sqs:GetQueueAttributes",
    "receive_message": "sqs:ReceiveMessage",
}
# The embedded AWS wants them as well, under names that are no actions on AWS.
NO_ACTIONS_OF_AWS = {"sqs:ChangeMessageVisibilityBatch", "sqs:DeleteMessageBatch"}
# A transaction is authorized as the single-item actions in it.
ACTIONS_IN_TRANSACTIONS = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Delete": "dynamodb:DeleteItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
}


def used_actions(module: ModuleType) -> Iterator[str]:
    """The IAM actions of the calls that a module makes on its `_dynamodb`, `_s3` and `_sqs`."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_dynamodb"), attr=name)):
                if name == "transact_write_items":
                    yield from _actions_in_transactions(tree)
                else:
                    yield ACTIONS[name]
            case ast.Call(
                func=ast.Attribute(attr="presign"), args=[ast.Constant(value=str(name)), *_]
            ):
                yield ACTIONS[name]
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_s3" | "_sqs"), attr=name)):
                if name in ACTIONS:
                    yield ACTIONS[name]


def _actions_in_transactions(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key in node.keys:
                if isinstance(key, ast.Constant) and key.value in ACTIONS_IN_TRANSACTIONS:
                    yield ACTIONS_IN_TRANSACTIONS[key.value]


def statements(service: str) -> list[dict[str, object]]:
    document = policy_document(
        service, table_arn=TABLE_ARN, bucket_arn=BUCKET_ARN, queue_arn=QUEUE_ARN
    )
    assert document["Version"] == "2012-10-17"
    found: list[dict[str, object]] = document["Statement"]
    return found


def listed(value: object) -> list[str]:
    return value if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize("service", STORAGE)
def test_the_actions_are_those_that_the_repository_uses(service: str) -> None:
    allowed = {action for one in statements(service) for action in listed(one["Action"])}
    used = {action for module in STORAGE[service] for action in used_actions(module)}
    assert used
    assert allowed - NO_ACTIONS_OF_AWS == used


@pytest.mark.parametrize("service", STORAGE)
def test_every_statement_names_its_actions_and_its_own_resources(service: str) -> None:
    for statement in statements(service):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert "*" not in action
        for resource in listed(statement["Resource"]):
            assert resource in (TABLE_ARN, QUEUE_ARN) or resource.startswith(
                (f"{TABLE_ARN}/index/", f"{BUCKET_ARN}/content/")
            )
            assert "${" not in resource


def test_only_content_sees_the_bucket() -> None:
    with_bucket = [name for name in STORAGE if BUCKET_ARN in json.dumps(statements(name))]
    assert with_bucket == ["content_delivery"]


def test_only_progress_sees_the_queue_and_may_send_to_none() -> None:
    with_queue = [name for name in STORAGE if QUEUE_ARN in json.dumps(statements(name))]
    assert with_queue == ["progress_tracking"]
    assert "Send" not in json.dumps(statements("progress_tracking"))


def test_each_service_has_a_role_of_its_own() -> None:
    assert {role_name(service) for service in STORAGE} == {
        "lyceum-course-catalog",
        "lyceum-content-delivery",
        "lyceum-progress-tracking",
    }
    with pytest.raises(FileNotFoundError):
        policy_document("unknown", table_arn=TABLE_ARN, bucket_arn=BUCKET_ARN, queue_arn=QUEUE_ARN)
