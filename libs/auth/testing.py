"""A token issuer for tests: real keys and real signatures, without a network."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.auth._jwks import Algorithm
from libs.auth._key_source import JwksKeySource
from libs.auth._principal import DEFAULT_PERMISSIONS, PermissionTable
from libs.auth._verifier import AuthSettings, TokenVerifier

__all__ = ["PrivateKey", "TokenIssuer", "ec_key", "rsa_key"]

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_LIFE_SECONDS = 3600


@cache
def rsa_key(name: str = "default", bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, made once a process for each name."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=bits)


@cache
def ec_key(name: str = "default") -> ec.EllipticCurvePrivateKey:
    """A P-256 key, made once a process for each name."""
    return ec.generate_private_key(ec.SECP256R1())


class TokenIssuer:
    """Issues access tokens shaped like Cognito's and publishes the keys that verify them."""

    def __init__(
        self,
        *,
        issuer: str = "https://issuer.invalid/pool",
        client_id: str = "test-client",
        kid: str = "test-key",
        algorithm: Algorithm = "RS256",
        permissions: PermissionTable = DEFAULT_PERMISSIONS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.kid = kid
        self.algorithm: Algorithm = algorithm
        self.client_id = client_id
        self.private_key: PrivateKey = rsa_key(kid) if algorithm == "RS256" else ec_key(kid)
        self.settings = AuthSettings(
            issuer=issuer,
            jwks_url="https://issuer.invalid/pool/.well-known/jwks.json",
            client_ids=frozenset({client_id}),
            permissions=permissions,
        )
        self._now = now

    def claims(
        self, *, sub: str = "learner-a", groups: Iterable[str] = (), scopes: Iterable[str] = ()
    ) -> dict[str, object]:
        """The claims of an access token that is valid now."""
        now = int(self._now())
        claims: dict[str, object] = {
            "sub": sub,
            "iss": self.settings.issuer,
            "client_id": self.client_id,
            "token_use": "access",
            "scope": " ".join(scopes) or "aws.cognito.signin.user.admin",
            "auth_time": now,
            "iat": now,
            "exp": now + _LIFE_SECONDS,
            "jti": f"{sub}-{now}",
            "username": sub,
        }
        if groups:
            claims["cognito:groups"] = list(groups)
        return claims

    def token(
        self,
        *,
        sub: str = "learner-a",
        groups: Iterable[str] = (),
        scopes: Iterable[str] = (),
        **overrides: object,
    ) -> str:
        """A signed access token. Overrides replace claims; one that is None removes its claim."""
        merged = {**self.claims(sub=sub, groups=groups, scopes=scopes), **overrides}
        return self.sign({name: value for name, value in merged.items() if value is not None})

    def sign(self, claims: dict[str, object], **header: object) -> str:
        """Any claims signed with the issuer's key; ``header`` adds to or replaces its parameters."""
        return jwt.encode(
            claims,
            self.private_key,
            algorithm=self.algorithm,
            headers={"kid": self.kid, **header},
        )

    def jwk(self, **members: object) -> dict[str, object]:
        """The public key as a JWK; ``members`` adds to or replaces its members."""
        public = self.private_key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            jwk = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
        else:
            jwk = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, "kid": self.kid, "alg": self.algorithm, "use": "sig", **members}

    def jwks(self) -> dict[str, object]:
        """The key set, as the issuer publishes it."""
        return {"keys": [self.jwk()]}

    def public_bytes(self, encoding: Literal["pem", "der"] = "pem") -> bytes:
        """The public key as anybody can know it, for attacks that sign with it."""
        chosen = Encoding.PEM if encoding == "pem" else Encoding.DER
        return self.private_key.public_key().public_bytes(chosen, PublicFormat.SubjectPublicKeyInfo)

    async def fetch(self) -> bytes:
        """The key set's document, for `JwksKeySource`."""
        return json.dumps(self.jwks()).encode()

    def verifier(self) -> TokenVerifier:
        """A verifier that accepts this issuer's tokens; it reads the keys at its first token."""
        return TokenVerifier(self.settings, JwksKeySource(self.fetch), now=self._now)
