"""Pre-signed S3 URLs by Signature Version 4 in the query, made locally.

Owns the algorithm, byte for byte as botocore's (a test compares them) and without its cost.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import quote, urlsplit

from libs.aws._credentials import Signer

PresignedMethod = Literal["get_object", "head_object"]

# The longest life that Signature Version 4 allows: a week.
MAX_EXPIRES_SECONDS = 604_800
_HTTP_METHODS: Mapping[str, str] = {"get_object": "GET", "head_object": "HEAD"}
_QUERY_NAMES: Mapping[str, str] = {
    "ResponseCacheControl": "response-cache-control",
    "ResponseContentDisposition": "response-content-disposition",
    "ResponseContentEncoding": "response-content-encoding",
    "ResponseContentLanguage": "response-content-language",
    "ResponseContentType": "response-content-type",
    "ResponseExpires": "response-expires",
    "VersionId": "versionId",
}


@dataclass(frozen=True)
class S3Endpoint:
    """Where S3 is: the client's own endpoint (`https://s3.<region>.amazonaws.com`) and region."""

    url: str
    region: str

    def address(self, bucket: str, key: str) -> tuple[str, str, str]:
        """Scheme, host and absolute path of an object.

        The bucket is part of the host, except where that host could not exist (an address in
        numbers, a custom host without a domain) or no certificate would fit (a bucket with dots).
        """
        parts = urlsplit(self.url)
        path = quote(key, safe="/~")
        host = parts.netloc
        fits_certificate = parts.scheme == "http" or "." not in bucket
        if _takes_subdomains(parts.hostname or "") and fits_certificate:
            return parts.scheme, f"{bucket}.{host}", f"/{path}"
        return parts.scheme, host, f"/{bucket}/{path}"


def presign(
    method: PresignedMethod,
    params: Mapping[str, str],
    *,
    expires_seconds: int,
    endpoint: S3Endpoint,
    signer: Signer,
    now: datetime,
) -> str:
    """A URL that does `method` without further credentials for `expires_seconds` from `now`.

    `params` as the SDK names them: Bucket, Key, and for answers ResponseContentType etc. Raises
    ValueError for a life outside 1 s to 7 days and for parameters that are not known here.
    """
    if not 1 <= expires_seconds <= MAX_EXPIRES_SECONDS:
        raise ValueError(f"a URL lives 1 to {MAX_EXPIRES_SECONDS} seconds, not {expires_seconds}")
    unknown = params.keys() - _QUERY_NAMES.keys() - {"Bucket", "Key"}
    if unknown:
        raise ValueError(f"cannot pre-sign with {', '.join(sorted(unknown))}")
    scheme, host, path = endpoint.address(params["Bucket"], params["Key"])
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{endpoint.region}/s3/aws4_request"
    query = {_QUERY_NAMES[name]: value for name, value in params.items() if name in _QUERY_NAMES}
    query |= {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{signer.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if signer.token is not None:
        query["X-Amz-Security-Token"] = signer.token
    canonical = "\n".join(
        (
            _HTTP_METHODS[method],
            path,
            _encoded(sorted(query.items())),
            f"host:{host}",
            "",
            "host",
            "UNSIGNED-PAYLOAD",
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.new(
        _signing_key(signer.secret_key, moment[:8], endpoint.region), to_sign.encode(), "sha256"
    ).hexdigest()
    return f"{scheme}://{host}{path}?{_encoded(list(query.items()))}&X-Amz-Signature={signature}"


def _encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs
    )


def _signing_key(secret: str, date: str, region: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _takes_subdomains(hostname: str) -> bool:
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return True
    return False
