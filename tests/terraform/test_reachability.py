"""Who can reach whom, by the security groups, routes and gateways of the plan for production."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.terraform.platform_on_moto import CONSUMER, SERVICES, of_type
from tests.terraform.terraform import Plan

Edge = tuple[str, str, int]
"""From one group to another, or to a prefix list, by a TCP port."""

TASKS = (*SERVICES, CONSUMER, "monolith")
LISTENERS = {
    "course_catalog": 8001,
    "content_delivery": 8002,
    "progress_tracking": 8003,
    "monolith": 8000,
}


class Network:
    """The rules of the plan. Groups have no ids yet, so they are known by what refers to them."""

    def __init__(self, plan: Plan) -> None:
        self.resources = plan.resources
        self._configured = plan.document["configuration"]["root_module"]
        self.allowed_in: set[Edge] = set()
        self.allowed_out: set[Edge] = set()
        for address, values in self._rules("aws_vpc_security_group_ingress_rule"):
            own, other = self._ends(address)
            self.allowed_in.add((other, own, self._port(values)))
        for address, values in self._rules("aws_vpc_security_group_egress_rule"):
            own, other = self._ends(address)
            self.allowed_out.add((own, other, self._port(values)))

    def connections(self) -> set[Edge]:
        """What both ends let through; prefix lists and the world outside have no end of ours."""
        return {edge for edge in self.allowed_out if edge in self.allowed_in} | {
            edge for edge in self.allowed_out if edge[1].startswith("prefix:")
        }

    def _rules(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for one in self.resources:
            if one["type"] == kind:
                yield one["address"], one["values"]

    @staticmethod
    def _port(values: Mapping[str, Any]) -> int:
        assert values["ip_protocol"] == "tcp"
        assert values["from_port"] == values["to_port"]
        port: int = values["from_port"]
        return port

    def _ends(self, address: str) -> tuple[str, str]:
        """The rule's own group and the other end, from the expressions that it is made of."""
        module, _, name = address.rpartition(".aws_vpc_security_group_")
        task = {
            "module.consumer": CONSUMER,
            "module.monolith[0]": "monolith",
            **{f'module.service["{service}"]': service for service in SERVICES},
        }[module]
        call = module.removeprefix("module.").split("[")[0]
        rule, _, key = name.partition(".")[2].partition("[")
        kind = f"aws_vpc_security_group_{name.partition('.')[0]}"
        expressions = next(
            one["expressions"]
            for one in self._configured["module_calls"][call]["module"]["resources"]
            if one["type"] == kind and one["name"] == rule
        )
        own = self._group(task, expressions["security_group_id"])
        if "referenced_security_group_id" in expressions:
            return own, self._group(task, expressions["referenced_security_group_id"])
        assert "prefix_list_id" in expressions, address
        return own, f"prefix:{json.loads(key.rstrip(']'))}"

    @staticmethod
    def _group(task: str, expression: Mapping[str, Any]) -> str:
        reference = expression["references"][0]
        return {
            "aws_security_group.this.id": task,
            "var.platform.network.endpoints_security_group_id": "endpoints",
            "var.platform.network.load_balancer_security_group_id": "load balancer",
            "var.platform.network.link_security_group_id": "link",
        }[reference]


@pytest.fixture(scope="module")
def network(production: Plan) -> Network:
    return Network(production)


def test_only_these_connections_are_possible(network: Network) -> None:
    """So from one service's tasks to another's there is none, nor from anywhere to the link."""
    expected = (
        {("link", "load balancer", port) for port in LISTENERS.values()}
        | {("load balancer", service, 8080) for service in LISTENERS}
        | {(task, "endpoints", 443) for task in TASKS}
        | {(task, f"prefix:{name}", 443) for task in TASKS for name in ("dynamodb", "s3")}
    )
    assert network.connections() == expected
    # Nor is there a rule with nothing at its other end.
    assert network.allowed_in == {edge for edge in expected if not edge[1].startswith("prefix:")}
    assert network.allowed_out == expected


def test_no_rule_names_addresses(network: Network) -> None:
    for one in network.resources:
        if one["type"].startswith("aws_vpc_security_group_"):
            assert one["values"].get("cidr_ipv4") is None
            assert one["values"].get("cidr_ipv6") is None
        if one["type"] == "aws_security_group":
            # In-line rules would be beside those above.
            assert not one["values"].get("ingress")
            assert not one["values"].get("egress")
    (closed,) = of_type(network.resources, "aws_default_security_group").values()
    assert not closed.get("ingress")
    assert not closed.get("egress")


def test_there_is_no_way_to_or_from_the_internet(network: Network) -> None:
    kinds = {one["type"] for one in network.resources}
    ways = {
        "aws_internet_gateway",
        "aws_nat_gateway",
        "aws_egress_only_internet_gateway",
        "aws_eip",
        "aws_route",
        "aws_vpc_peering_connection",
        "aws_vpn_gateway",
    }
    assert kinds & ways == set()
    for table in of_type(network.resources, "aws_route_table").values():
        assert not table.get("route")
    for subnet in of_type(network.resources, "aws_subnet").values():
        assert not subnet["map_public_ip_on_launch"]
    (balancer,) = of_type(network.resources, "aws_lb").values()
    assert balancer["internal"]
    for service in of_type(network.resources, "aws_ecs_service").values():
        assert [one["assign_public_ip"] for one in service["network_configuration"]] == [False]


def test_each_service_of_aws_that_tasks_speak_to_has_an_endpoint(network: Network) -> None:
    endpoints = {
        one["service_name"].removeprefix("com.amazonaws.eu-central-1."): one["vpc_endpoint_type"]
        for one in of_type(network.resources, "aws_vpc_endpoint").values()
    }
    interface = ("cognito-idp", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "sqs", "xray")
    assert endpoints == {
        **dict.fromkeys(interface, "Interface"),
        **dict.fromkeys(("dynamodb", "s3"), "Gateway"),
    }
