"""One test for each known way to pass off a token that proves nothing (RFC 8725, api.md)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import string
import traceback
from collections.abc import Callable, Mapping

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.auth import InvalidTokenError, JwksKeySource, TokenVerifier
from libs.auth.testing import TokenIssuer, rsa_key
from libs.logging.testing import captured_logs

NOW = 1_767_323_045.0
ISSUER = TokenIssuer(kid="pool-key", now=lambda: NOW)


def b64(value: bytes | Mapping[str, object]) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed_by_hand(
    header: bytes | Mapping[str, object], payload: bytes | Mapping[str, object]
) -> str:
    """A token with a valid signature over exactly these bytes, however odd they are."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(signing_input.encode(), ISSUER.private_key)
    return f"{signing_input}.{b64(signature)}"


HEADER: dict[str, object] = {"alg": "RS256", "kid": "pool-key", "typ": "JWT"}


async def refusal(token: str, verifier: TokenVerifier | None = None) -> str:
    """The reason why the token is refused; asserts that no part of it shows anywhere."""
    with captured_logs() as events, pytest.raises(InvalidTokenError) as refused:
        await (verifier or ISSUER.verifier()).verify(token)
    error = refused.value
    shown = "".join(
        [
            *traceback.format_exception(error),
            repr(error),
            repr(vars(error)),
            error.description,
            json.dumps(events),
        ]
    )
    for part in token.split("."):
        assert len(part) < 16 or part not in shown
    assert error.__cause__ is None
    assert error.__context__ is None
    assert str(error) == error.reason
    return error.reason


async def test_the_hand_made_tokens_of_this_page_are_otherwise_good() -> None:
    """Without this, a test below could pass for a reason that is not its own."""
    principal = await ISSUER.verifier().verify(signed_by_hand(HEADER, ISSUER.claims()))
    assert principal.subject == "learner-a"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None])
@pytest.mark.parametrize("signature", ["", "AA", b64(b"\x00" * 256)])
async def test_alg_none(alg: str | None, signature: str) -> None:
    token = f"{b64({**HEADER, 'alg': alg})}.{b64(ISSUER.claims())}.{signature}"
    assert await refusal(token) == ("algorithm" if signature else "malformed")


@pytest.mark.parametrize("encoding", ["pem", "der"])
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_hmac_with_the_public_key_as_secret(alg: str, encoding: str) -> None:
    secret = ISSUER.public_bytes("pem" if encoding == "pem" else "der")
    signing_input = f"{b64({**HEADER, 'alg': alg})}.{b64(ISSUER.claims())}"
    signature = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
    assert await refusal(f"{signing_input}.{b64(signature)}") == "algorithm"


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "ES384", "ES256K", "EdDSA", "rs256"])
async def test_algorithms_that_are_not_accepted(alg: str) -> None:
    token = f"{b64({**HEADER, 'alg': alg})}.{b64(ISSUER.claims())}.{b64(b'x' * 256)}"
    assert await refusal(token) == "algorithm"


@pytest.mark.parametrize("alg", [["RS256"], {"RS256": 1}, 256, True])
async def test_an_algorithm_that_is_not_a_text(alg: object) -> None:
    assert await refusal(signed_by_hand({**HEADER, "alg": alg}, ISSUER.claims())) == "algorithm"


async def test_an_rs256_token_under_an_ec_keys_kid_and_the_other_way_round() -> None:
    ec = TokenIssuer(kid="ec-key", algorithm="ES256", now=lambda: NOW)

    async def both() -> bytes:
        return json.dumps({"keys": [ISSUER.jwk(), ec.jwk()]}).encode()

    verifier = TokenVerifier(ISSUER.settings, JwksKeySource(both), now=lambda: NOW)
    assert (await verifier.verify(ec.token())).subject == "learner-a"
    claims = ISSUER.claims()
    assert await refusal(ec.sign(claims, kid="pool-key"), verifier) == "algorithm"
    assert await refusal(ISSUER.sign(claims, kid="ec-key"), verifier) == "algorithm"


async def test_an_algorithm_named_in_the_header_that_the_signature_is_not() -> None:
    ec = TokenIssuer(kid="pool-key", algorithm="ES256", now=lambda: NOW)
    _, payload, signature = ec.token().split(".")
    assert await refusal(f"{b64(HEADER)}.{payload}.{signature}") == "signature"


@pytest.mark.parametrize("kid", ["another-key", "", "POOL-KEY", "pool-key ", "../pool-key", "\x00"])
async def test_an_unknown_kid(kid: str) -> None:
    assert await refusal(ISSUER.sign(ISSUER.claims(), kid=kid)) == "unknown_key"


