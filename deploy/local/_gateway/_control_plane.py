"""Follows an API Gateway: what a stage says there is how the gateway leads, and CloudWatch is told.

The file that says where it is, and as whom it is asked, may come later than the gateway and change while
it runs::

    {"endpoint": "http://127.0.0.1:4566", "region": "us-east-1", "stage": "live",
     "accessKeyId": "…", "secretAccessKey": "…",
     "apis": {"course_catalog": {"id": "a1b2c3", "name": "lyceum-course-catalog"}}}

While nobody answers there, the gateway leads as it did, and what CloudWatch is not told waits, within
a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.local._gateway._metrics import NAMESPACE, Metrics
from deploy.local._gateway._proxy import Access, Gateway
from deploy.local._gateway._stage import Stage

POLL_SECONDS = 1.0

_MOST_DATA_A_CALL = 100
_MOST_DATA_WAITING = 10_000
_STOP_SECONDS = 2.0


class _Api(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    id: str
    name: str


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    endpoint: str
    region: str
    stage: str
    accessKeyId: str  # noqa: N815 - as the SDK's JSON has it
    secretAccessKey: str  # noqa: N815
    apis: dict[str, _Api]


class _Log:
    """Tells of each thing once, until another is told of the same."""

    def __init__(self, tell: Callable[[str, Mapping[str, object]], None]) -> None:
        self._tell = tell
        self._last: dict[str, Mapping[str, object]] = {}

    def __call__(self, event: str, about: str = "", **fields: object) -> None:
        key = f"{event} {about}"
        if self._last.get(key) != fields:
            self._last[key] = fields
            self._tell(event, fields)

    def forget(self, event: str) -> None:
        self._last = {key: said for key, said in self._last.items() if not key.startswith(event)}


@dataclass(frozen=True)
class _Linked:
    file: _File
    metrics: Metrics
    gateway: Any
    cloudwatch: Any


class ControlPlane:
    """Leads a gateway as the API Gateway of a file says; ``run`` until cancelled.

    Args:
        path: the file; it need not be there yet.
        gateway: is led.
        tell: takes an event of the log and its fields.
    """

    def __init__(
        self,
        path: Path,
        gateway: Gateway,
        *,
        tell: Callable[[str, Mapping[str, object]], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._gateway = gateway
        self._log = _Log(tell)
        self._now = now
        self._metrics: Metrics | None = None
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_DATA_WAITING)

    def record(self, access: Access) -> None:
        """Counts one request."""
        if self._metrics is not None:
            self._metrics.record(access)

    async def run(self) -> None:
        """Follows until it is cancelled; then tells CloudWatch the rest."""
        while True:
            content = self._read()
            if content is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            async with self._linked(content) as linked:
                try:
                    while self._read() == content:
                        await self._follow(linked)
                        await self._publish(linked)
                        await asyncio.sleep(POLL_SECONDS)
                finally:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_STOP_SECONDS):
                            await self._publish(linked)

    def _read(self) -> _File | None:
        try:
            return _File.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            self._log("control_plane_refused", reason=str(error))
            return None

    @asynccontextmanager
    async def _linked(self, content: _File) -> AsyncIterator[_Linked]:
        # Only now: it takes half a second, and a gateway without an API needs none of it.
        from aiobotocore.session import get_session
        from botocore.config import Config

        session: Any = get_session()
        config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})

        def client(service: str) -> Any:
            return session.create_client(
                service,
                region_name=content.region,
                endpoint_url=content.endpoint,
                aws_access_key_id=content.accessKeyId,
                aws_secret_access_key=content.secretAccessKey,
                config=config,
            )

        async with client("apigateway") as gateway, client("cloudwatch") as cloudwatch:
            self._metrics = Metrics(
                {service: api.name for service, api in content.apis.items()}, content.stage
            )
            yield _Linked(content, self._metrics, gateway, cloudwatch)

    async def _follow(self, linked: _Linked) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        for service, api in linked.file.apis.items():
            led_by = self._gateway.stage(service)
            if led_by is None:
                continue
            try:
                answer = await linked.gateway.get_stage(
                    restApiId=api.id, stageName=linked.file.stage
                )
                stage = Stage.of(answer)
            except (BotoCoreError, ClientError, ValueError) as error:
                self._log("stage_not_followed", service, stageOf=service, reason=str(error))
                continue
            self._log.forget("stage_not_followed")
            if stage != led_by:
                self._gateway.lead(service, stage)
            canary = stage.canarySettings
            self._log(
                "stage_followed",
                service,
                stageOf=service,
                target=stage.target(canary=False),
                canaryPercent=canary.percentTraffic if canary else None,
                canaryTarget=stage.target(canary=True) if canary else None,
            )

    async def _publish(self, linked: _Linked) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        self._waiting.extend(linked.metrics.take(self._now()))
        while self._waiting:
            data = [self._waiting[i] for i in range(min(len(self._waiting), _MOST_DATA_A_CALL))]
            try:
                await linked.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
            except (BotoCoreError, ClientError) as error:
                self._log("metrics_not_told", reason=str(error))
                return
            self._log.forget("metrics_not_told")
            for _ in data:
                self._waiting.popleft()
