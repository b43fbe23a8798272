"""Keeps X-Ray's sampling rules fresh: one task in the background, never a request.

Owns when the daemon is asked, what happens while it does not answer, and the HTTP to it. The
daemon (X-Ray's own, or the OpenTelemetry collector's `awsxray` receiver) listens on the TCP port
of the number of its UDP port, and signs and passes on what it is asked.
"""

import asyncio
import json
import logging
import random as random_module
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, Protocol

import aiohttp
from yarl import URL

from libs.tracing._central import (
    MOST_RULES,
    REPORT_SECONDS,
    AnswerError,
    CentralRules,
    Statistics,
    read_rules_page,
    read_targets,
)
from libs.tracing._sampling import SamplingRule

RULES_SECONDS: Final = 300.0
ANSWER_SECONDS: Final = 5.0
LARGEST_ANSWER: Final = 512 * 1024
_MOST_PAGES: Final = 20
_FIRST_BACK_OFF: Final = 1.0
_LONGEST_BACK_OFF: Final = 60.0

_log: Final = logging.getLogger(__name__)


class SamplingDaemon(Protocol):
    """What answers X-Ray's two operations about sampling."""

    async def ask(self, operation: str, body: Mapping[str, object]) -> object:
        """The JSON value that an operation answers. Raises AnswerError, OSError, TimeoutError and
        aiohttp.ClientError."""
        ...


class HttpSamplingDaemon:
    """A daemon at "host:port"; an answer may take `answer_seconds` and 512 KiB."""

    def __init__(
        self, session: aiohttp.ClientSession, address: str, *, answer_seconds: float
    ) -> None:
        self._session = session
        self._answer_seconds = answer_seconds
        host, _, port = address.rpartition(":")
        self._url = URL.build(scheme="http", host=host.strip("[]"), port=int(port))

    async def ask(self, operation: str, body: Mapping[str, object]) -> object:
        async with (
            asyncio.timeout(self._answer_seconds),
            self._session.post(
                self._url / operation,
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                allow_redirects=False,
            ) as response,
        ):
            if response.status != 200:
                raise AnswerError(f"{operation} was answered with status {response.status}")
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > LARGEST_ANSWER:
                    raise AnswerError(f"the answer has more than {LARGEST_ANSWER} bytes")
        return _decoded(bytes(answer))


class SamplingPoller:
    """Asks for rules every 300 s and reports counts every 10 s, as AWS's SDKs do.

    client_id: 24 hex digits that tell this process from others, as X-Ray's API wants.
    clock: seconds since 1970; monotonic: seconds; sleep: waits for seconds.
    """

    def __init__(
        self,
        daemon: SamplingDaemon,
        rules: CentralRules,
        *,
        client_id: str,
        random: random_module.Random,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._daemon = daemon
        self._rules = rules
        self._client_id = client_id
        self._random = random
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._rules_at = monotonic()
        self._rules_known = 0.0
        self._failures = 0
        self._told: str | None = None

    async def run(self) -> NoReturn:
        """Go on until cancelled. Whatever the daemon does, nothing is raised."""
        while True:
            await self._sleep(await self.turn())

    async def turn(self) -> float:
        """Does what is due, and gives the seconds until something may be due again."""
        try:
            await self._report()
            if self._monotonic() >= self._rules_at or not self._rules.in_force:
                await self._fetch_rules()
        except Exception as problem:
            # No daemon, a broken one, or a defect of ours: the sampling goes on without it.
            return self._failed(problem)
        self._failures = 0
        self._tell(_IN_FORCE)
        now = self._monotonic()
        due = min(self._rules_at, self._rules.next_report()) - now
        # Somewhat later, so that the processes of a fleet do not ask all at once.
        return min(max(due, 1.0), REPORT_SECONDS) * (1 + self._random.random() / 10)

    async def _fetch_rules(self) -> None:
        rules: list[SamplingRule] = []
        asked_at = self._clock()
        body: dict[str, object] = {}
        for _ in range(_MOST_PAGES):
            page = read_rules_page(await self._daemon.ask("GetSamplingRules", body))
            rules += page.rules
            if len(rules) > MOST_RULES:
                raise AnswerError(f"there are more than {MOST_RULES} rules")
            if page.next_token is None:
                break
            body = {"NextToken": page.next_token}
        else:
            raise AnswerError(f"there are more than {_MOST_PAGES} pages of rules")
        if not rules:
            raise AnswerError("there is no rule that can be followed")
        self._rules.load_rules(rules)
        self._rules_known = max(self._rules_known, asked_at)
        self._rules_at = self._monotonic() + RULES_SECONDS

    async def _report(self) -> None:
        statistics = self._rules.due()
        if not statistics:
            return
        now = self._clock()
        documents = [self._document(counts, now) for counts in statistics]
        body = {"SamplingStatisticsDocuments": documents}
        answer = read_targets(await self._daemon.ask("SamplingTargets", body))
        self._rules.load_targets(statistics, answer)
        if answer.rules_modified > self._rules_known:
            self._rules_known = answer.rules_modified
            self._rules_at = self._monotonic()

    def _document(self, counts: Statistics, now: float) -> dict[str, object]:
        return {
            "ClientID": self._client_id,
            "RuleName": counts.rule,
            "RequestCount": counts.requests,
            "SampledCount": counts.sampled,
            "BorrowCount": counts.borrowed,
            "Timestamp": int(now),
        }

    def _failed(self, problem: Exception) -> float:
        self._tell(_GO_ON if self._rules.in_force else _LOCAL, problem)
        longest = min(_FIRST_BACK_OFF * (1 << self._failures), _LONGEST_BACK_OFF)
        self._failures = min(self._failures + 1, 16)
        return longest * (0.5 + self._random.random() / 2)

    def _tell(self, state: str, problem: Exception | None = None) -> None:
        """One log line a change, however often the daemon is asked in between."""
        if state == self._told:
            return
        self._told = state
        if problem is None:
            _log.info("central sampling: %s", state)
        else:
            # The type alone where it is not ours: an answer's words do not belong into the log.
            reason = str(problem) if isinstance(problem, AnswerError) else type(problem).__name__
            _log.warning("central sampling: %s (%s)", state, reason)


_IN_FORCE: Final = "the daemon answers, X-Ray's rules are in force"
_GO_ON: Final = "the daemon gives no answer, its last rules go on"
_LOCAL: Final = "the daemon gives no answer, the configured rules are in force"


def _decoded(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError) as problem:
        raise AnswerError("the answer is not JSON") from problem


async def keep_sampling_fresh(
    rules: CentralRules,
    daemon_address: str,
    *,
    random: random_module.Random | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    answer_seconds: float = ANSWER_SECONDS,
) -> NoReturn:
    """Keeps `rules` as X-Ray has them, until cancelled: the coroutine of one background task.

    daemon_address: "host:port", whose TCP port is asked. The clocks are those of `rules`.
    answer_seconds: how long an answer may take, to its last byte.
    """
    random = random or random_module.Random()  # noqa: S311 - an id and jitter, no secrets
    # No proxy, no cookie, nothing unpacked, no span.
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        await SamplingPoller(
            HttpSamplingDaemon(session, daemon_address, answer_seconds=answer_seconds),
            rules,
            client_id=f"{random.getrandbits(96):024x}",
            random=random,
            clock=clock,
            monotonic=monotonic,
            sleep=sleep,
        ).run()
