"""A hostile or broken key set changes nothing: it is refused whole, or its bad keys are left out."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.auth import InvalidJwksError
from libs.auth._jwks import parse_jwks
from libs.auth.testing import TokenIssuer, rsa_key

RSA = TokenIssuer(kid="rsa")
EC = TokenIssuer(kid="ec", algorithm="ES256")


def document(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_both_kinds_of_keys_are_read() -> None:
    keys = parse_jwks(document(RSA.jwk(), EC.jwk()))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"rsa": "RS256", "ec": "ES256"}


def test_what_cognito_publishes_is_read() -> None:
    keys = parse_jwks(document(RSA.jwk(kid="id="), EC.jwk(alg="ES256", key_ops=["verify"])))
    assert set(keys) == {"id=", "ec"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": []}',
        b'{"keys": [',
        b"<html>",
        b"\xff\xfe",
        b'{"keys": [], "keys": []}',
        b'{"keys": ' + b"[" * 200_000,
        b'{"keys": [NaN]}',
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_not_a_key_set_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidJwksError):
        parse_jwks(raw)


def test_a_huge_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidJwksError, match="large"):
        parse_jwks(document(RSA.jwk(padding="x" * 300_000)))


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(InvalidJwksError, match="many"):
        parse_jwks(document(*(RSA.jwk(kid=str(number)) for number in range(65))))


@pytest.mark.parametrize(
    "other",
    [EC.jwk(kid="rsa"), RSA.jwk(use="enc"), {"kty": "oct", "k": "AAAA", "kid": "rsa"}],
    ids=["ec", "encryption", "symmetric"],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_kid_named_twice_is_refused_whatever_the_keys_are(
    other: dict[str, object], first: bool
) -> None:
    keys = [other, RSA.jwk()] if first else [RSA.jwk(), other]
    with pytest.raises(InvalidJwksError, match="twice"):
        parse_jwks(document(*keys))


PUBLIC = rsa_key("rsa").public_key().public_numbers()


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "key",
        [],
        {},
        {"kid": "bad"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "bad", "alg": "HS256"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "bad"},
        RSA.jwk(kid="bad", k="c2VjcmV0"),
        RSA.jwk(kid="bad", d="AQAB"),
        RSA.jwk(kid="bad", p="AQAB"),
        RSA.jwk(kid="bad", oth=[]),
        EC.jwk(kid="bad", d="AQAB"),
        RSA.jwk(kid=None),
        RSA.jwk(kid=1),
        RSA.jwk(kid=["bad"]),
        RSA.jwk(kid=""),
        RSA.jwk(kid="b" * 129),
        RSA.jwk(kid="bad", use="enc"),
        RSA.jwk(kid="bad", key_ops=["sign"]),
        RSA.jwk(kid="bad", key_ops="verify"),
        RSA.jwk(kid="bad", alg="RS512"),
        RSA.jwk(kid="bad", alg="HS256"),
        RSA.jwk(kid="bad", alg="ES256"),
        RSA.jwk(kid="bad", alg=None),
        RSA.jwk(kid="bad", kty="EC"),
        RSA.jwk(kid="bad", kty=["RSA"]),
        RSA.jwk(kid="bad", n=number(PUBLIC.n >> 1024 | 1)),
        RSA.jwk(kid="bad", n=number(PUBLIC.n - 1)),
        RSA.jwk(kid="bad", n=number((1 << 8200) | 1)),
        RSA.jwk(kid="bad", n="!!!!"),
        RSA.jwk(kid="bad", n=""),
        RSA.jwk(kid="bad", n=1),
        RSA.jwk(kid="bad", n=None),
        RSA.jwk(kid="bad", e=number(1)),
        RSA.jwk(kid="bad", e=number(3)),
        RSA.jwk(kid="bad", e=number(65_538)),
        RSA.jwk(kid="bad", e=number(2**64 + 1)),
        EC.jwk(kid="bad", crv="P-384"),
        EC.jwk(kid="bad", crv="secp256k1"),
        EC.jwk(kid="bad", x=EC.jwk()["y"]),
        EC.jwk(kid="bad", x="AAAA"),
        EC.jwk(kid="bad", y=None),
        EC.jwk(kid="bad", alg="RS256"),
    ],
    ids=lambda entry: json.dumps(entry)[:60],
)
def test_a_key_that_may_not_verify_is_left_out_and_the_others_stay(entry: object) -> None:
    assert set(parse_jwks(document(entry, RSA.jwk()))) == {"rsa"}
    with pytest.raises(InvalidJwksError):
        parse_jwks(document(entry))


def test_certificates_beside_a_key_are_not_read() -> None:
    keys = parse_jwks(document(RSA.jwk(x5u="https://attacker.invalid", x5c=["AAAA"])))
    assert set(keys) == {"rsa"}


@settings(deadline=None)  # a busy machine is not a failure
@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner)
        | st.dictionaries(st.sampled_from(["keys", "kid", "kty", "n", "e"]), inner),
    ).map(lambda value: json.dumps({"keys": [value]}).encode())
)
def test_any_document_is_refused_as_a_key_set(raw: bytes) -> None:
    with pytest.raises(InvalidJwksError):
        parse_jwks(raw)


@given(changed=st.integers(0, 63), bit=st.integers(0, 7))
@settings(max_examples=30)
def test_a_signature_of_es256_is_both_numbers_at_their_full_length(changed: int, bit: int) -> None:
    """RFC 7518 section 3.4; and every bit of it counts."""
    token = EC.token()
    signed, _, encoded = token.rpartition(".")
    signature = base64.urlsafe_b64decode(encoded + "==")
    key = parse_jwks(document(EC.jwk()))["ec"]
    assert len(signature) == 64
    assert key.verifies(signed.encode(), signature)
    other = bytearray(signature)
    other[changed] ^= 1 << bit
    as_der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    for wrong in (bytes(other), as_der, signature[:-1], signature + b"\0", b"\0" * 64, b""):
        assert not key.verifies(signed.encode(), wrong)
