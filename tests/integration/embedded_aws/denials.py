"""Calls of each kind on a table, a bucket's objects and a queue, and whether IAM lets one happen.

Each call is right in everything but perhaps in the caller's right to it.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

# What a queue says to a receipt that it never gave: the caller was let that far.
OF_NO_RECEIPT = frozenset({"InvalidParameterValue", "ReceiptHandleIsInvalid", "MessageNotInflight"})

Call = Callable[[Any], Awaitable[object]]


def table_calls(table: Mapping[str, Any], name: str) -> dict[str, Call]:
    """A call of each kind on a table, right in everything but perhaps in the caller's right to it."""
    key = {entry["AttributeName"]: {"S": str(uuid.uuid4())} for entry in table["KeySchema"]}
    names = [entry["AttributeName"] for entry in table["KeySchema"]]
    hash_key = names[0]
    by_key = {
        "KeyConditionExpression": "#hash = :hash",
        "ExpressionAttributeNames": {"#hash": hash_key},
        "ExpressionAttributeValues": {":hash": key[hash_key]},
    }
    calls: dict[str, Call] = {
        "GetItem": lambda db: db.get_item(TableName=name, Key=key),
        "PutItem": lambda db: db.put_item(TableName=name, Item=key),
        "UpdateItem": lambda db: db.update_item(TableName=name, Key=key),
        "DeleteItem": lambda db: db.delete_item(TableName=name, Key=key),
        "Query": lambda db: db.query(TableName=name, **by_key),
        "Scan": lambda db: db.scan(TableName=name),
        "BatchGetItem": lambda db: db.batch_get_item(RequestItems={name: {"Keys": [key]}}),
        "BatchWriteItem": lambda db: db.batch_write_item(
            RequestItems={name: [{"PutRequest": {"Item": key}}]}
        ),
        "transaction of GetItem": lambda db: db.transact_get_items(
            TransactItems=[{"Get": {"TableName": name, "Key": key}}]
        ),
        "transaction of PutItem": lambda db: db.transact_write_items(
            TransactItems=[{"Put": {"TableName": name, "Item": key}}]
        ),
        "transaction of ConditionCheckItem": lambda db: db.transact_write_items(
            TransactItems=[
                {
                    "ConditionCheck": {
                        "TableName": name,
                        "Key": key,
                        "ConditionExpression": "attribute_exists(#hash) OR "
                        "attribute_not_exists(#hash)",
                        "ExpressionAttributeNames": {"#hash": hash_key},
                    }
                }
            ]
        ),
        "PartiQLSelect": lambda db: db.execute_statement(Statement=f'SELECT * FROM "{name}"'),
        "DescribeTable": lambda db: db.describe_table(TableName=name),
        "UpdateTable": lambda db: db.update_table(TableName=name, BillingMode="PAY_PER_REQUEST"),
        "UpdateTimeToLive": lambda db: db.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"AttributeName": "x", "Enabled": True}
        ),
        "CreateBackup": lambda db: db.create_backup(TableName=name, BackupName="copy"),
        "DeleteTable": lambda db: db.delete_table(TableName=name),
    }
    if "GlobalSecondaryIndexes" in table:
        index = table["GlobalSecondaryIndexes"][0]
        index_hash = index["KeySchema"][0]["AttributeName"]
        calls["index:Query"] = lambda db: db.query(
            TableName=name,
            IndexName=index["IndexName"],
            KeyConditionExpression="#hash = :hash",
            ExpressionAttributeNames={"#hash": index_hash},
            ExpressionAttributeValues={":hash": {"S": "none"}},
        )
        calls["index:Scan"] = lambda db: db.scan(TableName=name, IndexName=index["IndexName"])
    return calls


