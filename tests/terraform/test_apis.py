"""Each API is its service's contract: the same routes, who must show a token, and what is looked at
before a request reaches a task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
import yaml

from deploy.local._environment import REPOSITORY_ROOT
from tests.terraform.platform_on_moto import SERVICES, Applied

pytestmark = pytest.mark.timeout(900)

METHODS = ("get", "head", "post", "put", "patch", "delete")
Document = Mapping[str, Any]


def contract(service: str) -> Document:
    text = (REPOSITORY_ROOT / "services" / service / "openapi.yaml").read_text(encoding="utf-8")
    document: Document = yaml.safe_load(text)
    return document


def body(applied: Applied, service: str) -> Document:
    (api,) = (
        values
        for address, values in applied.of_type("aws_api_gateway_rest_api").items()
        if f'["{service}"]' in address
    )
    document: Document = json.loads(api["body"])
    return document


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def published(document: Document) -> dict[tuple[str, str], Document]:
    """What of a contract is for the world: all but what operators look at, and each GET as HEAD too."""
    found = {
        (path, method): operation
        for path, method, operation in operations(document)
        if "operations" not in operation["tags"] or path == "/version"
    }
    heads = {(path, "head"): one for (path, method), one in found.items() if method == "get"}
    return heads | found


@pytest.mark.parametrize("service", SERVICES)
def test_its_routes_are_the_contract_s(applied: Applied, service: str) -> None:
    made = {(path, method) for path, method, _ in operations(body(applied, service))}
    wanted = set(published(contract(service)))
    assert made - {(path, "options") for path, _ in wanted} == wanted
    # A browser's question before its request is let through to the service, which knows the origins.
    assert {path for path, method in made if method == "options"} == {path for path, _ in wanted}


@pytest.mark.parametrize("service", SERVICES)
def test_who_has_no_token_gets_only_where_the_contract_says_so(
    applied: Applied, service: str
) -> None:
    document = contract(service)
    made = body(applied, service)
    scheme = made["components"]["securitySchemes"]["accessToken"]
    assert scheme["x-amazon-apigateway-authtype"] == "cognito_user_pools"
    (pool,) = applied.of_type("aws_cognito_user_pool").values()
    assert scheme["x-amazon-apigateway-authorizer"]["providerARNs"] == [pool["arn"]]
    for path, method, operation in operations(made):
        if method == "options":
            assert operation["security"] == []
            continue
        asked = published(document)[path, method].get("security", document["security"])
        assert bool(operation["security"]) == bool(asked), (path, method)
        for requirement in operation["security"]:
            # Without scopes API Gateway would take a token for an identity token, and refuse ours.
            assert requirement["accessToken"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_request_goes_to_the_stage_s_target_with_its_path(
    applied: Applied, service: str
) -> None:
    for path, method, operation in operations(body(applied, service)):
        integration = operation["x-amazon-apigateway-integration"]
        assert integration["uri"] == "http://${stageVariables.target}" + path
        assert integration["httpMethod"] == method.upper()
        assert integration["type"] == "http_proxy"
        assert integration["connectionType"] == "VPC_LINK"
        assert integration["integrationTarget"].endswith(
            next(iter(applied.of_type("aws_lb").values()))["arn_suffix"]
        )
        # Above what a service lets a request take at most, within what API Gateway allows.
        assert 28_000 < integration["timeoutInMillis"] <= 29_000
        parameters = {f"{{{name.rpartition('.')[2]}}}" for name in integration["requestParameters"]}
        assert parameters == {part for part in path.split("/") if part.startswith("{")}


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_validated_is_what_the_contract_demands(applied: Applied, service: str) -> None:
    made = body(applied, service)
    document = contract(service)
    validators = made["x-amazon-apigateway-request-validators"]
    for path, method, operation in operations(made):
        if method == "options":
            continue
        asked = published(document)[path, method]
        validator = validators[operation["x-amazon-apigateway-request-validator"]]
        assert validator["validateRequestParameters"]
        assert validator["validateRequestBody"] == ("requestBody" in operation)
        required = {
            (one["in"], one["name"])
            for one in asked.get("parameters", ())
            # A header that is missing has an answer of its own (428), which the service gives.
            if one.get("required") and one["in"] != "header"
        }
        assert {
            (one["in"], one["name"]) for one in operation["parameters"] if one["required"]
        } == required


def test_some_bodies_are_validated_and_each_example_of_the_contract_passes(
    applied: Applied,
) -> None:
    validated = []
    for service in SERVICES:
        made, document = body(applied, service), contract(service)
        for path, method, operation in operations(made):
            if "requestBody" not in operation:
                continue
            validated.append((path, method))
            ((media, content),) = operation["requestBody"]["content"].items()
            # API Gateway reads draft 4, and knows no `nullable`.
            assert "nullable" not in json.dumps(made["components"]["schemas"])
            validator = jsonschema.Draft4Validator({**content["schema"], **made})
            source = published(document)[path, method]["requestBody"]["content"][media]
            examples = [one["value"] for one in source.get("examples", {}).values()]
            examples += [source["example"]] if "example" in source else []
            assert examples, (path, method)
            for example in examples:
                assert list(validator.iter_errors(example)) == []
            assert list(validator.iter_errors({"unknown": 1})) != []
    assert ("/progress/{userId}/{courseId}", "put") in validated


@pytest.mark.parametrize("service", SERVICES)
def test_the_gateway_s_own_answers_are_problems_of_the_contract(
    applied: Applied, service: str
) -> None:
    schema = contract(service)["components"]["schemas"]
    for kind, answer in body(applied, service)["x-amazon-apigateway-gateway-responses"].items():
        headers = answer["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        (template,) = answer["responseTemplates"].values()
        filled = (
            template.replace("$context.error.messageString", '"said"')
            .replace("$context.status", "418")
            .replace("$context.path", "/live/courses")
            .replace("$context.requestId", "0b0b")
        )
        assert "$" not in filled
        problem = json.loads(filled)
        if problem["status"] == 429:
            # The gateway's alone: no service throttles.
            assert problem.pop("code") == "too_many_requests"
            problem["code"] = "dependency_unavailable"
        jsonschema.validate(problem, {**schema["Problem"], "components": {"schemas": schema}})
        assert answer.get("statusCode", 418) == problem["status"], kind
        challenged = "gatewayresponse.header.WWW-Authenticate" in headers
        assert challenged == (problem["status"] == 401)
