"""CloudWatch's Embedded Metric Format as a JSON Schema and as the rules that a schema cannot say.

After "Specification: Embedded metric format" of the CloudWatch user guide; the object form of a
metric's value after what AWS's own exporters write (docs/adr/0056).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

_NUMBERS = {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "number"}}
_STATISTICS = {
    "type": "object",
    "required": ["Values", "Counts", "Max", "Min", "Count", "Sum"],
    "additionalProperties": False,
    "properties": {
        "Values": {**_NUMBERS, "uniqueItems": True},
        "Counts": {**_NUMBERS, "items": {"type": "integer", "minimum": 1}},
        "Max": {"type": "number"},
        "Min": {"type": "number"},
        "Count": {"type": "integer", "minimum": 1},
        "Sum": {"type": "number"},
    },
}
_UNITS = """Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits
Kilobits Megabits Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second
Gigabytes/Second Terabytes/Second Bits/Second Kilobits/Second Megabits/Second Gigabits/Second
Terabits/Second Count/Second None""".split()

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 0},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 255},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "uniqueItems": True,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "uniqueItems": True,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 255},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {
                                            "type": "string",
                                            "minLength": 1,
                                            "maxLength": 255,
                                        },
                                        "Unit": {"enum": _UNITS},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
_METRIC = {"anyOf": [{"type": "number"}, _NUMBERS, _STATISTICS]}
# PutMetricData, "Dimension": ASCII without control characters, not blank, no colon in front.
_DIMENSION = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1024,
    "pattern": r"^(?!:)(?=.*[!-~])[ -~]+$",
}


def check_document(document: Mapping[str, Any]) -> None:
    """Raises AssertionError or jsonschema's ValidationError unless CloudWatch takes all of it."""
    assert len(json.dumps(document)) < 16_384, "a log driver would cut this line"
    Draft202012Validator(SCHEMA).validate(document)
    metric, dimension = Draft202012Validator(_METRIC), Draft202012Validator(_DIMENSION)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        names = [definition["Name"] for definition in directive["Metrics"]]
        assert len(set(names)) == len(names)
        for name in names:
            metric.validate(document[name])
            if isinstance(document[name], dict):
                _check_statistics(document[name])
        for dimension_set in directive["Dimensions"]:
            for name in dimension_set:
                dimension.validate(document[name])


def _check_statistics(value: Mapping[str, Any]) -> None:
    assert len(value["Values"]) == len(value["Counts"])
    assert sum(value["Counts"]) == value["Count"]
    assert value["Values"] == sorted(value["Values"])
    assert value["Min"] <= value["Values"][0] <= value["Values"][-1] <= value["Max"]
