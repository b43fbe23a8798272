"""What answers the calls of ECS, ECR and ELBv2 in MiniStack's place, or before it.

MiniStack has checked the signature and, for one resource a call, the policies; what AWS looks at besides
is looked at here. What neither MiniStack nor this carries out is refused, rather than taken and forgotten.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from .._load_balancer._control import Counts
from ._authorization import passed_roles
from ._definition import DefinitionError, TaskDefinition, read_definition, refuse
from ._ecs_api import ApiError, EcsApi, Request, last_part
from ._ministack import Headers, MiniStack, Response
from ._registry import USER, RegistryLogin
from ._runtime import Containers
from ._targets import Endpoint, TargetHealth

_log = logging.getLogger("lyceum.containers")

_ECS_TARGET = "AmazonEC2ContainerServiceV20141113"
_ECR_TARGET = "AmazonEC2ContainerRegistry_V20150921"
_ELB_NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
_NAMES_OF_DEFINITION = ("CreateService", "RunTask", "UpdateService")


class EcsHandler:
    """ECS: services and tasks here, clusters and task definitions MiniStack's."""

    _PASSED = frozenset(
        {
            "CreateCluster",
            "DeleteCluster",
            "DeregisterTaskDefinition",
            "DescribeClusters",
            "DescribeTaskDefinition",
            "ListClusters",
            "ListTagsForResource",
            "ListTaskDefinitionFamilies",
            "ListTaskDefinitions",
            "RegisterTaskDefinition",
            "TagResource",
            "UntagResource",
        }
    )

    def __init__(self, ministack: MiniStack, containers: Containers) -> None:
        self._ministack = ministack
        self._original = ministack.handler("ecs")
        self._containers = containers

    async def __call__(
        self, method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]
    ) -> Response:
        target, _, operation = headers.get("x-amz-target", "").partition(".")
        try:
            if method != "POST" or target != _ECS_TARGET:
                raise ApiError("InvalidAction", "only ECS's JSON protocol is spoken here")
            document = json.loads(body or b"{}")
            self._authorize(self._ministack.access_key(headers, query), operation, document)
            if operation in self._PASSED:
                await self._check(operation, document)
                return await self._original(method, path, headers, body, query)
            if operation not in EcsApi.OPERATIONS:
                raise ApiError("UnsupportedFeatureException", f"{operation} is not available here")
            request = Request(
                operation,
                document,
                clusters=await self._clusters(),
                definition=await self._definition(operation, document),
            )
            return _json(200, await self._containers.call(self._containers.api.call(request)))
        except ApiError as error:
            status = 403 if error.code == "AccessDeniedException" else 400
            return _json(status, {"__type": error.code, "message": str(error)})
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            _log.info("ECS %s: %r", operation, error)
            text = f"the request can not be read: {error!r}"
            return _json(400, {"__type": "InvalidParameterException", "message": text})

    def _authorize(self, key: str, operation: str, document: Mapping[str, Any]) -> None:
        """What MiniStack has not looked at: any resource after the first, and the roles passed on."""
        more = self._ministack.ecs_resources(operation, document)[1:]
        checks: list[tuple[str, str, Mapping[str, Any]]] = [
            (f"ecs:{operation}", arn, self._ministack.ecs_conditions(document)) for arn in more
        ]
        checks += [("iam:PassRole", role, keys) for role, keys in passed_roles(operation, document)]
        for action, arn, keys in checks:
            if (principal := self._ministack.denial(key, action, arn, keys)) is not None:
                raise ApiError(
                    "AccessDeniedException",
                    f"User: {principal} is not authorized to perform: {action} on resource: {arn}",
                )

    async def _check(self, operation: str, document: Mapping[str, Any]) -> None:
        if operation == "RegisterTaskDefinition":
            try:
                refuse(document)
            except DefinitionError as error:
                raise ApiError("ClientException", str(error)) from None
        elif operation == "DeleteCluster":
            name = last_part(document.get("cluster") or "")
            for (cluster, _), service in list(self._containers.cluster.services.items()):
                if cluster == name and service.status != "INACTIVE":
                    raise ApiError(
                        "ClusterContainsServicesException",
                        "The Cluster cannot be deleted while Services are active.",
                    )

    async def _clusters(self) -> dict[str, str]:
        answer = await self._ask("ListClusters", {})
        return {last_part(arn): arn for arn in answer["clusterArns"]}

    async def _definition(
        self, operation: str, document: Mapping[str, Any]
    ) -> TaskDefinition | None:
        reference = document.get("taskDefinition")
        if operation not in _NAMES_OF_DEFINITION or not reference:
            return None
        found = (await self._ask("DescribeTaskDefinition", {"taskDefinition": reference}))[
            "taskDefinition"
        ]
        if found["status"] != "ACTIVE":
            raise ApiError("ClientException", "TaskDefinition is inactive")
        return read_definition(found)

    async def _ask(self, operation: str, document: Mapping[str, Any]) -> dict[str, Any]:
        status, _, body = await self._original(
            *("POST", "/", {"x-amz-target": f"{_ECS_TARGET}.{operation}"}),
            json.dumps(document).encode(),
            {},
        )
        answer: dict[str, Any] = json.loads(body)
        if status != 200:
            raise ApiError(answer.get("__type", "ServerException"), answer.get("message", ""))
        return answer


