"""DynamoDB calls and answers made of a seed: every operation, every kind of value, every kind of trouble.

Owns what is generated. Knows neither transport nor client.
"""

import base64
import json
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_TEXTS = ("", " ", "null", '"B"', "BS", 'B"', "a\\b", "tab\t", "line\n", "naïve", "日本語", "🦉🎓", "\x00", "\x7f", "\u2028", "\\u0042")  # fmt: skip
_NUMBERS = ("0", "-0", "1", "-1", "3.14", "1E+2", "1e-130", "9.9999999999999999999999999999999999999E+125", "99999999999999999999999999999999999999", "-12345678901234567890123456789012345678", "0.00000000000000000000000000000000000001")  # fmt: skip
_ERRORS = (
    "ConditionalCheckFailedException",
    "IdempotentParameterMismatchException",
    "InternalServerError",
    "ItemCollectionSizeLimitExceededException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ResourceInUseException",
    "ResourceNotFoundException",
    "TransactionCanceledException",
    "TransactionConflictException",
    "TransactionInProgressException",
)
_COMMON_ERRORS = ("AccessDeniedException", "ExpiredTokenException", "IncompleteSignature", "InvalidSignatureException", "MissingAuthenticationToken", "SerializationException", "ThrottlingException", "UnrecognizedClientException", "ValidationException", "NeverHeardOf")  # fmt: skip


@dataclass(frozen=True)
class GeneratedCall:
    """A method of the client, its parameters, and the HTTP answer to it, which may end early."""

    number: int
    method: str
    params: Json
    answer: bytes
    is_cut: bool
    kind: str


def generated_call(number: int) -> GeneratedCall:
    """The call of that number, always the same."""
    made = _Generator(random.Random(number))
    method, params, output = made.operation()
    consumed = {"TableName": "courses", "CapacityUnits": 0.5, "Table": {"CapacityUnits": 0.5}}
    if method not in ("describe_table", "list_tables"):
        several = method.startswith(("batch", "transact"))
        output["ConsumedCapacity"] = [consumed] if several else consumed
    kind, answer, is_cut = made.answer(output)
    return GeneratedCall(number, method, params, answer, is_cut, kind)


