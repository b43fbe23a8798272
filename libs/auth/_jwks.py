"""Reads an issuer's JSON Web Key Set (RFC 7517) and keeps only keys that may verify our tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.auth._json import decode_base64url, decode_object

Algorithm: TypeAlias = Literal["RS256", "ES256"]

_MAX_KEYS = 64
_MAX_KID = 128
_MAX_DOCUMENT_BYTES = 262_144
# NIST SP 800-131A asks for 2,048 bits at least; the upper bounds keep one verification cheap.
_RSA_BITS = range(2_048, 8_193)
# FIPS 186-5 section 5.4: an odd exponent above 2**16.
_RSA_EXPONENTS = range(65_537, 2**32, 2)
_P256_OCTETS = 32  # RFC 7518 section 6.2.1.2
# RFC 7518 sections 6.2.2, 6.3.2 and 6.4: what only private and symmetric keys have.
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class InvalidJwksError(Exception):
    """A key set that cannot be trusted as a whole."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, bound to the one algorithm it verifies."""

    kid: str
    algorithm: Algorithm
    public_key: RSAPublicKey | EllipticCurvePublicKey
    fingerprint: bytes

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature over the bytes was made with this key's private half."""
        try:
            if isinstance(self.public_key, RSAPublicKey):
                # RFC 7518 section 3.3.
                self.public_key.verify(signature, signing_input, PKCS1v15(), SHA256())
            else:
                self.public_key.verify(_es256_as_der(signature), signing_input, ECDSA(SHA256()))
        except Exception:
            # A wrong signature; and whatever a hostile one provokes inside the library, it is not
            # a proof.
            return False
        return True


def parse_jwks(document: bytes) -> Mapping[str, VerificationKey]:
    """The usable keys by kid.

    Keys that are symmetric, private-looking, too small, of another curve, or meant for something
    else are left out. Raises InvalidJwksError when the document is too large, is not a key set,
    names a kid twice or holds no usable key.
    """
    if len(document) > _MAX_DOCUMENT_BYTES:
        raise InvalidJwksError("the key set is too large")
    parsed = decode_object(document)
    entries = parsed.get("keys") if parsed is not None else None
    if not isinstance(entries, list):
        raise InvalidJwksError("not a key set")
    if len(entries) > _MAX_KEYS:
        raise InvalidJwksError("the key set has too many keys")
    kids = [entry["kid"] for entry in entries if isinstance(entry, dict) and "kid" in entry]
    if any(kids.count(kid) > 1 for kid in kids):
        raise InvalidJwksError("the key set names a kid twice")
    keys = [key for key in map(_usable, entries) if key is not None]
    if not keys:
        raise InvalidJwksError("the key set has no usable key")
    return {key.kid: key for key in keys}


def _es256_as_der(signature: bytes) -> bytes:
    # RFC 7518 section 3.4: both numbers at their full length, one after the other.
    if len(signature) != 2 * _P256_OCTETS:
        raise ValueError("not a signature of ES256")
    r, s = signature[:_P256_OCTETS], signature[_P256_OCTETS:]
    return encode_dss_signature(int.from_bytes(r), int.from_bytes(s))


def _usable(entry: object) -> VerificationKey | None:
    if not isinstance(entry, dict) or not _PRIVATE_MEMBERS.isdisjoint(entry):
        return None
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID:
        return None
    if entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    algorithm: Algorithm
    key: RSAPublicKey | EllipticCurvePublicKey | None
    if entry.get("kty") == "RSA":
        algorithm, key = "RS256", _rsa_key(entry)
    elif entry.get("kty") == "EC" and entry.get("crv") == "P-256":
        algorithm, key = "ES256", _ec_key(entry)
    else:
        return None
    if key is None or entry.get("alg", algorithm) != algorithm:
        return None
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerificationKey(kid, algorithm, key, hashlib.sha256(public).digest())


def _rsa_key(entry: Mapping[str, object]) -> RSAPublicKey | None:
    modulus, exponent = (int.from_bytes(_octets(entry.get(name))) for name in ("n", "e"))
    if modulus % 2 == 0 or modulus.bit_length() not in _RSA_BITS or exponent not in _RSA_EXPONENTS:
        return None
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return None


def _ec_key(entry: Mapping[str, object]) -> EllipticCurvePublicKey | None:
    x, y = _octets(entry.get("x")), _octets(entry.get("y"))
    if len(x) != _P256_OCTETS or len(y) != _P256_OCTETS:
        return None
    try:
        point = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1())
        return point.public_key()
    except ValueError:  # not a point of the curve
        return None


def _octets(value: object) -> bytes:
    return (decode_base64url(value) if isinstance(value, str) else None) or b""