class ElbHandler:
    """ELBv2: MiniStack remembers, the load balancer's process does."""

    _PASSED = frozenset(
        {
            "AddTags",
            "CreateListener",
            "CreateLoadBalancer",
            "CreateTargetGroup",
            "DeleteListener",
            "DeleteLoadBalancer",
            "DeleteTargetGroup",
            "DescribeListeners",
            "DescribeLoadBalancerAttributes",
            "DescribeLoadBalancers",
            "DescribeTags",
            "DescribeTargetGroupAttributes",
            "DescribeTargetGroups",
            "ModifyListener",
            "ModifyLoadBalancerAttributes",
            "ModifyTargetGroup",
            "ModifyTargetGroupAttributes",
            "RemoveTags",
        }
    )

    def __init__(self, ministack: MiniStack, containers: Containers) -> None:
        self._ministack = ministack
        self._original = ministack.handler("elasticloadbalancing")
        self._containers = containers

    async def __call__(
        self, method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]
    ) -> Response:
        parameters = dict(parse_qsl(body.decode("utf-8", "replace")))
        action = parameters.get("Action", "")
        try:
            match action:
                case "DescribeTargetHealth":
                    return await self._describe_target_health(parameters)
                case "RegisterTargets" | "DeregisterTargets":
                    return await self._change_targets(action, parameters)
                case _ if action in self._PASSED:
                    self._check(action, parameters)
                    answer = await self._original(method, path, headers, body, query)
                    if answer[0] != 200 or action.startswith("Describe"):
                        return answer
                    return await self._follow(action, parameters, answer)
            raise ApiError("UnsupportedFeature", f"{action} is not available here")
        except ApiError as error:
            return _elb_error(error.code, str(error))
        except (ValueError, KeyError) as error:
            _log.info("ELBv2 %s: %r", action, error)
            return _elb_error("ValidationError", f"the request can not be read: {error!r}")

    def _check(self, action: str, parameters: Mapping[str, str]) -> None:
        """Refuses what the load balancer here does not do."""
        if (
            action == "CreateLoadBalancer"
            and parameters.get("Type", "application") != "application"
        ):
            raise ApiError("UnsupportedFeature", "only application load balancers")
        if action == "CreateTargetGroup" and (
            parameters.get("TargetType") != "ip" or parameters.get("Protocol") != "HTTP"
        ):
            raise ApiError("UnsupportedFeature", "only target groups of type ip and protocol HTTP")
        if action not in ("CreateListener", "ModifyListener"):
            return
        if parameters.get("Protocol", "HTTP") != "HTTP":
            raise ApiError("UnsupportedFeature", "only listeners of protocol HTTP")
        first = "DefaultActions.member.1"
        given = any(name.startswith("DefaultActions.") for name in parameters)
        if (given or action == "CreateListener") and (
            parameters.get(f"{first}.Type") != "forward"
            or f"{first}.TargetGroupArn" not in parameters
            or "DefaultActions.member.2.Type" in parameters
        ):
            raise ApiError("UnsupportedFeature", "only listeners that forward to one target group")

    async def _follow(
        self, action: str, parameters: Mapping[str, str], answer: Response
    ) -> Response:
        """Has the load balancer's process do what MiniStack has just remembered."""
        status, headers, body = answer
        if action == "CreateLoadBalancer":
            arn = _between(body, "LoadBalancerArn")
            address = await self._containers.call(self._containers.address_of(arn))
            before = self._ministack.name_balancer(arn, address)
            return status, headers, body.replace(before.encode(), address.encode())
        refused = await self._containers.call(
            self._containers.configure(self._ministack.target_groups(), self._ministack.listeners())
        )
        if action == "DeleteLoadBalancer":
            await self._containers.call(
                self._containers.forget_balancer(parameters["LoadBalancerArn"])
            )
        if action == "CreateListener" and (reason := refused.get(_between(body, "ListenerArn"))):
            await self._delete_listener(_between(body, "ListenerArn"))
            raise ApiError("InvalidConfigurationRequest", f"the port can not be used: {reason}")
        return answer

    async def _delete_listener(self, arn: str) -> None:
        form = urlencode({"Action": "DeleteListener", "ListenerArn": arn}).encode()
        await self._original("POST", "/", {}, form, {})
        await self._containers.call(
            self._containers.configure(self._ministack.target_groups(), self._ministack.listeners())
        )

    async def _describe_target_health(self, parameters: Mapping[str, str]) -> Response:
        group = self._group(parameters)
        wanted = {one.address for one in _endpoints(parameters, self._port(group))}
        found = await self._containers.call(self._containers.target_health(group))
        members = "".join(
            _health_member(one) for one in found if not wanted or one.endpoint.address in wanted
        )
        return _elb_answer(
            "DescribeTargetHealth",
            f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>",
        )

    async def _change_targets(self, action: str, parameters: Mapping[str, str]) -> Response:
        group = self._group(parameters)
        groups = self._containers.groups
        for endpoint in _endpoints(parameters, self._port(group)):
            if action == "RegisterTargets":
                await self._containers.call(groups.register(group, endpoint))
            else:
                await self._containers.call(groups.deregister(group, endpoint))
                await self._containers.call(groups.forget_later(group, endpoint))
        return _elb_answer(action, "")

    def _group(self, parameters: Mapping[str, str]) -> str:
        arn = parameters.get("TargetGroupArn", "")
        if self._containers.groups.settings(arn) is None:
            raise ApiError("TargetGroupNotFound", f"Target group '{arn}' not found")
        return arn

    def _port(self, group: str) -> int:
        settings = self._containers.groups.settings(group)
        assert settings is not None
        return settings.port