class _Generator:
    def __init__(self, random: random.Random) -> None:
        self._random = random

    # Values

    def text(self) -> str:
        if self._random.random() < 0.4:
            return self._random.choice(_TEXTS)
        size = self._random.choice((1, 3, 12, 80))
        return "".join(chr(self._random.choice((self._random.randint(32, 126), self._random.randint(160, 0xD7FF), self._random.randint(0x10000, 0x10FFFF)))) for _ in range(size))  # fmt: skip

    def name(self) -> str:
        return self._random.choice(
            ("courseId", "version", "S", "N", "B", "M", "title", "日", "x y")
        )

    def number(self) -> str:
        if self._random.random() < 0.5:
            return self._random.choice(_NUMBERS)
        digits = str(self._random.randint(1, 10 ** self._random.randint(1, 38) - 1))
        point = self._random.randint(0, len(digits))
        return digits if point in (0, len(digits)) else f"{digits[:point]}.{digits[point:]}"

    def binary(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 2, 3, 20)))

    def several(self, make: Callable[[], Any], least: int = 0) -> list[Any]:
        return [make() for _ in range(self._random.randint(least, 3))]

    def value(self, depth: int = 0, *, binary: bool = True) -> Json:
        kinds = ["S", "S", "N", "N", "BOOL", "NULL", "SS", "NS"]
        kinds += ["B", "BS"] if binary else []
        kinds += ["M", "L"] if depth < 3 else []
        kind = self._random.choice(kinds)
        match kind:
            case "S":
                return {"S": self.text()}
            case "N":
                return {"N": self.number()}
            case "B":
                return {"B": self.binary()}
            case "BOOL":
                return {"BOOL": self._random.random() < 0.5}
            case "NULL":
                return {"NULL": True}
            case "SS":
                return {"SS": self.several(self.text, 1)}
            case "NS":
                return {"NS": self.several(self.number, 1)}
            case "BS":
                return {"BS": self.several(self.binary, 1)}
            case "M":
                return {"M": self.item(depth + 1, binary=binary)}
        return {"L": self.several(lambda: self.value(depth + 1, binary=binary))}

    def item(self, depth: int = 0, *, binary: bool = True) -> Json:
        return {
            self.name(): self.value(depth, binary=binary) for _ in range(self._random.randint(0, 5))
        }

    # Requests, each with the members of its answer

    def operation(self) -> tuple[str, Json, Json]:
        # Half without binary values, as most tables are.
        binary = self._random.random() < 0.5

        def item() -> Json:
            return self.item(binary=binary)

        table = {"TableName": self._random.choice(("courses", "Progress-1.a_b"))}
        keyed = {**table, "Key": item()}
        expression = {
            "ConditionExpression": "attribute_not_exists(#a) OR #a = :a",
            "ExpressionAttributeNames": {"#a": self.text()},
            "ExpressionAttributeValues": {":a": self.value(binary=binary)},
        }
        paged = {
            **table,
            "KeyConditionExpression": "#a = :a",
            "ExclusiveStartKey": item(),
            "Limit": self._random.randint(1, 1000),
            "ScanIndexForward": self._random.random() < 0.5,
        }
        page: Json = {"Items": self.several(item), "Count": 3, "ScannedCount": 4}
        page |= {"LastEvaluatedKey": item()} if self._random.random() < 0.3 else {}
        match self._random.choice(_METHODS):
            case "get_item":
                return "get_item", keyed, {"Item": item()} if self._random.random() < 0.8 else {}
            case "batch_get_item":
                keys = {"Keys": self.several(item), "ConsistentRead": True}
                answered = {"courses": self.several(item)}
                unprocessed = {"courses": keys} if self._random.random() < 0.3 else {}
                return (
                    "batch_get_item",
                    {"RequestItems": {table["TableName"]: keys}},
                    {"Responses": answered, "UnprocessedKeys": unprocessed},
                )
            case "query":
                return "query", paged, page
            case "scan":
                return "scan", {**table, "Segment": 0, "TotalSegments": 2}, page
            case "transact_get_items":
                got = [{"Item": entry} for entry in self.several(item)]
                return "transact_get_items", {"TransactItems": [{"Get": keyed}]}, {"Responses": got}
            case "put_item":
                put = {**table, "Item": item(), **expression, "ReturnValues": "ALL_OLD"}
                return "put_item", put, {"Attributes": item()}
            case "update_item":
                return "update_item", {**keyed, **expression}, {"Attributes": item()}
            case "delete_item":
                estimate = {"ItemCollectionKey": item(), "SizeEstimateRangeGB": [0.5, 1.25]}
                return "delete_item", keyed, {"ItemCollectionMetrics": estimate}
            case "batch_write_item":
                writes = {"courses": [{"PutRequest": {"Item": item()}}, {"DeleteRequest": {"Key": item()}}]}  # fmt: skip
                return "batch_write_item", {"RequestItems": writes}, {"UnprocessedItems": writes}
            case "transact_write_items":
                actions = [{"Put": {**table, "Item": item()}}, {"ConditionCheck": {**keyed, **expression}}]  # fmt: skip
                token = {"ClientRequestToken": f"token-{self._random.random()}"}
                return "transact_write_items", {"TransactItems": actions, **token}, {}
            case "describe_table":
                described = {
                    "TableName": "courses",
                    "CreationDateTime": self._random.choice((1.7e9, 1_700_000_000, 1.5e9 + 0.123)),
                    "ItemCount": 2**53 + 1,
                    "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
                    "ProvisionedThroughput": {"ReadCapacityUnits": 5},
                }
                return "describe_table", table, {"Table": described}
        return "list_tables", {"Limit": 5}, {"TableNames": self.several(self.text)}

    # Answers

    def answer(self, output: Json) -> tuple[str, bytes, bool]:
        kind = self._random.choices(_ANSWERS, _WEIGHTS)[0]
        match kind:
            case "success":
                return kind, self.http(self.json(output)), False
            case "chunked":
                return kind, self.http(self.json(output), chunked=True), False
            case "unknown and null members":
                more: Json = {"Unheard": {"S": "x"}, "Item": None}
                if isinstance(output.get("ConsumedCapacity"), dict):
                    more["ConsumedCapacity"] = {**output["ConsumedCapacity"], "New": 1}
                return kind, self.http(self.json({**output, **more})), False
            case "of another shape":
                wrong: Any = self._random.choice(([], "text", {"Item": 1}, {"ConsumedCapacity": "x"}, {"Items": {"a": "b"}}, {"Item": {"a": {"B": "?"}}}, {"Responses": 1}, {"Table": []}))  # fmt: skip
                body = b"\xff\xfe" if self._random.random() < 0.2 else json.dumps(wrong).encode()
                return kind, self.http(body), False
            case "modeled error":
                named = f"com.amazonaws.dynamodb.v20120810#{self._random.choice(_ERRORS)}"
                refusal = {"__type": named, **self.error_members()}
                return kind, self.http(self.json(refusal), status=400), False
            case "common error":
                name = self._random.choice(_COMMON_ERRORS)
                shape = self._random.choice(("com.amazon.coral.service#{}", "{}", "{}:http://x/y"))
                refusal = {"__type": shape.format(name), **self.error_members()}
                status = self._random.choice((400, 403, 413, 429))
                return kind, self.http(self.json(refusal), status=status), False
            case "server error":
                body = self._random.choice((b"", b"<html>no</html>", b'{"__type":"InternalServerError"}', b"{}", b"oops"))  # fmt: skip
                status = self._random.choice((500, 502, 503, 504))
                return kind, self.http(body, status=status), False
            case "wrong crc":
                return kind, self.http(self.json(output), crc=self._random.choice(("1", "x", ""))), False  # fmt: skip
            case "no crc, no request id":
                return kind, self.http(self.json(output), crc=None, request_id=None), False
            case "no json":
                body = self._random.choice((b"", b"<html>a proxy</html>", b'{"Item":', b"{}}", b"\xef\xbb\xbf{}", b"nul"))  # fmt: skip
                return kind, self.http(body), False
            case "odd json":
                body = self._random.choice((b'{"Item":{"a":{"S":"\\ud800"}}}', b'{"Count":1e400}', b'{"Count":-Infinity}', b'{"Item":{"a":{"S":"1"}},"Item":{}}', b' {"Count" : -0 } ', b'{"\\u0049tem":{"a":{"\\u0042":"AAEC"}}}'))  # fmt: skip
                return kind, self.http(body), False
            case "cut in the body":
                return kind, self.http(self.json({**output, "pad": "x" * 40}))[:-7], True
            case "cut in the head":
                return kind, self.http(self.json(output))[:20], True
        return kind, b"", True

    def error_members(self) -> Json:
        message = {self._random.choice(("message", "Message")): self.text()}
        item = {"Item": self.item()} if self._random.random() < 0.5 else {}
        reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "m", **item}]
        return {**message, **item, "CancellationReasons": reasons}

    def json(self, body: Json) -> bytes:
        separators = self._random.choice(((",", ":"), (", ", ": ")))
        ascii_only = self._random.random() < 0.5
        text = json.dumps(
            body,
            default=lambda value: base64.b64encode(value).decode(),
            separators=separators,
            ensure_ascii=ascii_only,
        )
        return text.encode()

    def http(
        self,
        body: bytes,
        *,
        status: int = 200,
        chunked: bool = False,
        crc: str | None = "right",
        request_id: str | None = "REQUEST",
    ) -> bytes:
        headers: dict[str, str] = {"Server": "Server", "Content-Type": "application/x-amz-json-1.0"}
        if request_id is not None:
            headers["x-amzn-RequestId"] = f"{request_id}{self._random.randint(0, 9)}"
        if crc is not None:
            headers["x-amz-crc32"] = str(zlib.crc32(body)) if crc == "right" else crc
        if self._random.random() < 0.1:
            headers["Retry-After"] = "3"
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
            middle = len(body) // 2 or 1
            body = b"".join(
                b"%x\r\n%b\r\n" % (len(part), part)
                for part in (body[:middle], body[middle:])
                if part
            )
            body += b"0\r\n\r\n"
        else:
            headers["Content-Length"] = str(len(body))
        return _head(status, headers) + body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


_METHODS = ("get_item", "batch_get_item", "query", "scan", "transact_get_items", "put_item", "update_item", "delete_item", "batch_write_item", "transact_write_items", "describe_table", "list_tables")  # fmt: skip
_KINDS = {
    "success": 50,
    "chunked": 5,
    "unknown and null members": 5,
    "of another shape": 3,
    "modeled error": 14,
    "common error": 8,
    "server error": 4,
    "wrong crc": 3,
    "no crc, no request id": 2,
    "no json": 2,
    "odd json": 4,
    "cut in the body": 1,
    "cut in the head": 1,
    "closed without a word": 1,
}
_ANSWERS, _WEIGHTS = tuple(_KINDS), tuple(_KINDS.values())