@pytest.mark.parametrize("kid", [None, 1, ["pool-key"], {"kid": "pool-key"}])
async def test_a_kid_that_is_not_a_text(kid: object) -> None:
    assert await refusal(signed_by_hand({**HEADER, "kid": kid}, ISSUER.claims())) == "unknown_key"


async def test_no_kid() -> None:
    assert await refusal(signed_by_hand({"alg": "RS256"}, ISSUER.claims())) == "unknown_key"


@pytest.mark.parametrize(
    "parameters",
    [
        {"jwk": TokenIssuer(kid="attackers").jwk()},
        {"jku": "https://attacker.invalid/jwks.json"},
        {"x5u": "https://attacker.invalid/chain.pem"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"jwk": None},
    ],
    ids=lambda parameters: "+".join(parameters),
)
async def test_a_header_that_brings_a_key_or_changes_the_reading(
    parameters: dict[str, object],
) -> None:
    assert await refusal(signed_by_hand({**HEADER, **parameters}, ISSUER.claims())) == "header"


async def test_a_key_brought_along_is_not_used_to_verify() -> None:
    attacker = TokenIssuer(kid="attackers", now=lambda: NOW)
    token = attacker.sign(ISSUER.claims(), kid="pool-key", jwk=attacker.jwk(kid="pool-key"))
    assert await refusal(token) == "header"


@pytest.mark.parametrize("kind", ["JOSE", "logout+jwt", "", 1, None, ["JWT"]])
async def test_a_jwt_of_another_type(kind: object) -> None:
    assert await refusal(signed_by_hand({**HEADER, "typ": kind}, ISSUER.claims())) == "header"


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_types_of_access_tokens_are_accepted(kind: str) -> None:
    token = signed_by_hand({**HEADER, "typ": kind}, ISSUER.claims())
    assert (await ISSUER.verifier().verify(token)).subject == "learner-a"


async def test_a_token_signed_by_someone_else_under_a_known_kid() -> None:
    attacker = TokenIssuer(kid="attackers", now=lambda: NOW)
    assert await refusal(attacker.sign(ISSUER.claims(), kid="pool-key")) == "signature"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://issuer.invalid/other-pool",
        "https://issuer.invalid/pool/",
        "https://ISSUER.invalid/pool",
        "",
    ],
)
async def test_another_issuer(issuer: str) -> None:
    assert await refusal(ISSUER.token(iss=issuer)) == "issuer"


async def test_a_token_of_another_pool_with_its_own_keys() -> None:
    other = TokenIssuer(kid="other-pool", issuer="https://issuer.invalid/other", now=lambda: NOW)
    assert await refusal(other.token()) == "unknown_key"


@pytest.mark.parametrize("client", ["other-client", "", "TEST-CLIENT"])
async def test_another_client(client: str) -> None:
    assert await refusal(ISSUER.token(client_id=client)) == "client"


async def test_a_client_id_of_another_client_is_not_saved_by_a_good_audience() -> None:
    assert await refusal(ISSUER.token(client_id="other-client", aud="test-client")) == "client"


@pytest.mark.parametrize("audience", ["test-client", ["other", "test-client"]])
async def test_an_audience_stands_in_for_a_client_id(audience: object) -> None:
    token = ISSUER.token(client_id=None, aud=audience)
    assert (await ISSUER.verifier().verify(token)).subject == "learner-a"


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        ("other", "client"),
        (["other"], "client"),
        ([], "claims"),
        ([1], "claims"),
        ({"test-client": 1}, "claims"),
    ],
)
async def test_another_audience(audience: object, reason: str) -> None:
    assert await refusal(ISSUER.token(client_id=None, aud=audience)) == reason


async def test_an_id_token_in_place_of_an_access_token() -> None:
    claims: dict[str, object] = {
        "sub": "learner-a",
        "iss": ISSUER.settings.issuer,
        "aud": "test-client",
        "token_use": "id",
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        "cognito:username": "learner-a",
    }
    assert await refusal(ISSUER.sign(claims)) == "token_use"


@pytest.mark.parametrize("use", ["refresh", "Access", ""])
async def test_another_use(use: str) -> None:
    assert await refusal(ISSUER.token(token_use=use)) == "token_use"


async def accepted(**claims: object) -> bool:
    try:
        await ISSUER.verifier().verify(ISSUER.sign({**ISSUER.claims(), **claims}))
    except InvalidTokenError as error:
        if error.reason not in ("expired", "not_yet_valid"):
            raise
        return False
    return True


async def test_expiry_with_sixty_seconds_of_skew_and_not_one_more() -> None:
    assert await accepted(exp=NOW + 1)
    assert await accepted(exp=NOW - 59)
    assert not await accepted(exp=NOW - 60)
    assert not await accepted(exp=0)
    assert await refusal(ISSUER.token(exp=NOW - 61)) == "expired"


