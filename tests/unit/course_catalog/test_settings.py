"""The service's settings, as the README's table states them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libs.config import ConfigurationError
from services.course_catalog.config import Config

README = Path(__file__).parents[3] / "services/course_catalog/README.md"

LEAST = {
    "CATALOG_AUTH_ISSUER": "https://issuer.invalid/pool",
    "CATALOG_AUTH_JWKS_URL": "https://issuer.invalid/pool/jwks.json",
    "CATALOG_AUTH_CLIENT_IDS": "web,mobile",
    "CATALOG_CURSOR_SECRETS": f"{'a' * 32},{'b' * 32}",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


def test_what_is_required_is_enough() -> None:
    config = Config.from_environment(LEAST)
    assert (config.host, config.port, config.table) == ("127.0.0.1", 8080, "CourseCatalog")
    assert (config.region, config.drain_seconds) == ("eu-central-1", 20)
    assert config.cursor_secrets == (b"a" * 32, b"b" * 32)
    assert (config.refresh.interval, config.refresh.reload, config.refresh.stale_after) == (
        5,
        3600,
        60,
    )
    assert (config.last_known_bytes, config.last_known_seconds) == (33_554_432, 3600)
    assert config.tracing_daemon is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CATALOG_PORT", "65536"),
        ("CATALOG_TABLE", "a table"),
        ("CATALOG_CURSOR_SECRETS", f"{'a' * 32},short"),
        ("CATALOG_CORS_ORIGINS", "https://app.example/path"),
        ("CATALOG_AUTH_PERMISSIONS", '{"groups": {"authors": ["everything"]}}'),
        ("CATALOG_DIRECTORY_REFRESH_SECONDS", "0"),
        ("CATALOG_DIRECTORY_RELOAD_SECONDS", "700000"),
        ("CATALOG_LAST_KNOWN_BYTES", "-1"),
        ("CATALOG_RENDERED_PAGES_BYTES", "-1"),
        ("CATALOG_TRACING_RATE", "1.1"),
        ("CATALOG_LOG_LEVEL", "LOUD"),
        ("AWS_DEFAULT_REGION", "here"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Config.from_environment({**LEAST, name: value})
    (problem,) = refused.value.problems
    assert problem.startswith(("AWS_REGION" if name.startswith("AWS") else name) + " ")


def test_the_readme_names_every_variable() -> None:
    """A variable that the README names is known, and one that it does not name is not read."""
    named = set(re.findall(r"`(CATALOG_[A-Z_]+)`", README.read_text(encoding="utf-8")))
    with pytest.raises(ConfigurationError) as refused:
        Config.from_environment({**LEAST, **{name: "\x00" for name in named}})
    unknown = [problem for problem in refused.value.problems if "not a known" in problem]
    assert unknown == []
    files = [README.parent / "config.py"]
    files += [
        Path("libs/service", f"_{name}.py")
        for name in ("settings", "breaker_settings", "resilience_settings", "tracing_settings")
    ]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    read = set(re.findall(r"\(\s*(?:#[^\n]*\n\s*)*\"([A-Z_]+)\"", source))
    assert {f"CATALOG_{name}" for name in read if not name.startswith("AWS_")} == named
