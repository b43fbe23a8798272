"""`Database` on DynamoDB and its streams, through two SDK clients.

Owns expressions and the meaning of errors. The clients must not repeat calls by themselves
(`max_attempts` 1): whether an answer was lost is the engine's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
)

from deploy.migration._items import MARK, AttributeValue, Item
from deploy.migration._ports import (
    AllOf,
    AnyOf,
    Batch,
    Change,
    Condition,
    ConditionFailed,
    DeniedError,
    Equal,
    Index,
    IteratorExpired,
    Less,
    Missing,
    Page,
    Path,
    Present,
    Rights,
    Shard,
    ShardPage,
    TableFacts,
    Throttled,
    Trimmed,
    Unanswered,
)
from deploy.migration.mapping import RESERVED, Cell, Table
from libs.aws import DependencyUnavailable

_THROTTLED: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "Throttling",
        "LimitExceededException",
        # Not carried out because another call holds the item.
        "TransactionConflictException",
        "TransactionInProgressException",
        "TransactionCanceledException",
    }
)


_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
    }
)


class DynamoDBDatabase:
    """The tables of one account and region. Table names are the mapping's."""

    def __init__(
        self, dynamodb: Any, streams: Any, trouble: Callable[[str], None] = lambda _: None
    ) -> None:
        """The SDK's clients of `dynamodb` and `dynamodbstreams`; `trouble` hears of each call that
        was throttled or not answered, since such are repeated in silence."""
        self._dynamodb = dynamodb
        self._streams = streams
        self._trouble = trouble
        self._arns: dict[str, str] = {}

    async def describe(self, table: Table) -> TableFacts | None:
        """As `Database.describe`."""
        try:
            answer = await self._call(self._dynamodb.describe_table, TableName=table.name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return _facts(answer["Table"])

    async def denied(self, table: Table, rights: Rights) -> Sequence[str]:
        """As `Database.denied`. Writes are tried on a condition that nothing can meet."""
        cell = Cell(table.name, f"{RESERVED}rights", None if table.sort is None else "rights")
        key = (table.partition,)
        never = AllOf((Present(key), Missing(key)))
        tries: dict[str, Callable[[], Awaitable[object]]] = {
            "dynamodb:GetItem": lambda: self.get(table, cell),
            "dynamodb:Query": lambda: self.query(table, cell.partition, "", None),
            "dynamodb:PutItem": lambda: self.put(table, table.key(cell), never),
            "dynamodb:DeleteItem": lambda: self.delete(table, cell, never),
        }
        if rights is Rights.DATA:
            tries |= {
                "dynamodb:UpdateItem": lambda: self.unmark(table, cell, {"M": {}}),
                "dynamodb:BatchGetItem": lambda: self.get_many(table, [cell]),
                "dynamodb:Scan": lambda: self.scan(
                    table, segment=0, segments=1, start=None, limit=1
                ),
            }
        refused = [action for action, call in tries.items() if not await _is_allowed(call)]
        return refused + (await self._denied_of_stream(table) if rights is Rights.DATA else [])

    async def _denied_of_stream(self, table: Table) -> list[str]:
        """An iterator and its records can not be tried without what comes before."""
        try:
            shards = await self.shards(table, None)
        except DeniedError:
            return ["dynamodb:DescribeStream"]
        except (KeyError, ClientError):
            return []  # it has no stream; that is told elsewhere
        if not shards.shards:
            return []
        try:
            iterator = await self.open_shard(table, shards.shards[0].id, None)
        except DeniedError:
            return ["dynamodb:GetShardIterator"]
        except Trimmed:
            return []
        if not await _is_allowed(lambda: self.read_shard(iterator, 1)):
            return ["dynamodb:GetRecords"]
        return []

    async def get(self, table: Table, cell: Cell) -> Item | None:
        """As `Database.get`."""
        answer = await self._call(
            self._dynamodb.get_item, TableName=table.name, Key=table.key(cell), ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        return item

    async def get_many(self, table: Table, cells: Sequence[Cell]) -> Mapping[Cell, Item]:
        """As `Database.get_many`."""
        found: dict[Cell, Item] = {}
        keys: list[Item] = [table.key(cell) for cell in cells]
        while keys:
            request = {table.name: {"Keys": keys, "ConsistentRead": True}}
            answer = await self._call(self._dynamodb.batch_get_item, RequestItems=request)
            for item in answer["Responses"].get(table.name, []):
                found[table.cell(item)] = item
            left = answer.get("UnprocessedKeys", {}).get(table.name, {}).get("Keys", [])
            if len(left) == len(keys):
                raise Throttled("no key was processed")
            keys = left
        return found

    async def get_together(self, cells: Sequence[tuple[Table, Cell]]) -> Sequence[Item | None]:
        """As `Database.get_together`."""
        answer = await self._call(
            self._dynamodb.transact_get_items,
            TransactItems=[
                {"Get": {"TableName": table.name, "Key": table.key(cell)}} for table, cell in cells
            ],
        )
        return [response.get("Item") or None for response in answer["Responses"]]

    async def put(self, table: Table, item: Item, condition: Condition | None = None) -> float:
        """As `Database.put`."""
        answer = await self._call(
            self._dynamodb.put_item,
            TableName=table.name,
            Item=item,
            ReturnConsumedCapacity="TOTAL",
            **_condition(condition),
        )
        return _units(answer)

    async def delete(self, table: Table, cell: Cell, condition: Condition | None = None) -> None:
        """As `Database.delete`."""
        await self._call(
            self._dynamodb.delete_item,
            TableName=table.name,
            Key=table.key(cell),
            **_condition(condition),
        )

    async def unmark(self, table: Table, cell: Cell, mark: AttributeValue) -> float:
        """As `Database.unmark`."""
        expression = Expression()
        as_it_was = expression.write(Equal((MARK,), mark))
        answer = await self._call(
            self._dynamodb.update_item,
            TableName=table.name,
            Key=table.key(cell),
            UpdateExpression=expression.remove((MARK,)),
            ConditionExpression=as_it_was,
            ExpressionAttributeNames=expression.names,
            ExpressionAttributeValues=expression.values,
            ReturnConsumedCapacity="TOTAL",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        return _units(answer)

    async def scan(
        self, table: Table, *, segment: int, segments: int, start: Item | None, limit: int
    ) -> Page:
        """As `Database.scan`."""
        answer = await self._call(
            self._dynamodb.scan,
            TableName=table.name,
            ConsistentRead=True,
            Limit=limit,
            ReturnConsumedCapacity="TOTAL",
            **({"Segment": segment, "TotalSegments": segments} if segments > 1 else {}),
            **({} if start is None else {"ExclusiveStartKey": start}),
        )
        return _page(answer)

    async def query(self, table: Table, partition: str, prefix: str, start: Item | None) -> Page:
        """As `Database.query`."""
        condition = "#p = :p AND begins_with(#s, :s)" if prefix else "#p = :p"
        names = {"#p": table.partition, **({"#s": table.sort} if prefix else {})}
        values = {":p": {"S": partition}, **({":s": {"S": prefix}} if prefix else {})}
        answer = await self._call(
            self._dynamodb.query,
            TableName=table.name,
            ConsistentRead=True,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnConsumedCapacity="TOTAL",
            **({} if start is None else {"ExclusiveStartKey": start}),
        )
        return _page(answer)

    async def shards(self, table: Table, after: str | None) -> ShardPage:
        """As `Database.shards`."""
        if after is None:
            # A stream that was turned off and on again is another one.
            self._arns.pop(table.name, None)
        arn = await self._arn(table)
        answer = await self._call(
            self._streams.describe_stream,
            StreamArn=arn,
            **({} if after is None else {"ExclusiveStartShardId": after}),
        )
        description = answer["StreamDescription"]
        shards = [
            Shard(shard["ShardId"], shard.get("ParentShardId")) for shard in description["Shards"]
        ]
        return ShardPage(shards, description.get("LastEvaluatedShardId"), arn)

    async def open_shard(self, table: Table, shard: str, after: str | None) -> str:
        """As `Database.open_shard`."""
        place = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if after is None
            else {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": after}
        )
        answer = await self._of_stream(
            self._streams.get_shard_iterator,
            StreamArn=await self._arn(table),
            ShardId=shard,
            **place,
        )
        return str(answer["ShardIterator"])

    async def read_shard(self, iterator: str, limit: int) -> Batch:
        """As `Database.read_shard`."""
        answer = await self._of_stream(
            self._streams.get_records, ShardIterator=iterator, Limit=limit
        )
        records = [_change(record["dynamodb"]) for record in answer["Records"]]
        return Batch(records, answer.get("NextShardIterator"))

    async def _arn(self, table: Table) -> str:
        if table.name not in self._arns:
            answer = await self._call(self._dynamodb.describe_table, TableName=table.name)
            self._arns[table.name] = answer["Table"]["LatestStreamArn"]
        return self._arns[table.name]

    async def _of_stream(self, function: Any, **parameters: Any) -> Mapping[str, Any]:
        try:
            return await self._call(function, **parameters)
        except ClientError as error:
            # A shard that expired, or is of a stream that the table has no more.
            if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                raise Trimmed(str(error)) from error
            raise

    async def _call(self, function: Any, **parameters: Any) -> Mapping[str, Any]:
        try:
            return await self._once(function, parameters)
        except (Throttled, Unanswered) as error:
            self._trouble(str(error))
            raise

    async def _once(self, function: Any, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = await function(**parameters)
        except ClientError as error:
            _raise(error)
        except (
            HTTPClientError,
            ConnectionClosedError,
            aiohttp.ClientError,
            TimeoutError,
            OSError,
        ) as error:
            raise Unanswered(f"no answer: {error}") from error
        except BotoCoreError as error:
            # Cut or foreign answers; a mistake of ours is a ParamValidationError.
            if type(error).__name__ in ("ParamValidationError", "NoCredentialsError"):
                raise
            raise Unanswered(f"no answer: {error}") from error
        except DependencyUnavailable as error:
            # The credentials have ended, and nobody gave fresh ones.
            raise Unanswered(f"no answer: {error.__cause__ or error}") from error
        return answer


def _raise(error: ClientError) -> NoReturn:
    response: Mapping[str, Any] = error.response
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "ConditionalCheckFailedException":
        raise ConditionFailed(response.get("Item")) from error
    if code == "ExpiredIteratorException":
        raise IteratorExpired(str(error)) from error
    if code == "TrimmedDataAccessException":
        raise Trimmed(str(error)) from error
    if code in _DENIED:
        raise DeniedError(str(error)) from error
    if code in _THROTTLED:
        raise Throttled(code) from error
    if status >= 500:
        raise Unanswered(f"{code} ({status})") from error
    raise error


async def _is_allowed(call: Callable[[], Awaitable[object]]) -> bool:
    try:
        await call()
    except DeniedError:
        return False
    except ConditionFailed:
        return True
    return True


def _facts(table: Mapping[str, Any]) -> TableFacts:
    stream = table.get("StreamSpecification", {})
    on_demand = table.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
    warm = table.get("WarmThroughput", {})

    def provisioned(of: Mapping[str, Any], kind: str) -> float | None:
        units = of.get("ProvisionedThroughput", {}).get(f"{kind}CapacityUnits")
        return None if on_demand or units is None else float(units)

    return TableFacts(
        is_active=table.get("TableStatus") in ("ACTIVE", "UPDATING"),
        key=_key(table),
        types={one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]},
        stream=str(stream["StreamViewType"]) if stream.get("StreamEnabled") else None,
        indexes=[
            Index(index["IndexName"], _key(index), provisioned(index, "Write"))
            for index in table.get("GlobalSecondaryIndexes", ())
        ],
        items=int(table.get("ItemCount", 0)),
        bytes=int(table.get("TableSizeBytes", 0)),
        read_units=provisioned(table, "Read"),
        write_units=provisioned(table, "Write"),
        # Emulators say 0.
        warm_read_units=warm.get("ReadUnitsPerSecond") or None,
        warm_write_units=warm.get("WriteUnitsPerSecond") or None,
    )


def _key(of: Mapping[str, Any]) -> list[str]:
    """Partition key first."""
    pairs = sorted((part["KeyType"], part["AttributeName"]) for part in of["KeySchema"])
    return [name for _, name in pairs]


def _units(answer: Mapping[str, Any]) -> float:
    return float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 1.0))


def _page(answer: Mapping[str, Any]) -> Page:
    units = float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", len(answer["Items"])))
    return Page(answer["Items"], answer.get("LastEvaluatedKey"), units)


def _change(record: Mapping[str, Any]) -> Change:
    created = record.get("ApproximateCreationDateTime")
    return Change(
        record["SequenceNumber"],
        record.get("OldImage"),
        record.get("NewImage"),
        0.0 if created is None else float(created.timestamp()),
    )


def _condition(condition: Condition | None) -> dict[str, Any]:
    if condition is None:
        return {}
    expression = Expression()
    text = expression.write(condition)
    parameters: dict[str, Any] = {
        "ConditionExpression": text,
        "ExpressionAttributeNames": expression.names,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if expression.values:
        parameters["ExpressionAttributeValues"] = expression.values
    return parameters


class Expression:
    """A condition in DynamoDB's words, with placeholders for every name and value."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValue] = {}

    def write(self, condition: Condition) -> str:
        """The text of a condition."""
        match condition:
            case Missing(path):
                return f"attribute_not_exists({self._path(path)})"
            case Present(path):
                return f"attribute_exists({self._path(path)})"
            case Equal(path, value):
                return f"{self._path(path)} = {self._value(value)}"
            case Less(path, value):
                return f"{self._path(path)} < {self._value(value)}"
            case AllOf(conditions):
                return " AND ".join(f"({self.write(each)})" for each in conditions)
            case AnyOf(conditions):
                return " OR ".join(f"({self.write(each)})" for each in conditions)

    def remove(self, path: Path) -> str:
        """The text of an update that removes an attribute."""
        return f"REMOVE {self._path(path)}"

    def _path(self, path: Path) -> str:
        return ".".join(self._name(name) for name in path)

    def _name(self, name: str) -> str:
        for placeholder, known in self.names.items():
            if known == name:
                return placeholder
        placeholder = f"#n{len(self.names)}"
        self.names[placeholder] = name
        return placeholder

    def _value(self, value: AttributeValue) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        return placeholder
