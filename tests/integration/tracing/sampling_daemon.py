"""Plays X-Ray's daemon on a TCP port: GetSamplingRules and SamplingTargets, as X-Ray answers them.

It checks what it is asked as X-Ray would, counts it, and can be stopped and started again on the
same port.
"""

from __future__ import annotations

import re
from typing import Any, Self

from aiohttp import web

FIELDS = {"ClientID", "RuleName", "RequestCount", "SampledCount", "BorrowCount", "Timestamp"}


def rule(name: str, **fields: object) -> dict[str, Any]:
    """A sampling rule with everything that X-Ray says of one."""
    return {
        "RuleName": name,
        "RuleARN": f"arn:aws:xray:us-east-1:111122223333:sampling-rule/{name}",
        "ResourceARN": "*",
        "Priority": 100,
        "FixedRate": 0.0,
        "ReservoirSize": 0,
        "ServiceName": "*",
        "ServiceType": "*",
        "Host": "*",
        "HTTPMethod": "*",
        "URLPath": "*",
        "Version": 1,
        "Attributes": {},
        **fields,
    }


class SamplingDaemon:
    """An async context manager; `rules`, `targets` and `modified` are what it answers."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.rules = list(rules)
        self.targets: dict[str, dict[str, Any]] = {}
        self.modified = 1.5e9
        self.asked_for_rules = 0
        self.reports: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a `stop` on the same port."""
        app = web.Application()
        app.router.add_post("/GetSamplingRules", self._rules)
        app.router.add_post("/SamplingTargets", self._targets)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _rules(self, request: web.Request) -> web.Response:
        self._check(request)
        body = await request.json()
        self.asked_for_rules += 1
        # One rule a page, so that the pages are followed.
        page = int(body.get("NextToken", "0"))
        following = {} if page + 1 >= len(self.rules) else {"NextToken": str(page + 1)}
        records = [
            {"SamplingRule": found, "CreatedAt": 0, "ModifiedAt": 0}
            for found in self.rules[page : page + 1]
        ]
        return web.json_response({"SamplingRuleRecords": records, **following})

    async def _targets(self, request: web.Request) -> web.Response:
        self._check(request)
        documents = (await request.json())["SamplingStatisticsDocuments"]
        for document in documents:
            if set(document) != FIELDS or not re.fullmatch("[0-9a-f]{24}", document["ClientID"]):
                self.complaints.append(f"not a statistics document: {document}")
            if not document["RequestCount"] >= document["SampledCount"] >= document["BorrowCount"]:
                self.complaints.append(f"counts that cannot be: {document}")
        self.reports += documents
        targets = [
            {"RuleName": document["RuleName"], **self.targets[document["RuleName"]]}
            for document in documents
            if document["RuleName"] in self.targets
        ]
        return web.json_response(
            {
                "SamplingTargetDocuments": targets,
                "LastRuleModification": self.modified,
                "UnprocessedStatistics": [],
            }
        )

    def _check(self, request: web.Request) -> None:
        if request.content_type != "application/json":
            self.complaints.append(f"content type {request.content_type}")
        for header in ("Authorization", "X-Amzn-Trace-Id", "Cookie"):
            if header in request.headers:
                self.complaints.append(f"the daemon signs by itself, and was sent {header}")