def object_calls(
    bucket: str, key: str, *, to_complete: str, to_abort: str, etag: str
) -> dict[str, Call]:
    """A call of each kind; the two uploads have one part each."""
    return {
        "GetObject": lambda s3: s3.get_object(Bucket=bucket, Key=key),
        "HeadObject": lambda s3: s3.head_object(Bucket=bucket, Key=key),
        "PutObject": lambda s3: s3.put_object(Bucket=bucket, Key=key, Body=b"changed"),
        "PutObjectTagging": lambda s3: s3.put_object_tagging(
            Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
        ),
        "PutObjectAcl": lambda s3: s3.put_object_acl(Bucket=bucket, Key=key, ACL="private"),
        "CopyObject": lambda s3: s3.copy_object(
            Bucket=bucket, Key=f"{key}-copy", CopySource={"Bucket": bucket, "Key": key}
        ),
        "CreateMultipartUpload": lambda s3: s3.create_multipart_upload(Bucket=bucket, Key=key),
        "UploadPart": lambda s3: s3.upload_part(
            Bucket=bucket, Key=key, UploadId=to_complete, PartNumber=2, Body=b"more"
        ),
        "ListParts": lambda s3: s3.list_parts(Bucket=bucket, Key=key, UploadId=to_complete),
        "CompleteMultipartUpload": lambda s3: s3.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=to_complete,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
        ),
        "AbortMultipartUpload": lambda s3: s3.abort_multipart_upload(
            Bucket=bucket, Key=key, UploadId=to_abort
        ),
        "ListMultipartUploads": lambda s3: s3.list_multipart_uploads(Bucket=bucket),
        "DeleteObject": lambda s3: s3.delete_object(Bucket=bucket, Key=key),
        "ListObjects": lambda s3: s3.list_objects_v2(Bucket=bucket, Prefix=key),
        "PutBucketPolicy": lambda s3: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        "PutBucketCors": lambda s3: s3.put_bucket_cors(
            Bucket=bucket,
            CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}]},
        ),
        "PutBucketLifecycle": lambda s3: s3.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "all",
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "Expiration": {"Days": 1},
                    }
                ]
            },
        ),
        "DeleteBucket": lambda s3: s3.delete_bucket(Bucket=bucket),
    }


def queue_calls(url: str) -> dict[str, Call]:
    entry = {"Id": "0", "ReceiptHandle": "none"}
    return {
        "ReceiveMessage": lambda sqs: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0),
        "DeleteMessage": lambda sqs: sqs.delete_message(QueueUrl=url, ReceiptHandle="none"),
        "DeleteMessageBatch": lambda sqs: sqs.delete_message_batch(QueueUrl=url, Entries=[entry]),
        "ChangeMessageVisibility": lambda sqs: sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle="none", VisibilityTimeout=0
        ),
        "ChangeMessageVisibilityBatch": lambda sqs: sqs.change_message_visibility_batch(
            QueueUrl=url, Entries=[{**entry, "VisibilityTimeout": 0}]
        ),
        "GetQueueAttributes": lambda sqs: sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["All"]
        ),
        "SendMessage": lambda sqs: sqs.send_message(QueueUrl=url, MessageBody="x"),
        "SendMessageBatch": lambda sqs: sqs.send_message_batch(
            QueueUrl=url, Entries=[{"Id": "0", "MessageBody": "x"}]
        ),
        "SetQueueAttributes": lambda sqs: sqs.set_queue_attributes(
            QueueUrl=url, Attributes={"VisibilityTimeout": "30"}
        ),
        "PurgeQueue": lambda sqs: sqs.purge_queue(QueueUrl=url),
        "DeleteQueue": lambda sqs: sqs.delete_queue(QueueUrl=url),
    }


async def is_allowed(call: Awaitable[object]) -> bool:
    """Whether IAM lets the call happen; what else may be wrong with it counts as a wrong test."""
    try:
        await call
    except ClientError as error:
        answer = error.response
        # HEAD has no body to name the reason in.
        denied = {"AccessDeniedException", "AccessDenied", "AuthorizationError", "403"}
        if answer["Error"]["Code"] in OF_NO_RECEIPT:
            return True
        assert answer["Error"]["Code"] in denied, answer
        return False
    return True
