"""OLX as it stands in an export: pointers, policies, old forms, and what can not be read."""

from __future__ import annotations

import json

import pytest

from deploy.course_import._archive import open_source
from deploy.course_import._olx import Course, OlxError, read_course
from tests.unit.course_import.exports import SAMPLE, Files, export


def keys(course: Course) -> list[str]:
    """Every element, in order."""
    return [block.key for block in course.root.walk()]


def troubles(course: Course) -> list[tuple[str, str]]:
    """What could not be read: which element, and why."""
    return [(f"{one.category}/{one.name}", one.reason) for one in course.troubles]


def test_a_course_in_one_file() -> None:
    course = read_course(export('<html url_name="a"><p>Hello</p></html>'))
    assert str(course.key) == "Org/C1/run"
    assert keys(course) == ["course/run", "chapter/ch", "sequential/seq", "vertical/unit", "html/a"]
    assert list(course.root.walk())[-1].text == "<p>Hello</p>"


def test_pointers_are_followed_through_all_levels() -> None:
    course = read_course(
        Files(
            {
                "course.xml": '<course url_name="run" org="Org" course="C1"/>',
                "course/run.xml": '<course><chapter url_name="ch"/></course>',
                "chapter/ch.xml": '<chapter display_name="One"><sequential url_name="s"/></chapter>',
                "sequential/s.xml": '<sequential><vertical url_name="a:v"/></sequential>',
                "vertical/a/v.xml": '<vertical><problem url_name="p"/><html url_name="h"/></vertical>',
                "problem/p.xml": "<problem><p/></problem>",
                "html/h.xml": '<html filename="text"/>',
                "html/text.html": "<b>text</b>",
            }
        )
    )
    assert keys(course)[-3:] == ["vertical/a:v", "problem/p", "html/h"]
    assert course.troubles == []
    assert list(course.root.walk())[-1].text == "<b>text</b>"


def test_policies_win_over_attributes() -> None:
    policy = {
        "course/run": {"display_name": "By policy", "language": "de"},
        "vertical/unit": {"display_name": "Unit by policy", "visible_to_staff_only": True},
    }
    course = read_course(export("", **{"policies/run/policy.json": json.dumps(policy)}))
    assert course.root.title == "By policy"
    assert course.settings["language"] == "de"
    unit = list(course.root.walk())[-1]
    assert (unit.title, unit.staff_only) == ("Unit by policy", True)


def test_the_grading_policy() -> None:
    policy = {
        "GRADER": [
            {"type": "Homework", "weight": 0.4, "drop_count": 2},
            {"type": "Exam", "weight": "0.6"},
            {"type": "Broken"},
            {"type": "Endless", "weight": float("inf")},
            "nothing",
        ]
    }
    course = read_course(export("", **{"policies/run/grading_policy.json": json.dumps(policy)}))
    assert [(one.name, one.weight, one.drop_count) for one in course.assignments] == [
        ("Homework", 0.4, 2),
        ("Exam", 0.6, 0),
    ]
    assert troubles(course) == [("grading_policy/GRADER", "unreadable")] * 3


def test_old_forms() -> None:
    course = read_course(
        export(
            '<html slug="old"/><html url_name="plain"/><problem url_name="p"/><discussion url_name="d"/>',
            **{
                "html/old.xml": '<html filename="old.html"/>',
                "html/old.html": "old",
                "html/plain.html": "plain",
                "problem/p.xml": '<problem filename="q" display_name="P"/>',
                "problem/q.xml": "<problem><p>question</p></problem>",
            },
        )
    )
    assert keys(course)[-4:] == ["html/old", "html/plain", "problem/p", "discussion/d"]
    assert course.troubles == []


def test_what_is_missing_or_broken_is_a_trouble_and_the_rest_is_read() -> None:
    course = read_course(
        export(
            '<html url_name="gone"/><html url_name="lost"/><problem url_name="broken"/>'
            '<problem url_name="other"/><problem url_name="laughs"/><video url_name="here" youtube="1"/>',
            **{
                "html/lost.xml": '<html filename="nowhere"/>',
                "problem/broken.xml": "<problem><p></problem>",
                "problem/other.xml": "<video/>",
                "problem/laughs.xml": '<!DOCTYPE p [<!ENTITY a "a">]><problem>&a;</problem>',
            },
        )
    )
    assert keys(course)[-1] == "video/here"
    assert troubles(course) == [
        ("html/gone", "missing"),
        ("html/lost", "missing"),
        ("problem/broken", "unreadable"),
        ("problem/other", "unreadable"),
        ("problem/laughs", "unreadable"),
    ]


def test_circles_and_repetitions_end() -> None:
    course = read_course(
        export(
            '<vertical url_name="a"/><vertical url_name="a"/>',
            **{
                "vertical/a.xml": '<vertical><vertical url_name="a"/><html url_name="h">x</html></vertical>'
            },
        )
    )
    assert keys(course)[-2:] == ["vertical/a", "html/h"]
    assert troubles(course) == [("vertical/a", "duplicate")] * 2


def test_elements_without_a_name_get_one_by_their_place() -> None:
    course = read_course(export("<html>a</html><html>b</html>"))
    names = keys(course)[-2:]
    assert len(set(names)) == 2
    assert names == keys(read_course(export("<html>a</html><html>b</html>")))[-2:]


def test_what_a_conditional_shows_by_name_is_there() -> None:
    course = read_course(
        export(
            '<conditional url_name="c"><show sources="i4x://Org/C1/html/one;'
            'block-v1:Org+C1+run+type@html+block@two nonsense"/></conditional>',
            **{"html/one.html": "1", "html/two.html": "2"},
        )
    )
    assert keys(course)[-3:] == ["conditional/c", "html/one", "html/two"]


def test_text_that_is_not_utf8_is_told() -> None:
    course = read_course(
        export('<html url_name="a"/>', **{"html/a.html": "“café”".encode("cp1252")})
    )
    assert list(course.root.walk())[-1].text == "“café”"
    assert course.decoded == ["html/a.html"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"course.xml": "<library/>"}, "holds a <library>"),
        ({"course.xml": "<course"}, "not well-formed"),
        ({"course.xml": '<course url_name="r"/>'}, "does not name its org"),
        ({"course.xml": '<course url_name="r" org="O" course="C"/>'}, "there is no course/r.xml"),
        (
            {
                "course.xml": '<course url_name="r" org="O" course="C"><chapter/></course>',
                "policies/r/policy.json": "{",
            },
            "policies/r/policy.json is not JSON",
        ),
    ],
)
def test_what_is_no_course_is_said_in_a_line(files: dict[str, str], why: str) -> None:
    with pytest.raises(OlxError, match=why) as caught:
        read_course(Files(files))
    assert "\n" not in str(caught.value)


def test_nesting_has_an_end() -> None:
    deep = "".join(f'<vertical url_name="v{n}">' for n in range(40)) + "</vertical>" * 40
    with pytest.raises(OlxError, match="nest more than 30 deep"):
        read_course(export(deep))


def test_the_sample_is_read_without_a_trouble_but_those_it_is_to_show() -> None:
    with open_source(SAMPLE) as source:
        course = read_course(source)
    assert troubles(course) == [("html/lost-page", "missing"), ("html/words", "duplicate")]
    assert course.decoded == ["html/old-page.html"]