class EcrHandler:
    """ECR: MiniStack's, with a login that means something."""

    def __init__(self, ministack: MiniStack, login: RegistryLogin, endpoint: str) -> None:
        self._ministack = ministack
        self._original = ministack.handler("ecr")
        self._login = login
        self._endpoint = endpoint

    async def __call__(
        self, method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]
    ) -> Response:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation == "GetAuthorizationToken":
            password, expires_at = self._login.issue(self._ministack.access_key(headers, query))
            token = base64.b64encode(f"{USER}:{password}".encode()).decode()
            data = {
                "authorizationToken": token,
                "expiresAt": expires_at,
                "proxyEndpoint": self._endpoint,
            }
            return _json(200, {"authorizationData": [data]})
        answer = await self._original(method, path, headers, body, query)
        if operation == "DescribeImages" and answer[0] == 200:
            return _images_found(json.loads(body or b"{}"), answer)
        return answer

    async def digest(self, repository: str, tag: str) -> str | None:
        """The digest that a tag stands for now."""
        request = {"repositoryName": repository, "imageIds": [{"imageTag": tag}]}
        status, _, body = await self._original(
            *("POST", "/", {"x-amz-target": f"{_ECR_TARGET}.DescribeImages"}),
            json.dumps(request).encode(),
            {},
        )
        details = json.loads(body).get("imageDetails") if status == 200 else None
        return str(details[0]["imageDigest"]) if details else None


