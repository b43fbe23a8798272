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
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from libs.aws._credentials import Signer

PresignedMethod = Literal["get_object", "head_object", "upload_part"]

# The longest life that Signature Version 4 allows: a week.
MAX_EXPIRES_SECONDS = 604_800
_HTTP_METHODS: Mapping[str, str] = {
    "get_object": "GET",
    "head_object": "HEAD",
    "upload_part": "PUT",
}
# Signed as headers: who uses the URL has to send exactly these.
_HEADER_NAMES: Mapping[str, str] = {"ContentLength": "content-length"}
_QUERY_NAMES: Mapping[str, str] = {
    "PartNumber": "partNumber",
    "ResponseCacheControl": "response-cache-control",
    "ResponseContentDisposition": "response-content-disposition",
    "ResponseContentEncoding": "response-content-encoding",
    "ResponseContentLanguage": "response-content-language",
    "ResponseContentType": "response-content-type",
    "ResponseExpires": "response-expires",
    "UploadId": "uploadId",
    "VersionId": "versionId",
}

_KNOWN = frozenset({"Bucket", "Key", *_QUERY_NAMES, *_HEADER_NAMES})


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
        path = _quoted_path(key)
        scheme, host, is_subdomain = _place(self.url, bucket)
        return scheme, host, f"/{path}" if is_subdomain else f"/{bucket}/{path}"

    def bucket_url(self, bucket: str) -> str:
        """The address of the bucket itself, by the same rule."""
        scheme, host, is_subdomain = _place(self.url, bucket)
        return f"{scheme}://{host}/" if is_subdomain else f"{scheme}://{host}/{bucket}"


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

    `params` as the SDK names them, as texts: Bucket, Key, for answers ResponseContentType etc.,
    for parts UploadId, PartNumber and ContentLength, which binds the body to that many bytes.
    Raises ValueError for a life outside 1 s to 7 days and for parameters that are not known here.
    """
    require_life(expires_seconds)
    if not params.keys() <= _KNOWN:
        unknown = params.keys() - _KNOWN
        raise ValueError(f"cannot pre-sign with {', '.join(sorted(unknown))}")
    scheme, host, path = endpoint.address(params["Bucket"], params["Key"])
    moment, scope = moment_and_scope(now, endpoint.region)
    headers, query = {"host": host}, {}
    for name, value in params.items():
        if name in _QUERY_NAMES:
            query[_QUERY_NAMES[name]] = value
        elif name in _HEADER_NAMES:
            headers[_HEADER_NAMES[name]] = value
    signed_headers = ";".join(sorted(headers))
    credential = f"{signer.access_key}/{scope}"
    fixed = _fixed_pairs(credential, signer.token, moment, expires_seconds, signed_headers)
    # Names need no quoting, and each of these comes after `X-Amz-`: their order is that of the pairs.
    pairs = [f"{name}={_quoted(value)}" for name, value in query.items()]
    canonical = "\n".join(
        (
            _HTTP_METHODS[method],
            path,
            "&".join([fixed.canonical, *sorted(pairs)]),
            *[f"{name}:{headers[name]}" for name in sorted(headers)],
            "",
            signed_headers,
            "UNSIGNED-PAYLOAD",
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = sign(to_sign, signer=signer, date=moment[:8], region=endpoint.region)
    pairs.append(fixed.sent)
    return f"{scheme}://{host}{path}?{'&'.join(pairs)}&X-Amz-Signature={signature}"


def require_life(expires_seconds: int) -> None:
    """Raise ValueError for a life that Signature Version 4 does not allow."""
    if not 1 <= expires_seconds <= MAX_EXPIRES_SECONDS:
        raise ValueError(f"a URL lives 1 to {MAX_EXPIRES_SECONDS} seconds, not {expires_seconds}")


# Whoever signs as of the beginning of a window asks for the same instant again and again.
@lru_cache(maxsize=64)
def moment_and_scope(now: datetime, region: str) -> tuple[str, str]:
    """`X-Amz-Date` of an instant in UTC, and the credential scope of its day."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    return moment, f"{moment[:8]}/{region}/s3/aws4_request"


def sign(text: str, *, signer: Signer, date: str, region: str) -> str:
    """The signature of `text` with the key that is derived for one day, region and S3."""
    key = _signing_key(signer.secret_key, date, region)
    return hmac.digest(key, text.encode(), "sha256").hex()


# What follows is asked for again and again: the key changes with the day and the credentials, an
# endpoint's place never, and of a URL's values only the object and its name differ between two.
@lru_cache(maxsize=4)
def _signing_key(secret_key: str, date: str, region: str) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class _FixedPairs(NamedTuple):
    """The pairs of a query that many URLs share: in the canonical order, and in that of the SDK."""

    canonical: str
    sent: str


@lru_cache(maxsize=64)
def _fixed_pairs(
    credential: str, token: str | None, moment: str, expires_seconds: int, signed_headers: str
) -> _FixedPairs:
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": credential,
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_seconds),
        "X-Amz-SignedHeaders": signed_headers,
    }
    if token is not None:
        query["X-Amz-Security-Token"] = token
    pairs = [f"{name}={_quoted(value)}" for name, value in query.items()]
    return _FixedPairs("&".join(sorted(pairs)), "&".join(pairs))


@lru_cache(maxsize=64)
def _place(url: str, bucket: str) -> tuple[str, str, bool]:
    parts = urlsplit(url)
    fits_certificate = parts.scheme == "http" or "." not in bucket
    if _takes_subdomains(parts.hostname or "") and fits_certificate:
        return parts.scheme, f"{bucket}.{parts.netloc}", True
    return parts.scheme, parts.netloc, False


@lru_cache(maxsize=1_024)
def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


@lru_cache(maxsize=1_024)
def _quoted_path(key: str) -> str:
    return quote(key, safe="/~")


def _takes_subdomains(hostname: str) -> bool:
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return True
    return False
