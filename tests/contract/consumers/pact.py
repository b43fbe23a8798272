"""Consumer-driven contracts: files of Pact Specification v3, a player and a verifier.

Owns what such a file means: which requests are its consumer's, and which answers its consumer
understands. A request has to be exactly as it is written, an answer may say more than is written. The
player answers a consumer as the file says; the verifier asks a provider as the file says. Knows no
consumer and no provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import ClientSession, web
from yarl import URL

STORE = "https://store.invalid"
"""Where signed URLs of the files lead; the player answers there itself."""

Rules = Mapping[str, Mapping[str, Any]]
"""Matchers by path, as a category of `matchingRules` has them."""

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[(\d+)\]|\[(\*)\]|\.(\*)")
_CATEGORIES = {"request": {"header"}, "response": {"header", "body"}}


class MalformedPactError(ValueError):
    """The file is no contract that this module understands."""


@dataclass(frozen=True)
class Interaction:
    """One request, what is to be so before it, and its answer."""

    description: str
    states: tuple[Mapping[str, Any], ...]
    request: Mapping[str, Any]
    response: Mapping[str, Any]


@dataclass(frozen=True)
class Pact:
    """What one consumer asks of one provider."""

    consumer: str
    provider: str
    interactions: Mapping[str, Interaction]


def load(path: Path) -> Pact:
    """Reads a file. Raises MalformedPactError, also for rules that would match nothing."""
    document = json.loads(path.read_text())
    version = document["metadata"]["pactSpecification"]["version"]
    if version != "3.0.0":
        raise MalformedPactError(f"{path.name}: version {version}")
    found: dict[str, Interaction] = {}
    for one in document["interactions"]:
        interaction = Interaction(
            one["description"], tuple(one["providerStates"]), one["request"], one["response"]
        )
        if interaction.description in found:
            raise MalformedPactError(f"{path.name}: {interaction.description} stands there twice")
        _require_rules(interaction)
        found[interaction.description] = interaction
    return Pact(document["consumer"]["name"], document["provider"]["name"], found)


def _require_rules(interaction: Interaction) -> None:
    """A rule that is misspelt must not make a contract weaker, or look as if it were there."""
    for side, message in (("request", interaction.request), ("response", interaction.response)):
        rules = message.get("matchingRules", {})
        unknown = rules.keys() - _CATEGORIES[side]
        if unknown:
            raise MalformedPactError(f"{interaction.description}: rules of {sorted(unknown)}")
        headers = {name.lower() for name in message.get("headers", {})}
        for name in rules.get("header", {}):
            if name.lower() not in headers:
                raise MalformedPactError(f"{interaction.description}: no header {name}")
        used = set(_paths(message.get("body")))
        for path in rules.get("body", {}):
            steps = _steps(path)
            if not any(_weight(steps, at) and len(steps) == len(at) for at in used):
                raise MalformedPactError(f"{interaction.description}: {path} is nowhere")
    answer = interaction.response
    own = compare(answer.get("body"), answer.get("body"), answer_rules(interaction))
    own += _compare_headers(answer, answer.get("headers", {}))
    if own:
        raise MalformedPactError(f"{interaction.description}: its example breaks its rules: {own}")


def _paths(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [at]
    if isinstance(value, dict):
        for name, member in value.items():
            found += _paths(member, (*at, name))
    if isinstance(value, list):
        for number, member in enumerate(value):
            found += _paths(member, (*at, number))
    return found


def answer_rules(interaction: Interaction) -> Rules:
    """The rules of an answer's body."""
    rules: Rules = interaction.response.get("matchingRules", {}).get("body", {})
    return rules


# Matching