async def test_not_yet_valid() -> None:
    assert await accepted(nbf=NOW)
    assert await accepted(nbf=NOW + 60)
    assert not await accepted(nbf=NOW + 61)
    assert await refusal(ISSUER.token(nbf=NOW + 3600)) == "not_yet_valid"


async def test_issued_in_the_future() -> None:
    assert await accepted(iat=NOW + 60)
    assert not await accepted(iat=NOW + 61)
    assert not await accepted(iat=NOW + 61, nbf=NOW)
    assert await refusal(ISSUER.token(iat=NOW + 3600)) == "not_yet_valid"


@pytest.mark.parametrize("claim", ["sub", "iss", "client_id", "token_use", "iat", "exp"])
async def test_a_missing_claim(claim: str) -> None:
    claims = ISSUER.claims()
    del claims[claim]
    assert await refusal(ISSUER.sign(claims)) == "claims"


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    ["9999999999", "", None, True, [], {}, -1, 1e300, 10**400, 253_402_300_800],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:12]}",
)
async def test_a_date_that_is_not_a_number_of_seconds(claim: str, value: object) -> None:
    token = signed_by_hand(HEADER, {**ISSUER.claims(), claim: value})
    assert await refusal(token) == "claims"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
async def test_a_date_that_json_does_not_have(constant: str) -> None:
    payload = json.dumps({**ISSUER.claims(), "exp": "EXP"}).replace('"EXP"', constant)
    assert await refusal(signed_by_hand(HEADER, payload.encode())) == "malformed"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("sub", 1),
        ("iss", ["https://issuer.invalid/pool"]),
        ("client_id", ["test-client"]),
        ("token_use", ["access"]),
        ("scope", ["catalog/write"]),
        ("username", {"a": 1}),
        ("cognito:groups", "staff"),
        ("cognito:groups", {"staff": True}),
        ("cognito:groups", ["staff", 1]),
        ("cognito:groups", None),
    ],
)
async def test_a_claim_of_another_type(claim: str, value: object) -> None:
    token = signed_by_hand(HEADER, {**ISSUER.claims(), claim: value})
    assert await refusal(token) == "claims"


@pytest.mark.parametrize(
    "subject",
    ["", " ", "a b", "a/b", "../a", "a#b", "a\x00", "a\n", "a" * 65, "é", "a.b", "a:b", "%2e"],
)
async def test_a_subject_that_is_no_id(subject: str) -> None:
    assert await refusal(ISSUER.token(sub=subject)) == "subject"


@pytest.mark.parametrize(
    "subject", ["a", "A_b-9", "a" * 64, "8d0f6b1e-0c1c-4a0e-9a8a-0c6d8a3c7f10"]
)
async def test_a_subject_that_is_an_id(subject: str) -> None:
    assert (await ISSUER.verifier().verify(ISSUER.token(sub=subject))).subject == subject


@pytest.mark.parametrize("keep", [0, 1, 100])
async def test_a_stripped_or_shortened_signature(keep: int) -> None:
    start, _, signature = ISSUER.token().rpartition(".")
    reason = await refusal(f"{start}.{signature[:keep]}")
    assert reason in ("malformed", "signature")


async def test_no_signature_part() -> None:
    assert await refusal(ISSUER.token().rpartition(".")[0]) == "malformed"


async def test_a_tampered_payload() -> None:
    header, _, signature = ISSUER.token().split(".")
    payload = b64({**ISSUER.claims(), "cognito:groups": ["staff"]})
    assert await refusal(f"{header}.{payload}.{signature}") == "signature"


async def test_a_tampered_header() -> None:
    _, payload, signature = ISSUER.token().split(".")
    assert await refusal(f"{b64({**HEADER, 'extra': 1})}.{payload}.{signature}") == "signature"


async def test_a_signature_taken_from_another_token() -> None:
    start = ISSUER.token(groups=["staff"]).rpartition(".")[0]
    signature = ISSUER.token().rpartition(".")[2]
    assert await refusal(f"{start}.{signature}") == "signature"


async def test_a_tampered_token_is_refused_though_the_true_one_is_remembered() -> None:
    verifier, token = ISSUER.verifier(), ISSUER.token()
    await verifier.verify(token)
    header, payload, signature = token.split(".")
    flipped = ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:]))
    assert await refusal(f"{header}.{payload}.{flipped}", verifier) == "signature"
    assert (await verifier.verify(token)).subject == "learner-a"


async def test_an_oversized_token() -> None:
    assert await refusal(ISSUER.token(padding="x" * 8192)) == "too_large"
    assert await refusal("x" * 100_000_000) == "too_large"


