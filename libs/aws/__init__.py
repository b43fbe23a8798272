"""AWS for every service: clients opened once, calls that are guarded, traced and classified,
attribute values without loss, and pre-signed URLs."""

from libs.aws._clients import S3, SQS, Clients, DynamoDB, open_clients
from libs.aws._credentials import Signer
from libs.aws._direct_calls import direct_calls
from libs.aws._errors import (
    ConditionFailed,
    DependencyError,
    DependencyUnavailable,
    Executed,
    NotFound,
    RequestRejected,
    Throttled,
    classify,
    classify_failure,
)
from libs.aws._marshal import marshal, marshal_value, unmarshal, unmarshal_value
from libs.aws._observer import CallObserver, CallOutcome, ConsumedCapacity, DependencyCall
from libs.aws._presign import MAX_EXPIRES_SECONDS, PresignedMethod, S3Endpoint, presign
from libs.aws._presign_post import PresignedPost, presign_post
from libs.aws._settings import DEFAULT_TRANSPORT, AwsSettings, Transport

__all__ = [
    "DEFAULT_TRANSPORT",
    "MAX_EXPIRES_SECONDS",
    "S3",
    "SQS",
    "AwsSettings",
    "CallObserver",
    "CallOutcome",
    "Clients",
    "ConditionFailed",
    "ConsumedCapacity",
    "DependencyCall",
    "DependencyError",
    "DependencyUnavailable",
    "DynamoDB",
    "Executed",
    "NotFound",
    "PresignedMethod",
    "PresignedPost",
    "RequestRejected",
    "S3Endpoint",
    "Signer",
    "Throttled",
    "Transport",
    "classify",
    "classify_failure",
    "direct_calls",
    "marshal",
    "marshal_value",
    "open_clients",
    "presign",
    "presign_post",
    "unmarshal",
    "unmarshal_value",
]