class Metrics:
    """What the load balancer counted, as CloudWatch has it (namespace AWS/ApplicationELB)."""

    def __init__(self, ministack: MiniStack) -> None:
        self._ministack = ministack
        self._put = ministack.handler("monitoring")

    async def publish(self, counts: Mapping[str, Counts]) -> None:
        """Adds what listeners counted; the keys are their ARNs."""
        groups = {one.arn: one.group for one in self._ministack.listeners()}
        form = {"Action": "PutMetricData", "Version": "2010-08-01"}
        form["Namespace"] = "AWS/ApplicationELB"
        number = 0
        for listener, one in counts.items():
            # listener/app/NAME/ID/ID and targetgroup/NAME/ID: how CloudWatch names them.
            balancer = "/".join(listener.partition(":listener/")[2].split("/")[:3])
            group = groups.get(listener, "").rpartition(":")[2]
            for name, value in _metrics(one).items():
                number += 1
                prefix = f"MetricData.member.{number}"
                form[f"{prefix}.MetricName"] = name
                form[f"{prefix}.Value"] = str(value)
                form[f"{prefix}.Unit"] = "Count"
                form[f"{prefix}.Timestamp"] = datetime.now(UTC).isoformat()
                form[f"{prefix}.Dimensions.member.1.Name"] = "TargetGroup"
                form[f"{prefix}.Dimensions.member.1.Value"] = group
                form[f"{prefix}.Dimensions.member.2.Name"] = "LoadBalancer"
                form[f"{prefix}.Dimensions.member.2.Value"] = balancer
        headers = {"content-type": "application/x-www-form-urlencoded"}
        status, _, body = await self._put("POST", "/", headers, urlencode(form).encode(), {})
        if status != 200:
            _log.error("metrics are lost: %s", body[:200])


def _metrics(counts: Counts) -> dict[str, int]:
    metrics = {
        "RequestCount": counts.requests,
        "HTTPCode_ELB_5XX_Count": counts.balancer_errors,
        "HTTPCode_Target_5XX_Count": counts.target_errors,
        "TargetConnectionErrorCount": counts.connection_errors,
    }
    return {name: value for name, value in metrics.items() if value}


def _images_found(request: Mapping[str, Any], answer: Response) -> Response:
    """MiniStack leaves out images that are not there, where ECR answers with an error."""
    found = json.loads(answer[2])["imageDetails"]
    for wanted in request.get("imageIds") or []:
        if not any(
            wanted.get("imageDigest") == one["imageDigest"]
            or wanted.get("imageTag") in one["imageTags"]
            for one in found
        ):
            text = (
                f"The image with imageId {json.dumps(wanted)} does not exist within the repository"
                f" with name '{request.get('repositoryName')}'"
            )
            return _json(400, {"__type": "ImageNotFoundException", "message": text})
    return answer


def _endpoints(parameters: Mapping[str, str], port: int) -> list[Endpoint]:
    endpoints, number = [], 1
    while (address := parameters.get(f"Targets.member.{number}.Id")) is not None:
        given = parameters.get(f"Targets.member.{number}.Port")
        endpoints.append(Endpoint(address, int(given) if given else port))
        number += 1
    return endpoints


def _health_member(one: TargetHealth) -> str:
    reason = f"<Reason>{one.reason}</Reason>" if one.reason else ""
    description = f"<Description>{escape(one.description)}</Description>" if one.description else ""
    return (
        f"<member><Target><Id>{escape(one.endpoint.address)}</Id><Port>{one.endpoint.port}</Port>"
        f"</Target><HealthCheckPort>{one.endpoint.port}</HealthCheckPort>"
        f"<TargetHealth><State>{one.state.value}</State>{reason}{description}</TargetHealth></member>"
    )


def _between(body: bytes, element: str) -> str:
    text = body.decode()
    return text.partition(f"<{element}>")[2].partition(f"</{element}>")[0]


def _json(status: int, document: Mapping[str, Any]) -> Response:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(document).encode()


def _elb_answer(action: str, result: str) -> Response:
    body = (
        f'<{action}Response xmlns="{_ELB_NAMESPACE}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{secrets.token_hex(16)}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    )
    return 200, {"Content-Type": "text/xml"}, body.encode()


def _elb_error(code: str, message: str) -> Response:
    body = (
        f'<ErrorResponse xmlns="{_ELB_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message></Error>"
        f"<RequestId>{secrets.token_hex(16)}</RequestId></ErrorResponse>"
    )
    return 400, {"Content-Type": "text/xml"}, body.encode()