async def test_the_largest_token_is_still_read() -> None:
    room = ISSUER.settings.max_token_bytes - len(ISSUER.token(padding=""))
    token = ISSUER.token(padding="x" * (room * 3 // 4 - 2))
    assert ISSUER.settings.max_token_bytes - 8 < len(token) <= ISSUER.settings.max_token_bytes
    assert (await ISSUER.verifier().verify(token)).subject == "learner-a"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: f" {token}",
        lambda token: f"{token} ",
        lambda token: f"{token}\n",
        lambda token: f"{token}\r\nX-Injected: 1",
        lambda token: token.replace(".", " ."),
        lambda token: token.replace(".", ".\t"),
        lambda token: f"{token}\x00",
        lambda token: f"Bearer {token}",
        lambda token: f'"{token}"',
        lambda token: f"{token},{token}",
        lambda token: f"{token}=",
        lambda token: token.replace(".", ".."),
        lambda token: f".{token}",
        lambda token: f"{token}.",
        lambda token: token.replace(".", "%2E"),
        lambda token: token.replace("e", "\u0435", 1),
        lambda token: token + "\udcff",
        lambda token: f"{token}.{'a' * 8}.{'b' * 8}",
        lambda token: "",
        lambda token: ".",
        lambda token: "..",
        lambda token: "a.b.c",
        lambda token: "AAAA.AAAA.AAAA",
    ],
)
async def test_what_is_not_three_parts_of_base64url(change: Callable[[str], str]) -> None:
    assert await refusal(change(ISSUER.token())) == "malformed"


async def test_an_encrypted_token() -> None:
    header = b64({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "pool-key"})
    part = b64(b"\x00" * 32)
    assert await refusal(f"{header}.{part}.{part}.{part}.{part}") == "malformed"


async def test_base64url_with_unused_bits_set() -> None:
    """Two spellings of one token would defeat whoever lists revoked tokens by their text."""
    token = ISSUER.token()
    assert len(token.rpartition(".")[2]) % 4 == 2  # 256 octets leave four unused bits
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet[alphabet.index(token[-1]) | 1]
    assert last != token[-1]
    assert await refusal(token[:-1] + last) == "malformed"


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b'"RS256"',
        b"{",
        b"\xff\xfe",
        b'{"alg":"RS256","alg":"none","kid":"pool-key"}',
        b'{"alg":"RS256","kid":"other","kid":"pool-key"}',
        b'{"alg":"RS256","kid":"pool-key","extra":NaN}',
        b'{"alg":"RS256","kid":"pool-key","extra":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"alg":"RS256","kid":"pool-key"} {}',
        '{"alg":"RS256","kid":"pool-key"}'.encode("utf-16"),
    ],
    ids=lambda header: repr(header[:30]),
)
async def test_a_header_that_is_not_one_plain_object(header: bytes) -> None:
    wide = TokenIssuer(kid="pool-key", now=lambda: NOW)
    assert await refusal(signed_by_hand(header, {}), wide.verifier()) in ("malformed", "too_large")


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b"null",
        b"not json",
        b"{",
        b"[" * 3000,
        json.dumps(ISSUER.claims()).encode()[:-1] + b',"sub":"staff"}',
    ],
    ids=lambda payload: repr(payload[-20:]),
)
async def test_a_signed_payload_that_is_not_one_plain_object(payload: bytes) -> None:
    assert await refusal(signed_by_hand(HEADER, payload)) == "malformed"


@pytest.mark.parametrize("bits", [1024, 2040])
async def test_a_signature_by_an_rsa_key_that_is_too_small(bits: int) -> None:
    small = TokenIssuer(kid="small", now=lambda: NOW)
    small.private_key = rsa_key(f"small-{bits}", bits)

    async def both() -> bytes:
        return json.dumps({"keys": [ISSUER.jwk(), small.jwk()]}).encode()

    verifier = TokenVerifier(ISSUER.settings, JwksKeySource(both), now=lambda: NOW)
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        token = small.token()
    assert await refusal(token, verifier) == "unknown_key"


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@settings(max_examples=200, deadline=None)
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidTokenError):
        asyncio.run(ISSUER.verifier().verify(text))


@given(st.integers(min_value=0), st.characters(min_codepoint=33, max_codepoint=126))
@settings(max_examples=200, deadline=None)
def test_no_single_change_to_a_token_survives(position: int, character: str) -> None:
    token = ISSUER.token(groups=["authors"])
    position %= len(token)
    if token[position] == character:
        return
    with pytest.raises(InvalidTokenError):
        asyncio.run(ISSUER.verifier().verify(token[:position] + character + token[position + 1 :]))