def compare(
    expected: Any, actual: Any, rules: Rules, *, exact: bool = False, at: tuple[str | int, ...] = ()
) -> list[str]:
    """What is wrong with a value; `exact` allows no members beyond the expected ones."""
    where = "$" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in at)
    matchers, combine, is_own = _matchers(rules, at)
    found: list[str] = []
    if matchers:
        said = [_mismatch(one, expected, actual, own=is_own) for one in matchers]
        wrong = [one for one in said if one is not None]
        if wrong and (combine == "AND" or len(wrong) == len(said)):
            return [f"{where}: {one}" for one in wrong]
        if any(one["match"] != "type" for one in matchers):
            return found
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return [f"{where}: {_kind(actual)} instead of an object"]
        for name, member in expected.items():
            if name not in actual:
                found.append(f"{where}.{name}: is missing")
            else:
                found += compare(member, actual[name], rules, exact=exact, at=(*at, name))
        if exact:
            found += [f"{where}.{name}: is not agreed" for name in actual.keys() - expected.keys()]
        return found
    if isinstance(expected, list):
        if not isinstance(actual, list):
            return [f"{where}: {_kind(actual)} instead of an array"]
        if not matchers and len(actual) != len(expected):
            return [f"{where}: {len(actual)} elements instead of {len(expected)}"]
        for number, member in enumerate(actual):
            if expected:
                # More elements than there are examples are like the first one.
                like = expected[number] if number < len(expected) else expected[0]
                found += compare(like, member, rules, exact=exact, at=(*at, number))
        return found
    # True equals 1 in Python and does not in JSON.
    if not matchers and (
        isinstance(actual, bool) != isinstance(expected, bool) or actual != expected
    ):
        found.append(f"{where}: {actual!r} instead of {expected!r}")
    return found


def _matchers(
    rules: Rules, at: tuple[str | int, ...]
) -> tuple[Sequence[Mapping[str, Any]], str, bool]:
    """The matchers of the most specific rule, how they combine, and whether they are of this very
    place: those of a place above hold below it as well (specification v2, "matching rules")."""
    best: tuple[int, int, str] | None = None
    for path in rules:
        steps = _steps(path)
        weight = _weight(steps, at)
        is_own = len(steps) == len(at)
        cascades = all(one["match"] == "type" for one in rules[path]["matchers"])
        if weight and (is_own or cascades) and (best is None or (len(steps), weight) > best[:2]):
            best = (len(steps), weight, path)
    if best is None:
        return (), "AND", True
    rule = rules[best[2]]
    return rule["matchers"], rule.get("combine", "AND"), best[0] == len(at)


def _weight(steps: Sequence[str | int | None], at: Sequence[str | int]) -> int:
    """How specific a path is for a place, 0 where it is another's; None stands for a star."""
    if len(steps) > len(at):
        return 0
    weight = 2
    for step, name in zip(steps, at, strict=False):
        if step is not None and step != name:
            return 0
        weight *= 1 if step is None else 2
    return weight


def _steps(path: str) -> list[str | int | None]:
    steps: list[str | int | None] = []
    position = 1
    while path.startswith("$") and position < len(path):
        found = _STEP.match(path, position)
        if found is None:
            break
        name, quoted, number, *_ = found.groups()
        steps.append(int(number) if number else name or quoted)
        position = found.end()
    if not path.startswith("$") or position != len(path):
        raise MalformedPactError(f"{path} is no path")
    return steps


def _mismatch(
    matcher: Mapping[str, Any], expected: object, actual: object, *, own: bool
) -> str | None:
    """What one matcher has against a value. Raises MalformedPactError for an unknown one."""
    match matcher["match"]:
        case "type":
            if _kind(expected) != _kind(actual):
                return f"{_kind(actual)} instead of {_kind(expected)}"
            if own and isinstance(actual, list):
                if len(actual) < matcher.get("min", 0):
                    return f"{len(actual)} elements, at least {matcher['min']} are agreed"
                if len(actual) > matcher.get("max", len(actual)):
                    return f"{len(actual)} elements, at most {matcher['max']} are agreed"
            return None
        case "regex":
            is_like = isinstance(actual, str) and re.fullmatch(matcher["regex"], actual)
            return None if is_like else f"{actual!r} is not like {matcher['regex']}"
        case "integer":
            is_integer = isinstance(actual, int) and not isinstance(actual, bool)
            return None if is_integer else f"{_kind(actual)} instead of an integer"
        case "null":
            return None if actual is None else f"{_kind(actual)} instead of null"
        case other:
            raise MalformedPactError(f"the matcher {other} is not known")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _compare_headers(message: Mapping[str, Any], actual: Mapping[str, str]) -> list[str]:
    rules = {
        name.lower(): rule
        for name, rule in message.get("matchingRules", {}).get("header", {}).items()
    }
    given = {name.lower(): value for name, value in actual.items()}
    found = []
    for name, expected in message.get("headers", {}).items():
        if (value := given.get(name.lower())) is None:
            found.append(f"header {name}: is missing")
            continue
        rule: Rules = {"$": rules[name.lower()]} if name.lower() in rules else {}
        found += [f"header {name} {one}" for one in compare(expected, value, rule)]
    return found


