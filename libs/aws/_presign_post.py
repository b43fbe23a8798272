"""Pre-signed S3 form uploads: a POST policy, signed by Signature Version 4, made locally.

Owns the policy document and its signature, byte for byte as botocore's (a test compares them).
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.aws._credentials import Signer
from libs.aws._presign import S3Endpoint, moment_and_scope, require_life, sign

Condition = Mapping[str, str] | Sequence[str | int]


@dataclass(frozen=True)
class PresignedPost:
    """A form to send as multipart/form-data: the fields as they are, in any order, then `file`."""

    url: str
    fields: Mapping[str, str] = field(repr=False)


def presign_post(
    bucket: str,
    key: str,
    *,
    fields: Mapping[str, str],
    conditions: Sequence[Condition],
    expires_seconds: int,
    endpoint: S3Endpoint,
    signer: Signer,
    now: datetime,
) -> PresignedPost:
    """A form that uploads one object without further credentials for `expires_seconds` from `now`.

    S3 refuses a form whose fields the conditions do not cover; those of bucket, key and signature
    are added here. Raises ValueError for a life outside 1 s to 7 days.
    """
    require_life(expires_seconds)
    moment, scope = moment_and_scope(now, endpoint.region)
    signing = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{signer.access_key}/{scope}",
        "x-amz-date": moment,
    }
    if signer.token is not None:
        signing["x-amz-security-token"] = signer.token
    policy = {
        "expiration": (now + timedelta(seconds=expires_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "conditions": [
            *conditions,
            {"bucket": bucket},
            {"key": key},
            *({name: value} for name, value in signing.items()),
        ],
    }
    encoded = base64.b64encode(json.dumps(policy).encode()).decode()
    return PresignedPost(
        endpoint.bucket_url(bucket),
        {
            **fields,
            "key": key,
            **signing,
            "policy": encoded,
            "x-amz-signature": sign(
                encoded, signer=signer, date=moment[:8], region=endpoint.region
            ),
        },
    )
