"""What tables must be like before anything is changed: there, with their keys, streams and rights.

Every right is tried, not looked up: what policies, boundaries and organisations say together only
DynamoDB knows. Each problem is one line that says what to do. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.migration._context import Context
from deploy.migration._ports import DeniedError, Rights, TableFacts
from deploy.migration.mapping import Table
from deploy.migration.planning import Survey

VIEW_TYPE = "NEW_AND_OLD_IMAGES"


@dataclass(frozen=True)
class Known:
    """What is known of a table; `is_readable`: whether its items can be looked at."""

    facts: TableFacts
    is_readable: bool


async def check_tables(context: Context, survey: Survey) -> Mapping[str, Known]:
    """What is known of the source and the targets, and in the survey what is wrong with them and
    with the control table."""
    await _check(context, context.control, Rights.CONTROL, survey)
    found: dict[str, Known] = {}
    for table in (context.mapping.source, *(t.table for t in context.mapping.targets)):
        known = await _check(context, table, Rights.DATA, survey)
        if known is not None:
            found[table.name] = known
            survey.facts[table.name] = known.facts
            _check_stream(table, known.facts, survey)
    return found


async def check_rights(context: Context) -> list[str]:
    """What keeps a worker from working with these tables."""
    survey = Survey()
    await check_tables(context, survey)
    return survey.lines()


async def _check(context: Context, table: Table, rights: Rights, survey: Survey) -> Known | None:
    database, patience = context.database, context.patience
    try:
        facts = await patience.answer(lambda: database.describe(table))
    except DeniedError as error:
        survey.problem(f"{table.name}: no right to dynamodb:DescribeTable: {error}")
        return None
    if facts is None:
        survey.problem(
            f"{table.name}: there is no such table; make it with the text keys"
            f" {_named(table)}{'' if rights is Rights.CONTROL else f' and a stream of {VIEW_TYPE}'}"
        )
        return None
    wrong = [
        *([] if facts.is_active else ["is not active yet"]),
        *_wrong_keys(table, facts),
    ]
    for what in wrong:
        survey.problem(f"{table.name}: {what}")
    denied = [] if wrong else await patience.answer(lambda: database.denied(table, rights))
    if denied:
        survey.problem(
            f"{table.name}: no right to {', '.join(denied)}: whoever runs a command or a worker"
            " needs them (deploy/migration/policy.json)"
        )
    return Known(facts, is_readable=not wrong and "dynamodb:Scan" not in denied)


def _wrong_keys(table: Table, facts: TableFacts) -> list[str]:
    expected = [table.partition, *([table.sort] if table.sort is not None else [])]
    if list(facts.key) != expected:
        return [f"its key is {' and '.join(facts.key)}, and the mapping says {_named(table)}"]
    odd = [name for name in expected if facts.types[name] != "S"]
    return [f"its key {name!r} is no text, and the mapping's keys are" for name in odd]


def _check_stream(table: Table, facts: TableFacts, survey: Survey) -> None:
    if facts.stream == VIEW_TYPE:
        return
    command = "aws dynamodb update-table --table-name"
    first = (
        ""
        if facts.stream is None
        else f"{command} {table.name} --stream-specification" " StreamEnabled=false, then "
    )
    survey.problem(
        f"{table.name}: its stream must be {VIEW_TYPE}, and is {facts.stream or 'off'}: {first}"
        f"{command} {table.name} --stream-specification"
        f" StreamEnabled=true,StreamViewType={VIEW_TYPE}"
    )


def _named(table: Table) -> str:
    return table.partition if table.sort is None else f"{table.partition} and {table.sort}"
