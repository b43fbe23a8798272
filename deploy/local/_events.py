"""How a course's outline gets from the catalog's table to progress: stream, pipe, topic, queue.

Made as Terraform makes it on AWS, but for the pipe's filter: the embedded AWS knows none, so the table's
other rows travel too, and the consumer passes over them. Knows no event's content.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.local._provision import EmbeddedAws

TOPIC = "lyceum-course-outlines"
QUEUE = "lyceum-progress-outlines"
PARKED = "lyceum-progress-outlines-parked"
PIPE = "lyceum-course-outlines"
PIPE_ROLE = "lyceum-course-outlines-pipe"

# Deliveries are used up by what can't be read and by processes that die; the table's outages use none.
MAX_RECEIVE_COUNT = 20
_RETENTION_SECONDS = 14 * 86_400  # SQS's longest, for messages and for what is parked


@dataclass(frozen=True)
class OutlineEvents:
    """What was made; `parked_url` is the queue of dead letters."""

    topic_arn: str
    queue_url: str
    queue_arn: str
    parked_url: str


async def ensure_outline_events(
    aws: "EmbeddedAws", *, account: str, table: str, stream_arn: str
) -> OutlineEvents:
    """Make, or bring in line, everything between the stream of the catalog's `table` and the queue.

    The pipe is made anew each time: the embedded AWS keeps how far a pipe has read, but not the stream
    it read, and would pass over as many new records as there had been old ones. What its end loses,
    the replay brings back.
    """
    async with aws.client("sns") as sns, aws.client("sqs") as sqs:
        topic_arn = (await sns.create_topic(Name=TOPIC))["TopicArn"]
        parked_url, parked_arn = await _ensure_queue(
            sqs, PARKED, {"MessageRetentionPeriod": str(_RETENTION_SECONDS)}
        )
        redrive = {"deadLetterTargetArn": parked_arn, "maxReceiveCount": MAX_RECEIVE_COUNT}
        queue_url, queue_arn = await _ensure_queue(
            sqs,
            QUEUE,
            {
                "MessageRetentionPeriod": str(_RETENTION_SECONDS),
                "RedrivePolicy": json.dumps(redrive),
            },
        )
        await sqs.set_queue_attributes(
            QueueUrl=queue_url, Attributes={"Policy": _only_from(topic_arn, queue_arn)}
        )
        await sns.subscribe(
            TopicArn=topic_arn,
            Protocol="sqs",
            Endpoint=queue_arn,
            # The message as it is: an envelope would be larger and would have to be unpacked.
            Attributes={"RawMessageDelivery": "true"},
        )
    await _ensure_pipe(
        aws,
        role_arn=await _ensure_pipe_role(aws, account, table=table, topic_arn=topic_arn),
        stream_arn=stream_arn,
        topic_arn=topic_arn,
    )
    return OutlineEvents(topic_arn, queue_url, queue_arn, parked_url)


async def _ensure_queue(client: Any, name: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    try:
        url: str = (await client.get_queue_url(QueueName=name))["QueueUrl"]
    except client.exceptions.QueueDoesNotExist:
        url = (await client.create_queue(QueueName=name))["QueueUrl"]
    await client.set_queue_attributes(QueueUrl=url, Attributes=dict(attributes))
    found = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


def _only_from(topic_arn: str, queue_arn: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "OutlinesOfTheTopic",
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue_arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
                }
            ],
        }
    )


async def _ensure_pipe_role(aws: "EmbeddedAws", account: str, *, table: str, topic_arn: str) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "pipes.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": account}},
            }
        ],
    }
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ReadTheStream",
                "Effect": "Allow",
                "Action": [
                    "dynamodb:DescribeStream",
                    "dynamodb:GetRecords",
                    "dynamodb:GetShardIterator",
                    "dynamodb:ListStreams",
                ],
                "Resource": f"arn:aws:dynamodb:{aws.region}:{account}:table/{table}/stream/*",
            },
            {
                "Sid": "TellTheTopic",
                "Effect": "Allow",
                "Action": "sns:Publish",
                "Resource": topic_arn,
            },
        ],
    }
    async with aws.client("iam") as iam:
        try:
            await iam.create_role(RoleName=PIPE_ROLE, AssumeRolePolicyDocument=json.dumps(trust))
        except iam.exceptions.EntityAlreadyExistsException:
            await iam.update_assume_role_policy(
                RoleName=PIPE_ROLE, PolicyDocument=json.dumps(trust)
            )
        await iam.put_role_policy(
            RoleName=PIPE_ROLE, PolicyName="pipe", PolicyDocument=json.dumps(policy)
        )
        arn: str = (await iam.get_role(RoleName=PIPE_ROLE))["Role"]["Arn"]
        return arn


async def _ensure_pipe(
    aws: "EmbeddedAws", *, role_arn: str, stream_arn: str, topic_arn: str
) -> None:
    async with aws.client("pipes") as pipes:
        with contextlib.suppress(pipes.exceptions.NotFoundException):
            await pipes.delete_pipe(Name=PIPE)
        await pipes.create_pipe(
            Name=PIPE,
            RoleArn=role_arn,
            Source=stream_arn,
            Target=topic_arn,
            SourceParameters={
                "DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 1}
            },
        )
