"""The only module that knows MiniStack's inside, as far as containers need it.

Touches six points of it: the table of service handlers, the table of what is written at a stop, the place
where a repository's URI is made, what policies are asked for a call of ECS's, the state of ELBv2 (read),
and the check of policies (called). All of them are looked at before anything starts; MiniStack's version is
pinned.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

from ._authorization import conditions, resources
from ._runtime import ListenerSettings
from ._targets import TargetGroupSettings

_VERSION = "1.5.33"
# Nothing of these is there any more when the embedded AWS starts again: no container outlives it.
_FORGOTTEN = ("alb", "cloudwatch", "ecr", "ecs", "ecs_metadata")

Headers = dict[str, str]
Response = tuple[int, dict[str, Any], bytes]
Handler = Callable[[str, str, Headers, bytes, dict[str, Any]], Awaitable[Response]]


class MiniStackChangedError(Exception):
    """MiniStack is not what this was written for; one line says where."""


class MiniStack:
    """MiniStack in this process; it must have been imported with its variables set."""

    def __init__(self) -> None:
        import ministack.app  # pants: no-infer-dep
        from ministack.core import (
            iam_actions,  # pants: no-infer-dep
            iam_evaluator,  # pants: no-infer-dep
            responses,  # pants: no-infer-dep
            router,  # pants: no-infer-dep
        )
        from ministack.services import alb, ecr  # pants: no-infer-dep

        self._app = ministack.app
        self._actions = iam_actions
        self._policies = iam_evaluator
        self._responses = responses
        self._router = router
        self._alb = alb
        self._ecr = ecr

    def check(self) -> None:
        """Raises MiniStackChangedError."""
        if (found := version("ministack")) != _VERSION:
            raise MiniStackChangedError(
                f"MiniStack is {found}; running containers is written for {_VERSION}"
            )
        app = self._app
        expected = {
            "app.SERVICE_HANDLERS": isinstance(getattr(app, "SERVICE_HANDLERS", None), dict)
            and {"ecs", "ecr", "elasticloadbalancing", "monitoring"} <= set(app.SERVICE_HANDLERS),
            "app._state_map": isinstance(getattr(app, "_state_map", None), dict)
            and set(_FORGOTTEN) <= set(app._state_map),
            "ecr._repo_uri": _takes(getattr(self._ecr, "_repo_uri", None), "name"),
            "alb's state": all(
                hasattr(getattr(self._alb, name, None), "values")
                for name in ("_lbs", "_tgs", "_listeners", "_tg_attrs", "_lb_attrs")
            ),
            "iam_actions.extract_resource_arn": _takes(
                getattr(self._actions, "extract_resource_arn", None),
                *("service", "method", "path", "headers", "body", "query_params"),
                *("region", "account_id"),
            ),
            "iam_actions.request_tag_context": _takes(
                getattr(self._actions, "request_tag_context", None),
                *("service", "iam_action", "body", "params"),
            ),
            "iam_evaluator.enforce": _takes(
                getattr(self._policies, "enforce", None),
                *("access_key_id", "iam_action", "service", "region"),
                *("resource_arn", "service_context"),
            ),
            "router.extract_access_key_id": _takes(
                getattr(self._router, "extract_access_key_id", None), "headers", "query_params"
            ),
        }
        if changed := [name for name, holds in expected.items() if not holds]:
            raise MiniStackChangedError(f"MiniStack's {', '.join(changed)} is not as expected")

    def handler(self, service: str) -> Handler:
        """What answers a service's calls once their signature and policies are checked."""
        handler: Handler = self._app.SERVICE_HANDLERS[service]
        return handler

    def replace_handler(self, service: str, handler: Handler) -> None:
        """From here on `handler` answers."""
        self._app.SERVICE_HANDLERS[service] = handler

    def forget_at_stop(self) -> None:
        """What belongs to containers is neither written at a stop nor read at a start."""
        for name in _FORGOTTEN:
            del self._app._state_map[name]

    def name_repositories(self, prefix: str) -> None:
        """Repositories' URIs begin with `prefix`."""
        self._ecr._repo_uri = lambda name: f"{prefix}{name}"

    @property
    def region(self) -> str:
        return str(self._responses.get_region())

    @property
    def account(self) -> str:
        return str(self._responses.get_account_id())

    def access_key(self, headers: Headers, query: dict[str, Any]) -> str:
        """The key that a request is signed with."""
        return str(self._router.extract_access_key_id(headers, query))

    def denial(
        self, access_key: str, action: str, resource: str, keys: Mapping[str, Any] | None = None
    ) -> str | None:
        """None where the key's policies allow the action; else who is denied."""
        denied = self._policies.enforce(
            access_key,
            action,
            action.partition(":")[0],
            self.region,
            resource_arn=resource,
            service_context=dict(keys or {}),
        )
        if denied is None:
            return None
        return str(getattr(denied, "principal_arn", "") or "an unknown principal")

    def ecs_resources(self, operation: str, document: Mapping[str, Any]) -> list[str]:
        """What an operation of ECS's is on."""
        return resources(operation, document, region=self.region, account=self.account)

    def ecs_conditions(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """The condition keys of a call of ECS's."""
        return conditions(document, region=self.region, account=self.account)

    def check_ecs_as_aws_does(self) -> None:
        """MiniStack's own check of policies asks for the resource and the condition keys that AWS does."""
        actions = self._actions
        arn_before, keys_before = actions.extract_resource_arn, actions.request_tag_context

        def resource_arn(
            service: str, method: str, path: str, headers: Headers, body: bytes, *rest: Any
        ) -> Any:
            if service != "ecs":
                return arn_before(service, method, path, headers, body, *rest)
            operation = headers.get("x-amz-target", "").rpartition(".")[2]
            return self.ecs_resources(operation, _document(body))[0]

        def context(service: str, action: str, body: bytes, parameters: Any) -> dict[str, Any]:
            keys: dict[str, Any] = keys_before(service, action, body, parameters)
            return {**keys, **self.ecs_conditions(_document(body))} if service == "ecs" else keys

        actions.extract_resource_arn = resource_arn
        actions.request_tag_context = context

    def target_groups(self) -> list[TargetGroupSettings]:
        """All target groups, as they are set up now."""
        attached = {
            action.get("TargetGroupArn")
            for listener in self._alb._listeners.values()
            for action in listener["DefaultActions"]
        }
        return [
            self._target_group(group, group["TargetGroupArn"] in attached)
            for group in list(self._alb._tgs.values())
        ]

    def listeners(self) -> tuple[ListenerSettings, ...]:
        """All listeners that forward, as they are set up now."""
        return tuple(
            ListenerSettings(
                arn=one["ListenerArn"],
                balancer=one["LoadBalancerArn"],
                group=one["DefaultActions"][0]["TargetGroupArn"],
                port=int(one["Port"]),
                idle_seconds=float(
                    self._attribute(
                        self._alb._lb_attrs, one["LoadBalancerArn"], "idle_timeout.timeout_seconds"
                    )
                    or 60
                ),
            )
            for one in list(self._alb._listeners.values())
            if one["LoadBalancerArn"] in self._alb._lbs
        )

    def name_balancer(self, arn: str, dns_name: str) -> str:
        """Gives a load balancer another DNS name; gives back the one it had."""
        balancer = self._alb._lbs[arn]
        before = str(balancer["DNSName"])
        balancer["DNSName"] = dns_name
        return before

    def _target_group(self, group: dict[str, Any], attached: bool) -> TargetGroupSettings:
        port = str(group["HealthCheckPort"])
        delay = self._attribute(
            self._alb._tg_attrs, group["TargetGroupArn"], "deregistration_delay.timeout_seconds"
        )
        return TargetGroupSettings(
            arn=group["TargetGroupArn"],
            port=int(group["Port"]),
            path=group["HealthCheckPath"],
            check_port=int(port) if port.isdigit() else None,
            interval_seconds=float(group["HealthCheckIntervalSeconds"]),
            timeout_seconds=float(group["HealthCheckTimeoutSeconds"]),
            healthy_threshold=int(group["HealthyThresholdCount"]),
            unhealthy_threshold=int(group["UnhealthyThresholdCount"]),
            codes=group["Matcher"]["HttpCode"],
            deregistration_seconds=float(delay or 300),
            attached=attached,
        )

    def _attribute(self, store: Any, arn: str, key: str) -> str | None:
        for one in store.get(arn, []):
            if one["Key"] == key:
                return str(one["Value"])
        return None


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _takes(function: object, *parameters: str) -> bool:
    return callable(function) and list(inspect.signature(function).parameters) == list(parameters)
