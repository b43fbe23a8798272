"""A mapping: what is refused before any data is seen, and what is refused of an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.migration._items import (
    MARK,
    MAX_ITEM_BYTES,
    Item,
    Mark,
    Order,
    canonical,
    is_migrations_write,
    marked,
    padded,
)
from deploy.migration._patterns import KeyPattern, PatternError
from deploy.migration.mapping import (
    AttributeIs,
    Cell,
    FieldTransform,
    MappingError,
    Nobody,
    Part,
    Rule,
    Source,
    SplitMapping,
    Stays,
    Table,
    Target,
)
from deploy.migration.planning import check_mapping, survey_items
from deploy.migration.renaming import Attribute, Renamed

SOURCE = Table("Monolith", "pk", "sk")
BOOKS = Target("books", Table("Books", "bookId"))
LOANS = Target("loans", Table("Loans", "userId", "sk"))
PLAIN = Renamed((Attribute("name", "title"),))


def rule(
    name: str = "book",
    partition: str = "BOOK#{book}",
    key: str = "{book}",
    *,
    sort: str = "META",
    target: Target = BOOKS,
    target_sort: str | None = None,
    where: AttributeIs | None = None,
    transforms: dict[str, FieldTransform] | None = None,
) -> Rule:
    target_pattern = None if target_sort is None else KeyPattern(target_sort)
    part = Part(name, KeyPattern(key), target_pattern, PLAIN.rows)
    return Rule(
        name,
        target,
        KeyPattern(partition),
        KeyPattern(sort),
        (part,),
        PLAIN.compose,
        where,
        transforms or {},
    )


def book(book_id: str = "b1", **attributes: str) -> dict[str, dict[str, str]]:
    values = {"pk": f"BOOK#{book_id}", "sk": "META", **attributes}
    return {name: {"S": value} for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{a}{b}", "nothing stands between {a} and {b}"),
        ("{a:text}x{b}", "{a} can hold the 'x' that ends it"),
        ("{a:rest}#", "{a} can hold the '#' that ends it"),
        ("{a}#{a}", "the field 'a' twice"),
        ("{a:word}", "'word' is none of the classes"),
        ("{a", "expected '}'"),
        ("{1a}", "'1a' is not a field's name"),
    ],
)
def test_a_pattern_that_reads_in_two_ways_is_refused(text: str, why: str) -> None:
    with pytest.raises(PatternError, match=why.replace("{", r"\{").replace("}", r"\}")):
        KeyPattern(text)


PATTERNS = [
    "A#{a}", "{a}", "{a:digits}#{b}", "{a:text}", "{a:text}#{b:text}", "A{a}", "A#{b:rest}", "A",
]  # fmt: skip


@given(
    st.sampled_from(PATTERNS),
    st.sampled_from(PATTERNS),
    st.text(alphabet="A#1x", max_size=5),
)
def test_what_two_patterns_share_is_found(one: str, other: str, value: str) -> None:
    first, second = KeyPattern(one), KeyPattern(other)
    shared = first.common(second)
    if shared is None:
        assert first.match(value) is None or second.match(value) is None
    else:
        assert first.match(shared) is not None
        assert second.match(shared) is not None
    read = first.match(value)
    if read is not None:
        assert first.format(read) == value


def test_every_problem_of_a_mapping_is_named_at_once() -> None:
    mapping = SplitMapping(
        SOURCE,
        (
            rule(),
            rule("other book", "BOOK#{b:text}", "x#{b:text}"),
            rule("loan", "USER#{user}", "{user}", sort="LOAN#{loan}", target=LOANS,
                 target_sort="LOAN"),
            rule("fine", "FINE#{fine}", "{fine}"),
            rule("kept", "KEPT#{kept:text}", "~migration#{kept:text}"),
            rule("flat", "FLAT#{flat}", "flat#{flat}", target=LOANS),
            rule("odd", "ODD#{odd}", "odd#{odd}", transforms={"even": FieldTransform(str, str)}),
        ),
        nobody=[Nobody("fines", KeyPattern("FINE#{f:text}"), KeyPattern("{any:rest}"), "not ours")],
        stays=[Stays(BOOKS, KeyPattern("x#{s:rest}"), None, "the service's")],
    )  # fmt: skip
    assert check_mapping(mapping).problems == [
        "the rules 'book' and 'other book' overlap: both are for BOOK#- / META",
        "the rules 'fine' and 'fines' overlap: both are for FINE#- / META",
        "the part 'loan' of 'loan' leaves 'loan' out of its key: two items could become one row",
        "the part 'flat' of 'flat' and Loans differ about a sort key",
        "the rule 'odd' transforms 'even', which is no field of its key",
        "the part 'kept' of 'kept' can have keys that begin with '~migration#', the migration's "
        "own",
        "the part 'book' of 'book' and the part 'fine' of 'fine' collide: both can have -",
        "the part 'other book' of 'other book' and what stays in Books (the service's) collide: "
        "both can have x#a",
    ]


def test_two_rules_of_one_key_are_told_apart_by_an_attribute() -> None:
    by_kind = [
        rule("book", where=AttributeIs("kind", "book")),
        rule("film", key="film#{book}", where=AttributeIs("kind", "film")),
    ]
    mapping = SplitMapping(SOURCE, by_kind)
    assert check_mapping(mapping).problems == []
    assert list(mapping.rows(book(kind="film"))) == [Cell("Books", "film#b1", None)]
    with pytest.raises(MappingError, match="no rule is for it"):
        mapping.place(book())


def test_an_item_becomes_rows_and_rows_the_item() -> None:
    mapping = SplitMapping(SOURCE, [rule()])
    placed = mapping.place(marked(book(name="Emma", extra="1"), Mark(tag="t")))
    assert placed.rows == {
        Cell("Books", "b1", None): {
            "bookId": {"S": "b1"}, "title": {"S": "Emma"}, "extra": {"S": "1"},
        }
    }  # fmt: skip
    assert placed.rule is not None
    source = Cell("Monolith", "BOOK#b1", "META")
    assert mapping.composed(placed.rule, source, placed.rows.values()) == book(
        name="Emma", extra="1"
    )
    assert mapping.composed(placed.rule, source, []) is None
    origin = mapping.origin(Cell("Books", "b1", None))
    assert origin is not None
    assert not isinstance(origin, Stays)
    assert origin.source == source
    assert mapping.origin(Cell("Books", "what#ever", None)) is None


LOWER = FieldTransform(str.lower, lambda text: text)


def test_every_problem_of_the_data_is_a_line() -> None:
    mapping = SplitMapping(SOURCE, [rule(transforms={"book": LOWER})])
    items: Sequence[dict[str, dict[str, str]]] = [
        book(),
        book("B2"),
        book(name="x", title="y"),
        book(text="x" * MAX_ITEM_BYTES),
        book(text="x" * (MAX_ITEM_BYTES - 9_000)),
        book(bookId="other"),
        {"pk": {"S": "SHELF#1"}, "sk": {"S": "META"}},
        {"pk": {"N": "1"}, "sk": {"S": "META"}},
        {**book(), MARK: Mark(tag="t").value()},  # type: ignore[dict-item]
    ]
    survey = check_mapping(mapping)
    survey_items(mapping, items, survey)
    assert survey.problems == [
        "Monolith BOOK#B2 / META: Books b2 does not lead back to it: the rule 'book' transforms "
        "keys ambiguously",
        "Monolith BOOK#b1 / META: the rule 'book': has an attribute of the target's name already: "
        "['title']",
        f"Monolith BOOK#b1 / META: Books b1 would have {MAX_ITEM_BYTES + 98} bytes with the "
        f"migration's mark, more than the {MAX_ITEM_BYTES} of an item",
        "Monolith BOOK#b1 / META: Books b1 has ['bookId'] as an attribute",
        "Monolith SHELF#1 / META: no rule is for it",
        "Monolith: an item's key has no text: 'S'",
        "Monolith BOOK#b1 / META: carries the mark of an earlier migration (`cancel` of that removes it)",
    ]
    assert survey.warnings == [
        f"Books b1: has {MAX_ITEM_BYTES - 9_000 + 98} of {MAX_ITEM_BYTES} bytes; an update may soon be"
        " refused"
    ]
    assert survey.by_rule == {"book": 2}
    assert survey.rows_by_module == {"books": 2}


def test_problems_of_the_data_are_bounded() -> None:
    mapping = SplitMapping(SOURCE, [rule()])
    survey = check_mapping(mapping)
    survey_items(mapping, [book(f"b#{n}") for n in range(100)], survey)
    assert (len(survey.problems), survey.more) == (20, 80)


def test_a_rule_that_does_not_lead_back_is_named() -> None:
    forgetful = replace(rule(), compose=lambda fields, rows: {"name": {"S": "?"}})
    survey = check_mapping(SplitMapping(SOURCE, [forgetful]))
    survey_items(SplitMapping(SOURCE, [forgetful]), [book(name="Emma")], survey)
    assert survey.problems == [
        "Monolith BOOK#b1 / META: the rule 'book' does not lead back: the item that its rows give "
        "has other rows"
    ]


def test_an_error_in_a_mappings_function_names_the_item() -> None:
    def rows(source: Source) -> list[object]:
        raise KeyError("isbn")

    broken = replace(rule(), parts=(replace(rule().parts[0], rows=rows),))  # type: ignore[arg-type]
    with pytest.raises(MappingError, match=r"BOOK#b1 / META: the rule 'book': 'isbn' is missing"):
        SplitMapping(SOURCE, [broken]).place(book())


def test_comparison_is_of_meaning() -> None:
    one: Item = {
        "a": {"SS": ["x", "y"]},
        "n": {"N": "1.0"},
        "b": {"B": b"1"},
        "l": {"L": [{"N": "2"}]},
    }
    other: Item = {
        "n": {"N": "1"},
        "a": {"SS": ["y", "x"]},
        "b": {"B": b"1"},
        "l": {"L": [{"N": "2.0"}]},
    }
    assert canonical(one) == canonical(marked(other, Mark(Order(1, padded("7")))))
    assert canonical({"a": {"S": "1"}}) != canonical({"a": {"N": "1"}})
    assert canonical({"a": {"L": [{"S": "x"}, {"S": "y"}]}}) != canonical(
        {"a": {"L": [{"S": "y"}, {"S": "x"}]}}
    )


def test_the_migrations_own_writes_are_told_from_the_owners() -> None:
    native = book()
    ours = marked(native, Mark(Order(1, padded("7"))))
    later = marked(native, Mark(Order(1, padded("8"))))
    tombstone = marked(native, Mark(Order(1, padded("9")), tombstone=True))
    assert is_migrations_write(None, ours)
    assert is_migrations_write(native, ours)
    assert is_migrations_write(ours, later)
    assert is_migrations_write(later, tombstone)
    assert is_migrations_write(tombstone, None)
    assert not is_migrations_write(ours, {**ours, "name": {"S": "x"}})
    assert not is_migrations_write(ours, native)
    assert not is_migrations_write(tombstone, native)
    assert not is_migrations_write(ours, None)
    assert not is_migrations_write(None, native)


def test_sequence_numbers_order_as_numbers() -> None:
    assert padded("9") < padded("10") < padded("1" * 40)
    for wrong in ("1" * 41, "-1", "٣", ""):
        with pytest.raises(ValueError, match="digits"):
            padded(wrong)
