"""Who may use the image registry: Docker's protocol on `/v2/`, with passwords from ECR's login.

MiniStack's registry asks nobody who they are. Here a password is handed out by GetAuthorizationToken,
stands for the access key that asked, and allows what this key's policies allow on ECR, no more.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

USER = "AWS"
PASSWORD_SECONDS = 12 * 3600  # ECR's

_MAXIMUM_PASSWORDS = 1000
_PATH = re.compile(
    r"/v2/(?:(?P<name>[a-z0-9][a-z0-9._/-]*)/(?P<kind>blobs|manifests|tags)/(?P<rest>.+))?"
)

Permitted = Callable[[str, str, str], bool]


class Admission(Enum):
    """What becomes of a request to the registry."""

    ADMITTED = "admitted"
    UNKNOWN = "unknown"  # who it is; Docker then sends the password
    DENIED = "denied"


@dataclass(frozen=True)
class _Password:
    access_key: str | None  # None: the embedded AWS itself, for the pulls of its tasks
    expires_at: float


class RegistryLogin:
    """Passwords for the registry, and what they are good for.

    Args:
        permitted: whether an access key may do an action of ECR's on a repository.
        now: Unix time.
    """

    def __init__(self, permitted: Permitted, *, now: Callable[[], float]) -> None:
        self._permitted = permitted
        self._now = now
        self._passwords: dict[str, _Password] = {}
        self.own_password = secrets.token_urlsafe(32)

    def issue(self, access_key: str) -> tuple[str, float]:
        """A password for whoever has this key, and when it expires."""
        now = self._now()
        for old in [key for key, one in self._passwords.items() if one.expires_at <= now]:
            del self._passwords[old]
        while len(self._passwords) >= _MAXIMUM_PASSWORDS:
            del self._passwords[next(iter(self._passwords))]
        password = secrets.token_urlsafe(32)
        self._passwords[password] = _Password(access_key, now + PASSWORD_SECONDS)
        return password, now + PASSWORD_SECONDS

    def admit(self, method: str, path: str, authorization: str | None) -> Admission:
        """Whether a request may go on to the registry."""
        found = _PATH.fullmatch(path)
        password = _basic_password(authorization)
        if found is None or password is None:
            return Admission.DENIED if found is None else Admission.UNKNOWN
        if secrets.compare_digest(password.encode(), self.own_password.encode()):
            reads = method in ("GET", "HEAD")
            return Admission.ADMITTED if reads else Admission.DENIED
        # A password is looked up by itself: it is random and long, its timing tells nothing of use.
        known = self._passwords.get(password)
        if known is None or known.expires_at <= self._now():
            return Admission.UNKNOWN
        if found["name"] is None:
            return Admission.ADMITTED  # only whether the password is good
        action = _action(method, found["kind"])
        assert known.access_key is not None
        if action is None or not self._permitted(known.access_key, action, found["name"]):
            return Admission.DENIED
        return Admission.ADMITTED


def is_registry_path(path: str) -> bool:
    """Whether this is a path of the registry's."""
    return path == "/v2" or path.startswith("/v2/")


def _action(method: str, kind: str) -> str | None:
    """The action of ECR's that a request is, as ECR's own registry takes it."""
    match method, kind:
        case "HEAD", "blobs":
            return "ecr:BatchCheckLayerAvailability"
        case "GET", "blobs":
            return "ecr:GetDownloadUrlForLayer"
        case (("GET" | "HEAD"), "manifests"):
            return "ecr:BatchGetImage"
        case "GET", "tags":
            return "ecr:ListImages"
        case (("POST" | "PATCH" | "PUT"), "blobs"):
            return "ecr:UploadLayerPart"
        case "PUT", "manifests":
            return "ecr:PutImage"
    return None  # nothing is deleted by Docker's protocol, on ECR either


def _basic_password(authorization: str | None) -> str | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == USER else None
