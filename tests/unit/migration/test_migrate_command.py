"""The command line: what is refused, all of it at once, what is said, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path

import pytest

from deploy.migration import migrate
from deploy.migration._context import Settings
from deploy.migration._control import Control
from deploy.migration._items import MARK, MAX_ITEM_BYTES, Item
from deploy.migration._perform import COMMANDS
from deploy.migration._settings import BOUNDS, LOCAL, parse
from deploy.migration.mapping import Cell
from tests.unit.aws.fault_server import error, fault_server
from tests.unit.migration.command_line import Terminal, book
from tests.unit.migration.simulator.library import MONOLITH
from tests.unit.migration.simulator.virtual_time import run

README = Path(migrate.__file__).with_name("README.md")
EXAMPLE = ["--mapping", "deploy.migration.mappings.lyceum"]


@pytest.fixture()
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Made by `in_virtual_time`: tables ask for the time."""
    return lambda: Terminal(tmp_path, monkeypatch)


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def played(terminal: Callable[[], Terminal], **named: object) -> None:
        async def main() -> None:
            await test(terminal(), **named)

        run(main())

    return played


def fill(terminal: Terminal, count: int = 6) -> None:
    for number in range(count):
        terminal.monolith.write(MONOLITH.cell(book(f"b{number}")), book(f"b{number}"))


# --- what can be said ---------------------------------------------------------------------------


def test_without_credentials_one_line_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert migrate.main(["plan", *EXAMPLE]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "migrate.py: AWS: Unable to locate credentials\n")