def _is_json(message: Mapping[str, Any]) -> bool:
    headers = {name.lower(): value for name, value in message.get("headers", {}).items()}
    return "json" in headers.get("content-type", "application/json")


# The consumer's side


@dataclass
class Player:
    """Answers a consumer as these interactions say, each once; keeps what does not fit."""

    interactions: Sequence[Interaction]
    problems: list[str] = field(default_factory=list)
    played: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        """What a test server runs."""
        app = web.Application()
        app.router.add_route("*", "/store/{rest:.*}", self._store)
        app.router.add_route("*", "/{rest:.*}", self._play)
        return app

    def unplayed(self) -> set[str]:
        """What the consumer did not ask."""
        return {one.description for one in self.interactions} - set(self.played)

    async def _store(self, request: web.Request) -> web.Response:
        await request.read()
        if "Authorization" in request.headers:
            self.problems.append("the object store was shown the token")
        return web.Response(status=200, text="WEBVTT\n")

    async def _play(self, request: web.Request) -> web.Response:
        body = await request.read()
        line = f"{request.method} {request.path_qs}"
        reasons: list[str] = []
        for interaction in self.interactions:
            if interaction.description in self.played:
                continue
            wrong = request_mismatches(
                interaction.request,
                method=request.method,
                path=request.path,
                query=request.query_string,
                headers=request.headers,
                body=body,
            )
            if not wrong:
                self.played.append(interaction.description)
                return self._answer(interaction.response, request)
            reasons.append(f"{interaction.description}: {wrong}")
        self.problems.append(f"{line} is not agreed: {'; '.join(reasons)}")
        return web.Response(status=418)

    def _answer(self, response: Mapping[str, Any], request: web.Request) -> web.Response:
        text: str | None = None
        if "body" in response:
            text = json.dumps(response["body"]).replace(STORE, f"http://{request.host}/store")
        headers = dict(response.get("headers", {}))
        return web.Response(status=response["status"], text=text, headers=headers)


def request_mismatches(
    expected: Mapping[str, Any],
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
) -> list[str]:
    """What keeps a request from being the expected one."""
    found = []
    if (method, path) != (expected["method"], expected["path"]):
        return [f"it is {method} {path}"]
    if parse_qs(query, keep_blank_values=True) != expected.get("query", {}):
        found.append(f"the query is {query}")
    found += _compare_headers(expected, headers)
    if "body" not in expected:
        return found + (["a body is not agreed"] if body else [])
    if not _is_json(expected):
        return found + ([] if body.decode() == expected["body"] else ["the body is another"])
    try:
        sent = json.loads(body)
    except ValueError:
        return [*found, "the body is not JSON"]
    return found + compare(expected["body"], sent, {}, exact=True)


# The provider's side


async def verify(
    session: ClientSession, base: str, interaction: Interaction, *, token: str
) -> list[str]:
    """Sends the request with a token that the provider accepts; what is wrong with its answer."""
    asked = interaction.request
    headers = dict(asked.get("headers", {}))
    if "Authorization" in headers:
        headers["Authorization"] = f"Bearer {token}"
    body: str | None = None
    if "body" in asked:
        body = json.dumps(asked["body"]) if _is_json(asked) else asked["body"]
    query = urlencode(asked.get("query", {}), doseq=True)
    url = URL(f"{base}{asked['path']}{'?' if query else ''}{query}", encoded=True)
    async with session.request(
        asked["method"],
        url,
        headers=headers,
        data=None if body is None else body.encode(),
        allow_redirects=False,
    ) as response:
        return answer_mismatches(
            interaction, response.status, response.headers, await response.read()
        )


def answer_mismatches(
    interaction: Interaction, status: int, headers: Mapping[str, str], body: bytes
) -> list[str]:
    """What the consumer would not understand of an answer."""
    agreed = interaction.response
    found = []
    if status != agreed["status"]:
        found.append(f"status {status} instead of {agreed['status']}: {body[:500]!r}")
    found += _compare_headers(agreed, headers)
    if "body" not in agreed:
        return found
    try:
        document = json.loads(body)
    except ValueError:
        return [*found, "the body is not JSON"]
    return found + compare(agreed["body"], document, answer_rules(interaction))
