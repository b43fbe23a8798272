"""Questions to an image registry, by the OCI distribution API (ECR speaks it too).

Images are sent by the engine; this only asks what is there, because a version must never be
overwritten, and a command line that answers "no such manifest" also when it could not ask is no
ground to stand on.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from deploy.release._errors import ReleaseError

# What engines of all ages write, and lists of one image for several platforms.
_IMAGE_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_INDEX_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_SECONDS = 20.0
_MAX_BYTES = 4 * 2**20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", re.IGNORECASE)
_PREFIX = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True)
class Registry:
    """A registry and what the repositories in it begin with: `HOST[:PORT][/PREFIX]`."""

    host: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host

    def repository(self, name: str) -> str:
        """The path of a repository in it."""
        return f"{self.prefix}/{name}" if self.prefix else name


def registry_named(text: str) -> Registry:
    """What `--registry` means. Raises ReleaseError."""
    host, _, prefix = text.partition("/")
    is_host = _HOST.fullmatch(host) and ("." in host or ":" in host or host == "localhost")
    if not is_host or (prefix and not _PREFIX.fullmatch(prefix)):
        raise ReleaseError(f"--registry {text!r} is not HOST[:PORT][/PREFIX]")
    return Registry(host, prefix)


@dataclass(frozen=True)
class Login:
    """A user of a registry."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class StoredImage:
    """An image in a registry.

    Args:
        digest: of its manifest, by which it is deployed.
        labels: of its configuration.
        environment: as well.
        size: of its layers as they are stored, in bytes.
    """

    digest: str
    labels: Mapping[str, str]
    environment: Mapping[str, str]
    size: int


class RegistryClient:
    """One registry.

    Args:
        host: `HOST[:PORT]`; spoken to by https, but on this machine.
        login: None for what everybody may read.
    """

    def __init__(self, host: str, login: Login | None) -> None:
        here = is_loopback(host)
        self._host = host
        self._base = f"{'http' if here else 'https'}://{host}/v2"
        self._login = login
        self._authorization: str | None = None
        # A proxy of the environment does not lead to this machine.
        self._opener = urllib.request.build_opener(
            *([urllib.request.ProxyHandler({})] if here else [])
        )

    def image(self, repository: str, reference: str) -> StoredImage | None:
        """The image of a tag or digest; None where there is none. Raises ReleaseError."""
        found = self._manifest(repository, reference)
        if found is None:
            return None
        digest, manifest = found
        if manifest.get("mediaType") in _INDEX_TYPES or "manifests" in manifest:
            one = _of_linux(manifest)
            inner = self._manifest(repository, one) if one else None
            if inner is None:
                raise ReleaseError(f"{repository}:{reference} has no image for Linux")
            manifest = inner[1]
        try:
            wanted = str(manifest["config"]["digest"])
            size = sum(int(layer["size"]) for layer in manifest["layers"])
        except (KeyError, TypeError, ValueError):
            raise ReleaseError(f"{repository}:{reference} is no image") from None
        body = self._get(f"/{repository}/blobs/{wanted}", repository, accept=("*/*",))
        if body is None or f"sha256:{hashlib.sha256(body[0]).hexdigest()}" != wanted:
            raise ReleaseError(f"{self._host} does not give the configuration of {repository}")
        config = _json(body[0], self._host).get("config") or {}
        return StoredImage(
            digest=digest,
            labels=config.get("Labels") or {},
            environment=dict(entry.split("=", 1) for entry in config.get("Env") or []),
            size=size,
        )

    def _manifest(self, repository: str, reference: str) -> tuple[str, Mapping[str, Any]] | None:
        answer = self._get(
            f"/{repository}/manifests/{reference}",
            repository,
            accept=(*_IMAGE_TYPES, *_INDEX_TYPES),
        )
        if answer is None:
            return None
        digest = f"sha256:{hashlib.sha256(answer[0]).hexdigest()}"
        if _DIGEST.fullmatch(reference) and digest != reference:
            raise ReleaseError(f"{self._host} gives another manifest than {reference}")
        return digest, _json(answer[0], self._host)

    def _get(
        self, path: str, repository: str, *, accept: tuple[str, ...]
    ) -> tuple[bytes, Mapping[str, str]] | None:
        for attempt in (1, 2):
            request = urllib.request.Request(f"{self._base}{path}")  # noqa: S310 - http(s) above
            request.add_header("Accept", ", ".join(accept))
            if self._authorization:
                # Not to where a registry redirects for its blobs: that address is signed itself.
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                with self._opener.open(request, timeout=_SECONDS) as answer:
                    body = answer.read(_MAX_BYTES + 1)
                    if len(body) > _MAX_BYTES:
                        raise ReleaseError(f"{self._host} answers too much at {path}")
                    return body, dict(answer.headers)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 404:
                        return None
                    if error.code == 401 and attempt == 1:
                        self._authorization = self._authorize(
                            error.headers.get("WWW-Authenticate", ""), repository
                        )
                        continue
                raise ReleaseError(
                    f"the registry {self._host} answers {error.code} for {repository}"
                    + (": no or wrong credentials" if error.code in (401, 403) else "")
                ) from None
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                raise ReleaseError(
                    f"the registry {self._host} can not be reached ({reason})"
                ) from None
        raise AssertionError("unreachable")

    def _authorize(self, challenge: str, repository: str) -> str:
        """The header that answers a challenge of RFC 7235."""
        scheme, _, rest = challenge.partition(" ")
        basic = (
            "Basic "
            + base64.b64encode(f"{self._login.user}:{self._login.password}".encode()).decode()
            if self._login
            else None
        )
        if scheme.lower() == "basic":
            if basic is None:
                raise ReleaseError(f"the registry {self._host} wants credentials: docker login")
            return basic
        words = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = words.get("realm", "")
        if scheme.lower() != "bearer" or not realm.startswith(("https://", f"http://{self._host}")):
            raise ReleaseError(f"the registry {self._host} wants {scheme or 'unknown'} credentials")
        query = urllib.parse.urlencode(
            {"service": words.get("service", ""), "scope": f"repository:{repository}:pull"}
        )
        request = urllib.request.Request(f"{realm}?{query}")  # noqa: S310 - checked above
        if basic:
            request.add_unredirected_header("Authorization", basic)
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                found = _json(answer.read(_MAX_BYTES), self._host)
        except (OSError, HTTPException):
            raise ReleaseError(
                f"the registry {self._host} gives no token: no or wrong credentials"
            ) from None
        token = found.get("token") or found.get("access_token")
        return f"Bearer {token}"


def is_loopback(host: str) -> bool:
    """Whether `HOST[:PORT]` is this machine, where plain http is as good."""
    name = host.rsplit(":", 1)[0] if ":" in host else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _of_linux(index: Mapping[str, Any]) -> str | None:
    for one in index.get("manifests") or ():
        platform = one.get("platform") or {}
        # An entry of an unknown architecture is an attestation, not an image.
        if platform.get("os") == "linux" and platform.get("architecture") != "unknown":
            return str(one["digest"])
    return None


def _json(body: bytes, host: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ReleaseError(f"the registry {host} does not answer as a registry")
    return found