async def test_what_a_library_says_is_no_event_of_a_command() -> None:
    """A clock that is wrong is corrected, and told on standard error: the output stays a program's."""
    stale = "Signature expired: 20260304T110000Z is now earlier than 20260304T115500Z"
    date = {"Date": "Wed, 04 Mar 2026 12:00:00 GMT"}
    variables = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    async with fault_server() as aws:
        aws.then(error("InvalidSignatureException", message=stale, headers=date))
        aws.otherwise = error("ResourceNotFoundException")
        variables |= {
            "AWS_ENDPOINT_URL": aws.url, "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.migration.migrate", "status", "--json", *EXAMPLE,
            env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
    assert len(aws.requests) == 2
    assert (process.returncode, output) == (2, b""), errors
    told, refused = errors.decode().splitlines()
    assert json.loads(told)["event"] == "signing_clock_corrected"
    assert "there is no such table" in refused


def test_all_that_is_wrong_is_told_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = [
        "start", *EXAMPLE, "--table", "sauce=ketchup", "--table", "monolith", "--set", "lease=soon",
        "--set", "speed=1", "--set", "segments=0", "--set", "settle=10",
    ]  # fmt: skip
    names = ", ".join(one.name for one in fields(Settings))
    assert migrate.main(given) == 2
    assert capsys.readouterr().err.splitlines() == [
        "migrate.py: --table 'monolith' is not NAME=TABLE, such as source=monolith",
        "migrate.py: --table sauce=…: the mapping has no such table; it has control, source,"
        " course_catalog, content_delivery, progress_tracking",
        "migrate.py: --set 'lease=soon': is not a number from 1 to 600",
        f"migrate.py: --set 'speed=1': there is no 'speed'; there are {names}",
        "migrate.py: --set 'segments=0': is not a whole number from 1 to 1000",
        "migrate.py: --set settle=10: AWS carries out a request up to 300 s after it was signed;"
        " less is for --local alone",
    ]
    assert migrate.main(["status", "--mapping", "no.such", "--local", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"migrate.py: --local: no platform runs on {tmp_path} (./pantsw run deploy/local/up.py --"
        " --monolith starts one)",
        "migrate.py: --mapping no.such: ModuleNotFoundError: No module named 'no'",
    ]


def test_on_one_machine_some_are_others_as_the_readme_says() -> None:
    settings, problems = parse((), is_local=True)
    text = README.read_text(encoding="utf-8")
    assert problems == []
    for name, value in LOCAL.items():
        (row,) = re.findall(rf"^\| `{name}` \| [^|]*", text, re.MULTILINE)
        assert f"{getattr(Settings(), name):g} (--local: {value:g})" in row
        assert getattr(settings, name) == value


def test_every_setting_can_be_said_and_has_bounds() -> None:
    assert {one.name for one in fields(Settings)} == BOUNDS.keys()
    for name, (low, high) in BOUNDS.items():
        assert low <= getattr(Settings(), name) <= high


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["throttle"], "throttle: say --capacity, --read, --write or --max-lag, or --off"),
        (["throttle", "--off", "--read", "5"], "throttle: --off goes with nothing else"),
        (
            ["throttle", "--capacity", "5", "--read", "5"],
            "throttle: --capacity is both --read and --write: say the one or the others",
        ),
        (["throttle", "--write", "much"], "--write 'much' is not 1 to 9999999 units a second"),
        (["throttle", "--max-lag", "0"], "--max-lag '0' is not 1 to 36000 seconds"),
        (["plan", "--workers", "0"], "--workers '0' is not 1 to 999"),
        (
            ["worker", "--name", "a b"],
            "--name 'a b' is not 1 to 64 letters, digits, dots, dashes and underscores",
        ),
        (
            ["verify", "catalog"],
            "there is no module 'catalog'; there are course_catalog, content_delivery,"
            " progress_tracking",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(
    given: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrate.main([*given, *EXAMPLE]) == 2
    assert capsys.readouterr().err == f"migrate.py: {line}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\n", "has no function `mapping`"),
        ("raise OSError('gone')\n", "OSError: gone"),
        ("def mapping(): return 5\n", "`mapping` gives no SplitMapping"),
        (
            "from deploy.migration._patterns import KeyPattern\n"
            "def mapping(): return KeyPattern('{a}{b}')\n",
            "PatternError: ",
        ),
    ],
)
def test_a_module_that_is_no_mapping_is_one_line(
    text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    assert migrate.main(["plan", "--mapping", str(path)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"migrate.py: --mapping {path}: {line}")


@pytest.mark.parametrize("given", [[], ["publish"], ["verify", *EXAMPLE], ["plan"]])
def test_what_can_not_be_meant_is_exit_code_2(given: list[str]) -> None:
    with pytest.raises(SystemExit) as found:
        migrate.main(given)
    assert found.value.code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as found:
        migrate.main([command, "--help"])
    assert found.value.code == 0
    told = capsys.readouterr().out
    assert f"migrate.py -- {command} " in told.split("examples:")[1]
    assert "exit codes:" in told
    assert "--dry-run" in told
    assert f"`{command}" in README.read_text(encoding="utf-8")


def test_an_aws_that_does_not_answer_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "platform.json").write_text('{"aws": "http://127.0.0.1:1"}', encoding="utf-8")
    (tmp_path / "migration.env").write_text(
        "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n", encoding="utf-8"
    )
    wait = asyncio.sleep
    monkeypatch.setattr("deploy.migration._session.asyncio.sleep", lambda _: wait(0))
    assert migrate.main(["status", *EXAMPLE, "--local", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("migrate.py: http://127.0.0.1:1 does not answer: ")


# --- bad input: each one clear line, before anything is changed -----------------------------------


def _mapping(terminal: Terminal, **changes: str) -> None:
    """The library's mapping, with a part of its first rule said otherwise."""
    said = {
        "source": 'KeyPattern("BOOK#{book}")',
        "key": 'KeyPattern("{book}")',
        "where": "None",
        "transforms": "{}",
        "more": "",
    } | changes
    terminal.mapping.write_text(
        "from tests.unit.migration.simulator.library import *\n"
        "from tests.unit.migration.simulator.library import _BOOK\n"
        "from deploy.migration.mapping import *\n"
        "from deploy.migration._patterns import KeyPattern\n"
        "def mapping():\n"
        f"    part = Part('book', {said['key']}, None, _BOOK.rows)\n"
        f"    book = Rule('book', BOOKS, {said['source']}, KeyPattern('META'), (part,),\n"
        f"                _BOOK.compose, {said['where']}, {said['transforms']})\n"
        f"    return SplitMapping(MONOLITH, (book, *MAPPING.rules[1:]{said['more']}))\n",
        encoding="utf-8",
    )


def _overlaps(terminal: Terminal) -> str:
    _mapping(
        terminal,
        more=", Rule('again', BOOKS, KeyPattern('BOOK#{id:digits}'), KeyPattern('META'),"
        " (Part('again', KeyPattern('again#{id:digits}'), None, _BOOK.rows),), _BOOK.compose)",
    )
    return "the rules 'book' and 'again' overlap: both are for BOOK#0 / META"


def _leaves_items_out(terminal: Terminal) -> str:
    pen: Item = {"pk": {"S": "PEN#1"}, "sk": {"S": "META"}}
    terminal.monolith.write(MONOLITH.cell(pen), pen)
    return "Monolith PEN#1 / META: no rule is for it"


def _collides(terminal: Terminal) -> str:
    _mapping(terminal, key='KeyPattern("one")')
    return "the part 'book' of 'book' leaves 'book' out of its key: two items could become one row"


def _transforms_ambiguously(terminal: Terminal) -> str:
    _mapping(terminal, transforms="{'book': FieldTransform(str.lower, str)}")
    terminal.monolith.write(MONOLITH.cell(book("B")), book("B"))
    return (
        "Monolith BOOK#B / META: Books b does not lead back to it: the rule 'book' transforms keys"
        " ambiguously"
    )


def _wrong_stream_view(terminal: Terminal) -> str:
    assert terminal.monolith.stream is not None
    terminal.monolith.stream.view = "KEYS_ONLY"
    return (
        "Monolith: its stream must be NEW_AND_OLD_IMAGES, and is KEYS_ONLY: aws dynamodb"
        " update-table --table-name Monolith --stream-specification StreamEnabled=false, then aws"
        " dynamodb update-table --table-name Monolith --stream-specification"
        " StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
    )


def _right_is_missing(terminal: Terminal) -> str:
    terminal.world.denied["Books"] = ["dynamodb:PutItem", "dynamodb:GetRecords"]
    return (
        "Books: no right to dynamodb:PutItem, dynamodb:GetRecords: whoever runs a command or a"
        " worker needs them (deploy/migration/policy.json)"
    )


def _is_not_empty(terminal: Terminal) -> str:
    terminal.books.write(Cell("Books", "x", None), {"bookId": {"S": "x"}})
    return (
        "Books is not empty: Books x is somebody's (empty the table, or say in the mapping that it"
        " stays)"
    )


def _is_near_400_kb(terminal: Terminal) -> str:
    large = book("large", "x" * (MAX_ITEM_BYTES - 60))
    terminal.monolith.write(MONOLITH.cell(large), large)
    return (
        "Monolith BOOK#large / META: Books large would have 409650 bytes with the migration's mark,"
        " more than the 409600 of an item"
    )


def _table_is_missing(terminal: Terminal) -> str:
    del terminal.world.tables["Shelves"]
    return (
        "Shelves: there is no such table; make it with the text keys userId and sk and a stream of"
        " NEW_AND_OLD_IMAGES"
    )


def _control_is_missing(terminal: Terminal) -> str:
    del terminal.world.tables["Control"]
    return "Control: there is no such table; make it with the text keys pk and sk"


BAD_INPUT = (
    _overlaps, _leaves_items_out, _collides, _transforms_ambiguously, _wrong_stream_view,
    _right_is_missing, _is_not_empty, _is_near_400_kb, _table_is_missing, _control_is_missing,
)  # fmt: skip


@pytest.mark.parametrize("command", ["plan", "start", "start --dry-run", "rehearse"])
@pytest.mark.parametrize("spoil", BAD_INPUT)
@in_virtual_time
async def test_bad_input_is_one_line_before_anything_is_changed(
    terminal: Terminal, spoil: Callable[[Terminal], str], command: str
) -> None:
    fill(terminal, 2)
    line = spoil(terminal)
    before = terminal.state()
    told = await terminal.told(command)
    assert told.code == 2
    assert told.problems == [line]
    assert terminal.state() == before


@in_virtual_time
async def test_a_worker_without_a_right_does_not_begin(terminal: Terminal) -> None:
    line = _right_is_missing(terminal)
    told = await terminal.told("worker")
    assert (told.code, told.problems) == (2, [line])


@pytest.mark.parametrize("command", ["copy", "verify books", "switch books", "reverse books"])
@in_virtual_time
async def test_a_trimmed_stream_is_one_line_that_says_what_to_do(
    terminal: Terminal, command: str
) -> None:
    fill(terminal)
    await terminal.told("start")
    await terminal.told("copy --work")
    # Nobody reads for a day.
    await asyncio.sleep(25 * 3600)
    worker = terminal.begin("worker")
    await asyncio.sleep(5)
    told = await terminal.told(command)
    assert told.code == 2
    (line,) = told.problems
    assert re.fullmatch(
        r"the position in the stream is lost: Monolith: shardId-\d+-Monolith-[0-9a-f]{8}: the record"
        r" is older than 24 hours; `resync` copies again what was missed",
        line,
    )
    status = await terminal.told("status")
    assert f"next: {terminal.line('resync')}" in status.output
    assert (await terminal.told("resync")).code == 0
    assert (await terminal.told("copy")).code == 0
    worker.cancel()


@in_virtual_time
async def test_what_forbids_nothing_is_a_warning(terminal: Terminal) -> None:
    near = book("near", "x" * (MAX_ITEM_BYTES - 9_000))
    terminal.monolith.write(MONOLITH.cell(near), near)
    told = await terminal.told("plan")
    assert told.code == 0
    assert told.errors == [
        "warning: Books near: has 400709 of 409600 bytes; an update may soon be refused",
        "warning: no item is of the rule 'shelf'",
    ]


# --- a migration as a user runs it --------------------------------------------------------------


@in_virtual_time
async def test_a_plan_says_what_the_mapping_means_and_what_it_takes(terminal: Terminal) -> None:
    fill(terminal, 1200)
    told = await terminal.told("plan")
    assert told.code == 0
    assert told.output == [
        "Monolith: 1,200 items, 36.1 KB, by 2 rules",
        "  book              1,200  → books",
        "  shelf                 0  → shelves",
        "  lost                  0  nobody's: given away",
        "  user                  0  nobody's: users stay",
        "Books: 1,200 rows, 0.1 MB, the largest 111 bytes",
        "Shelves: 0 rows, 0.0 KB, the largest 0 bytes",
        "capacity   Monolith: 9 read units; 1000 a second are what the copy may take",
        "capacity   Books: 1,200 write units; 1000 a second are what the copy may take",
        "capacity   Shelves: 0 write units; 1000 a second are what the copy may take",
        "time       about 1 s for the copy: write units of Books",
        "cost       less than 0.01 USD for the copy, less than 0.01 for one verification of"
        " everything, 0.26 a day for reading streams, less than 0.01 a month for what is kept twice"
        " (on-demand prices of us-east-1, read 2026-11-26)",
        f"next: {terminal.line('start')}",
    ]
    (document,) = (await terminal.told("plan", "--json", "--workers", "4")).documents
    assert document["event"] == "planned"
    assert document["byRule"] == {"book": 1200}
    assert document["problems"] == []
    assert document["estimate"]["slowest"] == "write units of Books"
    assert document["estimate"]["usdCopy"] == pytest.approx(
        9 * 0.125e-6 + 1200 * 0.625e-6, abs=1e-4
    )


@in_virtual_time
async def test_a_migration_from_its_plan_to_its_end(terminal: Terminal) -> None:
    fill(terminal)
    told = await terminal.told("start")
    assert (told.code, told.output) == (0, [
        "started: 6 items are to be copied, changes are replicated",
        f"next: {terminal.line('worker')}   in terminals of their own, one or more",
        f"next: {terminal.line('copy')}",
    ])  # fmt: skip
    worker = terminal.begin("worker --name left")
    told = await terminal.told("copy")
    assert (told.code, told.output) == (0, [
        "copied: 6 items, 0.2 KB; replication goes on",
        f"next: {terminal.line('verify books')}",
    ])  # fmt: skip
    told = await terminal.told("verify books")
    assert (told.code, told.output) == (0, [
        "books: 6 items against 6 rows: nothing differs",
        f"next: {terminal.line('switch books')}",
    ])  # fmt: skip
    told = await terminal.told("switch books --dry-run")
    assert told.output[0] == (
        "would make Books the owner of books; requests would wait about 3 s, at most 30 s"
    )
    told = await terminal.told("switch books")
    assert told.code == 0
    assert re.fullmatch(
        r"books: Books is its owner now; requests waited 3\.\d\d s at most", told.output[0]
    )
    told = await terminal.told("switch books")
    assert told.output[0] == "books: Books is its owner already"
    told = await terminal.told("cancel")
    assert (told.code, told.problems) == (1, ["books is switched: reverse it first"])
    assert (await terminal.told("cancel --dry-run")).problems == told.problems
    told = await terminal.told("reverse books")
    assert (told.code, told.problems) == (
        1,
        ["books was not verified, or differed (`verify books`)"],
    )
    for command in ("verify books", "reverse books", "verify books", "switch books"):
        assert (await terminal.told(command)).code == 0
    for command in ("complete books", "verify shelves", "switch shelves"):
        told = await terminal.told(command)
        assert told.code == 0
    assert told.output[1] == (
        f"next: {terminal.line('complete shelves')}   when no way back is needed any more (back:"
        " `verify shelves`, then `reverse shelves`)"
    )
    told = await terminal.told("complete shelves")
    assert told.output == [
        "shelves is completed: the source is no longer kept up",
        "next: nothing: every module is completed; its items in the source are yours to remove",
    ]
    told = await terminal.told("reverse books")
    assert (told.code, told.problems) == (1, ["books is completed: there is no way back"])
    log = await terminal.told("audit", "--json")
    assert [entry["event"] for entry in log.documents].count("auditEntry") == len(log.documents)
    assert log.code == 0
    terminal.stop()
    worker.cancel()
    assert (await worker).code == 0


@in_virtual_time
async def test_a_difference_is_shown_and_repaired(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    worker = terminal.begin("worker")
    await terminal.told("copy")
    stream, terminal.books.stream = terminal.books.stream, None
    present = terminal.books.items[Cell("Books", "b1", None)]
    terminal.books.write(Cell("Books", "b1", None), {**present, "title": {"S": "old"}})
    terminal.books.write(Cell("Books", "b2", None), None)
    terminal.books.stream = stream
    told = await terminal.told("verify books")
    assert told.code == 1
    assert told.output == [
        "books: 6 items against 5 rows: 2 differ",
        "  Books b1: differs: title",
        "  Books b2: missing",
        f"next: {terminal.line('verify books --repair')}",
    ]
    refused = await terminal.told("switch books --dry-run")
    assert (refused.code, refused.problems) == (
        1,
        ["books was not verified, or differed (`verify books`)"],
    )
    told = await terminal.told("verify books --repair")
    assert (told.code, told.output[0]) == (0, "books: 6 items against 6 rows: nothing differs")
    worker.cancel()


@in_virtual_time
async def test_a_rehearsal_copies_verifies_and_leaves_nothing(terminal: Terminal) -> None:
    fill(terminal)
    before = {name: dict(table.items) for name, table in terminal.tables.items()}
    dry = await terminal.told("rehearse --dry-run")
    assert dry.output[-1] == "would then verify each module, and remove what was written"
    told = await terminal.told("rehearse --work")
    assert told.code == 0
    assert told.output[:3] == [
        "started: 6 items are to be copied, changes are replicated",
        "books: 6 items against 6 rows: nothing differs",
        "shelves: 0 items against 0 rows: nothing differs",
    ]
    assert re.fullmatch(r"rehearsed in .*; what was written is removed", told.output[3])
    assert {name: dict(table.items) for name, table in terminal.tables.items()} == before
    # And then in earnest, in an epoch of its own.
    await terminal.told("start")
    assert (await terminal.told("copy --work")).code == 0
    refused = await terminal.told("rehearse")
    assert refused.problems == ["a migration is under way: there is nothing to rehearse"]
    found = (await terminal.told("status", "--json")).documents[0]
    assert (found["phase"], found["epoch"], found["rehearsal"]) == ("RUNNING", 2, False)


@in_virtual_time
async def test_a_rehearsal_that_was_killed_is_gone_on_with_and_switches_nothing(
    terminal: Terminal,
) -> None:
    fill(terminal)
    rehearsing = terminal.begin("rehearse")  # nobody works: it waits
    await asyncio.sleep(3)
    refused = await terminal.told("start")
    assert refused.problems == [
        "a rehearsal is under way: `rehearse` goes on with it, `cancel` ends it"
    ]
    rehearsing.cancel()
    await asyncio.wait([rehearsing])
    status = await terminal.told("status")
    assert status.output[0] == "Monolith → Books, Shelves: REPLICATING (rehearsal), no workers"
    worker = terminal.begin("worker")
    await terminal.told("copy")
    await terminal.told("verify books")
    refused = await terminal.told("switch books")
    assert refused.problems == ["this is a rehearsal: nothing is switched"]
    assert (await terminal.told("rehearse")).code == 0
    assert terminal.books.items == {}
    worker.cancel()


# --- two operators, and one that is gone --------------------------------------------------------


@in_virtual_time
async def test_a_second_operator_is_refused_with_who_is_at_work_since_when(
    terminal: Terminal,
) -> None:
    fill(terminal)
    await terminal.told("start")
    first = terminal.begin("copy")  # nobody works yet: it waits
    await asyncio.sleep(30)
    told = await terminal.told("verify books")
    assert told.code == 1
    (line,) = told.problems
    assert re.fullmatch(
        r"operator2 is at work with `copy` since 1970-01-01 00:00:\d\d UTC; --wait waits for it",
        line,
    )
    second = terminal.begin("verify books --wait")
    await asyncio.sleep(30)
    status = await terminal.told("status")
    assert "at work waiting for a worker (operator2)" in status.output
    worker = terminal.begin("worker")
    assert (await first).code == 0
    assert (await second).code == 0
    worker.cancel()


@in_virtual_time
async def test_an_operator_that_was_killed_is_succeeded_after_its_lease(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    worker = terminal.begin("worker")
    await terminal.told("copy")
    await terminal.told("verify books")
    # It had fenced the module, and was killed: nothing is given back.
    switching = terminal.begin("switch books")
    control = Control(terminal.context())
    while not (await control.module("books"))[1].fence:
        await asyncio.sleep(0.2)
    terminal.kill_last()
    await asyncio.wait([switching])
    status = await terminal.told("status")
    assert any(line.endswith("requests wait") for line in status.output)
    began = terminal.now()
    told = await terminal.told("switch books")
    assert told.code == 0, told
    assert terminal.now() - began > 15
    assert (await control.module("books"))[1].owner == "target"
    worker.cancel()


@in_virtual_time
async def test_a_switch_that_is_stopped_takes_its_fence_away(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    worker = terminal.begin("worker")
    await terminal.told("copy")
    await terminal.told("verify books")
    switching = terminal.begin("switch books")
    control = Control(terminal.context())
    while not (await control.module("books"))[1].fence:
        await asyncio.sleep(0.2)
    terminal.stop()
    told = await switching
    assert told.code == 130
    assert told.problems == ["stopped; the same command goes on from here"]
    _, module = await control.module("books")
    assert (module.owner, module.fence) == ("source", "")
    operator = await control.read("operator")
    assert operator is not None
    assert operator.values["owner"] == ""
    assert (await terminal.told("switch books")).code == 0
    worker.cancel()


# --- how fast -----------------------------------------------------------------------------------


@in_virtual_time
async def test_the_copy_is_held_slowed_and_let_go_on(terminal: Terminal) -> None:
    fill(terminal, 60)
    assert (await terminal.told("pause")).problems == ["the migration was not started"]
    await terminal.told("start --set page=5 --set segments=2")
    told = await terminal.told("pause")
    assert told.output == [
        "the copy is held; replication goes on",
        f"next: {terminal.line('worker')}   in terminals of their own, one or more",
        f"next: {terminal.line('resume')}",
    ]
    worker = terminal.begin("worker")
    await asyncio.sleep(30)
    found = (await terminal.told("status", "--json")).documents[0]
    assert (found["phase"], found["items"], found["waits"]) == ("PAUSED", 0, ["paused"])
    told = await terminal.told("throttle --write 2 --max-lag 30")
    assert told.output[0] == (
        "the copy may take 1000 read units a second of the source and 2 write units of each target,"
        " and waits while replication is more than 30 s behind"
    )
    await terminal.told("resume")
    await asyncio.sleep(15)
    status = await terminal.told("status")
    assert "        waits: 2 write units a second of Books are taken" in status.output
    (copied,) = (line for line in status.output if line.startswith("copy "))
    assert re.search(r" of 60 items  0\.0 MB  [12]/s  ETA 00:[1-5]\d$", copied), copied
    began = terminal.now()
    told = await terminal.told("throttle --off")
    assert "1000 write units" in told.output[0]
    await terminal.told("copy")
    assert terminal.now() - began < 10
    worker.cancel()


# --- what is shown ------------------------------------------------------------------------------


@in_virtual_time
async def test_status_is_watched_on_a_terminal_and_told_now_and_then_elsewhere(
    terminal: Terminal,
) -> None:
    fill(terminal, 40)
    await terminal.told("start --set page=2 --set segments=1")
    await terminal.told("throttle --capacity 2")
    worker = terminal.begin("worker")
    watching = asyncio.create_task(terminal.told("status --watch", is_terminal=True))
    await asyncio.sleep(8)
    terminal.stop()
    watched = await watching
    assert watched.code == 130
    # Drawn again and again, in place: how far, why it waits, how far behind, what is next.
    for words in ("\x1b", "copy    ", "of 40 items", " units a second", "lag ", "next: "):
        assert watched.screen.count(words) > 2, watched.screen
    elsewhere = terminal.begin("status --watch")
    await asyncio.sleep(15)
    terminal.stop()  # of the last one
    told = await elsewhere
    assert told.code == 130
    assert sum(line.startswith("copy ") for line in told.output) == 2
    assert "\x1b" not in told.screen + "".join(told.output)
    worker.cancel()


@pytest.mark.parametrize(
    "command",
    [
        "start", "copy", "pause", "resume", "throttle --capacity 5", "verify books",
        "verify books --repair", "switch shelves", "cancel", "resync", "rehearse", "worker",
        "forgive x",
    ],
)  # fmt: skip
@in_virtual_time
async def test_a_dry_run_changes_nothing(terminal: Terminal, command: str) -> None:
    fill(terminal)
    if command not in ("start", "rehearse"):
        await terminal.told("start")
        await terminal.told("copy --work")
        await terminal.told("verify shelves --work")
    before = terminal.state()
    told = await terminal.told(f"{command} --dry-run")
    assert told.code == 0, told
    assert any(line.startswith("would ") for line in told.output)
    assert terminal.state() == before


@in_virtual_time
async def test_a_dry_run_of_what_comes_after_a_switch_changes_nothing(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    await terminal.told("copy --work")
    for command in ("verify books", "switch books", "verify books"):
        assert (await terminal.told(f"{command} --work")).code == 0
    before = terminal.state()
    for command in ("reverse books", "complete books"):
        told = await terminal.told(f"{command} --dry-run")
        assert told.code == 0, told
        assert any(line.startswith("would ") for line in told.output)
        assert terminal.state() == before


@in_virtual_time
async def test_with_json_each_line_is_an_event(terminal: Terminal) -> None:
    fill(terminal)
    found = [
        *(await terminal.told("start", "--json")).documents,
        *(await terminal.told("copy --work", "--json")).documents,
        *(await terminal.told("verify books --work", "--json")).documents,
        *(await terminal.told("switch books --work", "--json")).documents,
        *(await terminal.told("status", "--json")).documents,
    ]
    events = [document["event"] for document in found if document["event"] != "goesOn"]
    assert events == ["started", "copied", "verified", "switched", "status"]
    readme = README.read_text(encoding="utf-8")
    for event in events:
        assert f"| `{event}` |" in readme
    switched = found[-2]
    assert switched["wasDone"] is False
    assert switched["pauseSeconds"] >= 3


@in_virtual_time
async def test_a_log_that_was_changed_is_exit_code_1(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    control = Control(terminal.context())
    row = await control.read("audit#0000000000")
    assert row is not None
    await control.write(row.key, {**row.values, "event": "stop"}, row)
    told = await terminal.told("audit")
    assert (told.code, told.problems) == (1, ["the audit log was changed at entry 0"])


@in_virtual_time
async def test_what_is_in_quarantine_is_shown_and_forgiven(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    worker = terminal.begin("worker")
    await terminal.told("copy")
    odd = {**book("b1"), "kind": {"S": "odd"}}
    terminal.monolith.write(MONOLITH.cell(odd), odd)
    await asyncio.sleep(5)
    status = await terminal.told("status")
    why = "Monolith BOOK#b1 / META: no rule is for it"
    assert f"quarantine  Monolith BOOK#b1 / META: {why}" in status.output
    assert status.output[-1] == (
        f"next: {terminal.line('forgive')} 'Monolith BOOK#b1 / META'   once it is known what became"
        " of it"
    )
    assert (await terminal.told("forgive", "Monolith BOOK#b1 / META")).code == 0
    again = await terminal.told("forgive", "Monolith BOOK#b1 / META")
    assert again.problems == ["Monolith BOOK#b1 / META is not in quarantine"]
    worker.cancel()


@in_virtual_time
async def test_a_difference_that_a_late_write_made_says_so(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    worker = terminal.begin("worker")
    await terminal.told("copy")
    await terminal.told("verify books")
    assert (await terminal.told("switch books")).code == 0
    # A deletion that the application gave up before the switch is carried out behind it.
    terminal.monolith.write(MONOLITH.cell(book("b1")), None)
    await asyncio.sleep(5)
    told = await terminal.told("verify books")
    assert told.output[:3] == [
        "books: 5 items against 6 rows: 1 differ",
        "  Books b1: extra",
        "  Monolith BOOK#b1 / META was written in the source after books was switched: by a request"
        " that was given up and landed late, or by who asks no gate",
    ]
    assert told.output[-1] == f"next: {terminal.line('verify books --repair')}"
    assert (await terminal.told("verify books --repair")).code == 0
    assert (await terminal.told("forgive", "Monolith BOOK#b1 / META")).code == 0
    assert (await terminal.told("reverse books")).code == 0
    worker.cancel()


@in_virtual_time
async def test_cancel_removes_what_was_written_and_nothing_else(terminal: Terminal) -> None:
    fill(terminal)
    await terminal.told("start")
    await terminal.told("copy --work")
    assert all(MARK in item for item in terminal.books.items.values())
    stays: Item = {"bookId": {"S": "native"}}
    terminal.books.write(Cell("Books", "native", None), stays)
    assert (await terminal.told("cancel")).code == 0
    assert terminal.books.items == {Cell("Books", "native", None): stays}
    status = await terminal.told("status")
    assert status.output[0] == "Monolith → Books, Shelves: CANCELLED, no workers"
    assert status.output[-1] == f"next: {terminal.line('start')}"


@in_virtual_time
async def test_a_cancel_that_was_killed_is_gone_on_with_and_all_can_begin_anew(
    terminal: Terminal,
) -> None:
    fill(terminal)
    await terminal.told("start")
    worker = terminal.begin("worker")
    await terminal.told("copy")
    await terminal.told("verify books")
    await terminal.told("switch books")
    for number in range(3):
        row: Item = {"bookId": {"S": f"b{number}"}, "title": {"S": "new"}, "kind": {"S": "book"}}
        terminal.books.write(Cell("Books", f"b{number}", None), row)
    await terminal.told("verify books")
    await terminal.told("reverse books")
    assert sum(MARK in item for item in terminal.monolith.items.values()) == 3

    cancelling = terminal.begin("cancel")
    control = Control(terminal.context())
    while (await control.view()).run.phase != "CANCELLED":  # type: ignore[union-attr] # it was started
        await asyncio.sleep(0.2)
    terminal.kill_last()
    await asyncio.wait([cancelling])
    status = await terminal.told("status")
    assert "left    what it wrote is not removed yet" in status.output
    assert status.output[-1] == f"next: {terminal.line('cancel')}"
    refused = await terminal.told("start")
    assert (refused.code, refused.problems) == (
        1,
        ["what the cancelled migration wrote is not removed yet: `cancel` goes on with that"],
    )
    assert [line for line in (await terminal.told("plan")).problems if "b1" in line] == [
        "Monolith BOOK#b1 / META: carries the mark of an earlier migration (`cancel` of that removes it)"
    ]

    assert (await terminal.told("cancel")).code == 0
    assert terminal.books.items == {}
    assert not any(MARK in item for item in terminal.monolith.items.values())
    assert terminal.monolith.items[MONOLITH.cell(book("b1"))]["name"] == {"S": "new"}
    assert (await terminal.told("plan")).code == 0
    await terminal.told("start")  # the worker has waited for it
    await terminal.told("copy")
    assert (await terminal.told("verify books")).code == 0
    assert (await terminal.told("switch books")).code == 0
    worker.cancel()
