"""What a good token proves, and how long it is remembered."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from libs.auth import (
    DEFAULT_PERMISSIONS,
    AuthSettings,
    InvalidTokenError,
    JwksKeySource,
    KeysUnavailableError,
    PermissionTable,
    Principal,
    Reason,
    TokenVerifier,
)
from libs.auth.testing import TokenIssuer

NOW = 1_767_323_045.0


class Now:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.seconds = NOW

    def __call__(self) -> float:
        return self.seconds


class CountingSource(JwksKeySource):
    """Counts the look-ups of keys: each is one full verification."""

    def __init__(self, issuer: TokenIssuer) -> None:
        super().__init__(issuer.fetch)
        self.lookups = 0

    async def get(self, kid: str):  # type: ignore[no-untyped-def]  # as in the base class
        self.lookups += 1
        return await super().get(kid)


async def test_an_access_token_of_cognito_gives_its_principal() -> None:
    issuer = TokenIssuer(now=lambda: NOW)
    token = issuer.token(
        sub="8d0f6b1e-0c1c-4a0e-9a8a-0c6d8a3c7f10",
        groups=["authors", "unknown-group"],
        scopes=["openid", "progress/any"],
        username="author",
    )
    principal = await issuer.verifier().verify(token)
    assert principal == Principal(
        subject="8d0f6b1e-0c1c-4a0e-9a8a-0c6d8a3c7f10",
        username="author",
        groups=frozenset({"authors", "unknown-group"}),
        scopes=frozenset({"openid", "progress/any"}),
        permissions=frozenset({"catalog:write", "content:write", "progress:any"}),
    )
    assert principal.can("catalog:write")
    assert not principal.can("catalog")


async def test_a_token_without_groups_scope_or_username_grants_nothing() -> None:
    issuer = TokenIssuer(now=lambda: NOW)
    principal = await issuer.verifier().verify(issuer.token(scope=None, username=None))
    assert principal.username is None
    assert principal.scopes == principal.groups == principal.permissions == frozenset()


async def test_es256_is_accepted() -> None:
    issuer = TokenIssuer(algorithm="ES256", now=lambda: NOW)
    assert (await issuer.verifier().verify(issuer.token(sub="learner-b"))).subject == "learner-b"


async def test_a_group_named_like_a_scope_grants_nothing() -> None:
    issuer = TokenIssuer(now=lambda: NOW)
    token = issuer.token(groups=["catalog/write"], scopes=["staff"])
    assert (await issuer.verifier().verify(token)).permissions == frozenset()


async def test_a_verified_token_is_remembered_until_it_expires_and_no_longer() -> None:
    now, issuer = Now(), TokenIssuer(now=lambda: NOW)
    keys = CountingSource(issuer)
    verifier = TokenVerifier(issuer.settings, keys, now=now)
    token = issuer.token(exp=NOW + 100)
    await verifier.verify(token)
    now.seconds = NOW + 99
    await verifier.verify(token)
    assert keys.lookups == 1
    now.seconds = NOW + 100  # within the skew: still good, but judged anew each time
    await verifier.verify(token)
    await verifier.verify(token)
    assert keys.lookups == 3
    now.seconds = NOW + 160
    with pytest.raises(InvalidTokenError, match="expired"):
        await verifier.verify(token)


async def test_the_memory_is_bounded_and_forgets_what_was_used_least_recently() -> None:
    issuer = TokenIssuer(now=lambda: NOW)
    keys = CountingSource(issuer)
    verifier = TokenVerifier(issuer.settings, keys, now=lambda: NOW, cache_size=2)
    first, second, third = (issuer.token(sub=name) for name in ("a", "b", "c"))
    await verifier.verify(first)
    await verifier.verify(second)
    await verifier.verify(first)
    assert keys.lookups == 2
    await verifier.verify(third)
    await verifier.verify(first)
    assert keys.lookups == 3
    await verifier.verify(second)
    assert keys.lookups == 4


async def test_ten_thousand_tokens_are_not_all_remembered() -> None:
    issuer = TokenIssuer(algorithm="ES256", now=lambda: NOW)
    keys = CountingSource(issuer)
    verifier = TokenVerifier(issuer.settings, keys, now=lambda: NOW, cache_size=16)
    tokens = [issuer.token(sub=f"user-{number}") for number in range(100)]
    for token in tokens:
        await verifier.verify(token)
    for token in tokens[-16:]:
        await verifier.verify(token)
    assert keys.lookups == 100
    await verifier.verify(tokens[0])
    assert keys.lookups == 101


async def test_the_memory_is_dropped_when_keys_rotate() -> None:
    old, new = TokenIssuer(kid="old", now=lambda: NOW), TokenIssuer(kid="new", now=lambda: NOW)
    published = [old]

    async def fetch() -> bytes:
        return json.dumps({"keys": [issuer.jwk() for issuer in published]}).encode()

    keys = JwksKeySource(fetch)
    verifier = TokenVerifier(old.settings, keys, now=lambda: NOW)
    token = old.token()
    await verifier.verify(token)
    published[:] = [new]
    await keys.refresh()
    with pytest.raises(InvalidTokenError, match="unknown_key"):
        await verifier.verify(token)


async def test_a_key_replaced_under_its_own_kid_is_a_rotation_too() -> None:
    old, new = TokenIssuer(kid="old", now=lambda: NOW), TokenIssuer(kid="new", now=lambda: NOW)
    published = [old.jwk(kid="same")]

    async def fetch() -> bytes:
        return json.dumps({"keys": published}).encode()

    keys = JwksKeySource(fetch)
    verifier = TokenVerifier(old.settings, keys, now=lambda: NOW)
    token = old.sign(old.claims(), kid="same")
    await verifier.verify(token)
    published[:] = [new.jwk(kid="same")]
    await keys.refresh()
    with pytest.raises(InvalidTokenError, match="signature"):
        await verifier.verify(token)


async def test_a_refused_token_is_not_remembered_as_refused() -> None:
    now, issuer = Now(), TokenIssuer(now=lambda: NOW)
    verifier = TokenVerifier(issuer.settings, JwksKeySource(issuer.fetch), now=now)
    token = issuer.token(nbf=NOW + 120)
    with pytest.raises(InvalidTokenError, match="not_yet_valid"):
        await verifier.verify(token)
    now.seconds = NOW + 120
    assert (await verifier.verify(token)).subject == "learner-a"


async def test_the_verifier_keeps_no_token() -> None:
    issuer = TokenIssuer(now=lambda: NOW)
    verifier = issuer.verifier()
    token = issuer.token()
    await verifier.verify(token)
    assert token not in repr(vars(verifier))
    assert token.rpartition(".")[2] not in repr(vars(verifier))


async def test_without_keys_no_token_can_be_judged() -> None:
    issuer = TokenIssuer(now=lambda: NOW)

    async def down() -> bytes:
        raise ConnectionError

    verifier = TokenVerifier(issuer.settings, JwksKeySource(down), now=lambda: NOW)
    with pytest.raises(KeysUnavailableError) as unavailable:
        await verifier.verify(issuer.token())
    assert unavailable.value.retry_after_seconds >= 1
    assert not verifier.ready


async def test_rubbish_is_refused_without_asking_the_issuer() -> None:
    asked = False

    async def fetch() -> bytes:
        nonlocal asked
        asked = True
        return b""

    verifier = TokenVerifier(TokenIssuer().settings, JwksKeySource(fetch))
    with pytest.raises(InvalidTokenError):
        await verifier.verify("rubbish")
    assert not asked


@pytest.mark.parametrize("reason", get_args(Reason))
def test_descriptions_fit_into_www_authenticate(reason: Reason) -> None:
    """RFC 6750 section 3: no quotes, no backslashes, printable ASCII."""
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", InvalidTokenError(reason).description)


def test_settings_report_every_problem() -> None:
    with pytest.raises(ValueError, match="issuer") as refused:
        AuthSettings(
            issuer="",
            jwks_url="",
            client_ids=frozenset(),
            permissions=DEFAULT_PERMISSIONS,
            skew_seconds=61,
            max_token_bytes=10,
        )
    assert len(str(refused.value).splitlines()) == 4


def test_settings_take_no_empty_client() -> None:
    with pytest.raises(ValueError, match="client"):
        AuthSettings(issuer="x", jwks_url="", client_ids=frozenset({"a", ""}))


async def test_another_permission_table() -> None:
    table = PermissionTable(by_scope={}, by_group={"editors": frozenset({"catalog:write"})})
    issuer = TokenIssuer(permissions=table, now=lambda: NOW)
    principal = await issuer.verifier().verify(issuer.token(groups=["editors", "staff"]))
    assert principal.permissions == {"catalog:write"}
