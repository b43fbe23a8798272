"""What a course becomes, and that nothing of it gets lost in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.course_import._archive import open_source
from deploy.course_import._findings import REASONS, counted
from deploy.course_import._mapping import plan_course
from deploy.course_import._olx import read_course
from deploy.course_import._plan import Choices, Item, Plan
from tests.unit.course_import.exports import SAMPLE, Files, export

NUMBER = '<numericalresponse answer="1"><label>L</label></numericalresponse>'


def plan_of(files: Files, **choices: Any) -> Plan:
    """The plan of an export."""
    return plan_course(read_course(files), Choices(**choices))


def body(item: Item) -> bytes:
    """An item's bytes."""
    with item.body.open() as file:
        return file.read()


def reasons(plan: Plan) -> set[tuple[str, str]]:
    """The findings but for those of every small export: which, and about what."""
    return {(one.reason, one.subject) for one in plan.findings if one.reason != "assumed"}


def accounted(plan: Plan) -> set[str]:
    """Everything that the plan knows to have been in the export."""
    known = set(plan.sources) | {finding.subject for finding in plan.findings}
    for section in plan.sections:
        known |= set(section.sources)
        for item in section.items:
            known |= set(item.sources)
    return known


@pytest.fixture(scope="module")
def sample() -> Plan:
    with open_source(SAMPLE) as source:
        return plan_course(read_course(source))


def test_the_outline_of_the_sample(sample: Plan) -> None:
    outline = [
        (section.title, [f"{i.type} {i.title}" for i in section.items])
        for section in sample.sections
    ]
    assert outline == [
        (
            "A first look: Into the dark",
            ["reading Eyes in the dark", "video Stars rise", "quiz Eyes in the dark",
             "reading The star chart", "quiz The star chart", "reading From old notes"],
        ),
        ("A first look: Instruments", ["reading Telescopes", "video The sky, slowly", "quiz Magnification"]),
        ("The sky moves: The sky turns", ["reading Two ways to see it", "quiz What do you think?"]),
        (
            "The sky moves: The last test",
            ["quiz Questions", "assignment A report of your own", "assignment A photograph"],
        ),
        ("The sky moves", ["reading Afterword"]),
        ("Pages", ["reading Links"]),
    ]  # fmt: skip


def test_the_sample_shows_every_reason_that_needs_no_trick(sample: Plan) -> None:
    shown = {reason for reason, _ in counted(sample.findings)}
    # Large files, files that are no media, and what an export should hold and does not.
    rest = {"too_large", "no_video", "unreadable", "shortened", "captions"}
    assert shown == set(REASONS) - rest


def test_every_element_of_the_sample_is_accounted_for(sample: Plan) -> None:
    with open_source(SAMPLE) as source:
        course = read_course(source)
        missing = {block.key for block in course.root.walk()} - accounted(sample)
    assert missing == set()


def test_a_plan_is_the_same_every_time(sample: Plan) -> None:
    with open_source(SAMPLE) as source:
        assert plan_course(read_course(source)) == sample


def test_progress_ends_at_its_end() -> None:
    told: list[int] = []

    def begin(total: int) -> Callable[[int], None]:
        told.append(-total)
        return told.append

    with open_source(SAMPLE) as source:
        plan_course(read_course(source), begin=begin)
    assert len(told) > 10
    assert sum(told) == 0


def test_bodies_are_what_was_announced() -> None:
    import hashlib

    with open_source(SAMPLE) as source:
        for item in plan_course(read_course(source)).items():
            content = body(item)
            assert (len(content), hashlib.sha256(content).hexdigest()) == (
                item.body.size,
                item.body.sha256,
            )


def test_what_is_for_staff_is_nowhere(sample: Plan) -> None:
    with open_source(SAMPLE) as source:
        for item in plan_course(read_course(source)).items():
            content = body(item)
            assert b"under the mat" not in content
            assert b"Bring blankets" not in content


def test_credentials_of_tools_are_nowhere(sample: Plan) -> None:
    from deploy.course_import._console import plan_document

    text = json.dumps(plan_document(sample))
    assert ("credentials", "lti_passports") in reasons(sample)
    assert "sample-secret" not in text
    assert "sample-key" not in text


def test_videos_bring_their_length_and_captions(sample: Plan) -> None:
    video = next(item for item in sample.items() if item.type == "video")
    assert video.duration_seconds == 3
    assert video.body.content_type == "video/mp4"
    assert [track.language for track in video.captions] == ["en", "pt-BR"]
    assert all(track.body.startswith(b"WEBVTT\n\n00:00:00.000") for track in video.captions)


def test_a_unit_becomes_a_page_with_marks_and_its_items() -> None:
    plan = plan_of(
        export(
            '<html url_name="a"><p>Before</p></html>'
            '<video url_name="v" display_name="Film"><source src="/static/f.mp4"/></video>'
            '<html url_name="b"><p>After</p></html>'
            f'<problem url_name="p">{NUMBER}</problem><problem url_name="q">{NUMBER}</problem>',
            **{"static/f.mp4": b"film"},
        )
    )
    (section,) = plan.sections
    assert section.title == "Chapter: Sequential"
    assert [(item.key, item.type, item.sources) for item in section.items] == [
        ("page/unit", "reading", ("html/a", "html/b")),
        ("video/v", "video", ("video/v",)),
        ("quiz/unit", "quiz", ("problem/p", "problem/q")),
    ]
    text = body(section.items[0]).decode()
    places = [text.index(word) for word in ("Before", "▸ Film", "After", "▸ Unit")]
    assert places == sorted(places)
    assert len(json.loads(body(section.items[2]))["questions"]) == 2


def test_marks_alone_make_no_page() -> None:
    plan = plan_of(export(f'<problem url_name="p" display_name="Sum">{NUMBER}</problem>'))
    assert [(item.key, item.title) for item in plan.items()] == [("quiz/unit", "Sum")]


@pytest.mark.parametrize(
    ("olx", "reason"),
    [
        ('<video url_name="x" youtube_id_1_0="abc"/>', "external_video"),
        ('<video url_name="x"><source src="https://v.example/f.mp4"/></video>', "external_video"),
        ('<video url_name="x"><source src="javascript:alert(1)"/></video>', "no_video"),
        ('<video url_name="x" display_name="Nothing"/>', "no_video"),
        ('<lti url_name="x" launch_url="https://x.example"/>', "external_tool"),
        ('<lti_consumer url_name="x" lti_id="x"/>', "external_tool"),
        ('<drag-and-drop-v2 url_name="x" data="{}"/>', "drag_and_drop"),
        ('<discussion url_name="x" discussion_target="x"/>', "discussion"),
        ('<never-heard-of url_name="x" a="b"/>', "unknown_component"),
    ],
)
def test_what_does_not_fit_is_named(olx: str, reason: str) -> None:
    plan = plan_of(export(olx))
    category = re.match(r"<([\w-]+)", olx)
    assert category is not None
    assert (reason, f"{category[1]}/x") in reasons(plan)
    assert REASONS[reason][0] == "left_out"
    assert all(item.type == "reading" for item in plan.items())


def test_a_video_elsewhere_leaves_its_link_and_its_words() -> None:
    plan = plan_of(
        export(
            '<video url_name="v" display_name="Talk" youtube_id_1_0="abc" sub="s1"/>',
            **{"static/subs_s1.srt.sjson": '{"start":[0],"end":[9],"text":["Said &amp; done"]}'},
        )
    )
    (item,) = plan.items()
    text = body(item).decode()
    assert '<a href="https://youtu.be/abc" rel="noopener noreferrer">Talk</a>' in text
    assert "<summary>en</summary><p>Said &amp; done</p>" in text
    assert ("external_video", "video/v") in reasons(plan)


def test_captions_that_can_not_be_used_are_named() -> None:
    files: dict[str, str | bytes] = {
        "static/f.mp4": b"film",
        "static/a.srt": "no cues",
        "static/long.srt": "00:00:01,000 --> 00:00:02,000\n" + "long " * 60_000,
    }
    plan = plan_of(
        export(
            '<video url_name="v" transcripts="{&quot;en&quot;: &quot;a.srt&quot;, &quot;??&quot;:'
            ' &quot;b.srt&quot;, &quot;de&quot;: &quot;c.srt&quot;, &quot;fr&quot;: &quot;long.srt&quot;}">'
            '<source src="/static/f.mp4"/></video>',
            **files,
        )
    )
    found = [(one.reason, one.detail) for one in plan.findings if one.subject == "video/v"]
    assert [reason for reason, _ in found] == ["captions", "captions", "missing_file", "captions"]
    assert "above 262144" in found[3][1]
    assert next(plan.items()).captions == ()


def test_an_empty_film_is_no_film() -> None:
    plan = plan_of(
        export('<video url_name="v"><source src="/static/f.mp4"/></video>', **{"static/f.mp4": b""})
    )
    assert ("missing_file", "video/v") in reasons(plan)
    assert all(item.type == "reading" for item in plan.items())


def grading(**weights: float) -> str:
    return json.dumps({"GRADER": [{"type": name, "weight": w} for name, w in weights.items()]})


def graded(*parts: tuple[str, str]) -> Files:
    """A sequential a part: its format and what is in it."""
    sequentials = "".join(
        f'<sequential url_name="s{n}" display_name="S{n}" format="{kind}" graded="true">'
        f'<vertical url_name="v{n}">{inside}</vertical></sequential>'
        for n, (kind, inside) in enumerate(parts)
    )
    return Files(
        {
            "course.xml": '<course url_name="run" org="Org" course="C1"><chapter url_name="c">'
            f"{sequentials}</chapter></course>",
            "policies/run/grading_policy.json": grading(Homework=0.25, Exam=0.75),
        }
    )


def test_weights_are_the_shares_of_the_grade() -> None:
    one = '<problem url_name="{}" weight="{}">' + NUMBER + "</problem>"
    files = graded(
        ("Homework", one.format("a", 1)),
        ("Homework", one.format("b", 1)),
        (
            "Exam",
            one.format("c", 5) + '<openassessment url_name="o"><title>T</title></openassessment>',
        ),
        ("Other", one.format("d", 1)),
    )
    weights = {item.key: item.weight for item in plan_of(files).items()}
    # Four graded items: a quarter of 4 in two halves, three quarters of 4 in shares of 5 and 1.
    assert weights == {
        "quiz/v0": 0.5,
        "quiz/v1": 0.5,
        "quiz/v2": 2.5,
        "task/openassessment/o": 0.5,
        "quiz/v3": 1,
    }


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["Homework", "Exam", "None"]),
            st.lists(st.sampled_from([0, 0.001, 1, 999]), min_size=1, max_size=3),
        ),
        max_size=5,
    )
)
def test_weights_are_in_bounds_and_keep_the_sum(parts: list[tuple[str, list[float]]]) -> None:
    files = graded(
        *(
            (
                kind,
                "".join(
                    f'<vertical url_name="v{n}-{m}"><problem url_name="p{n}-{m}" weight="{points}">{NUMBER}'
                    "</problem></vertical>"
                    for m, points in enumerate(each)
                ),
            )
            for n, (kind, each) in enumerate(parts)
        )
    )
    items = list(plan_of(files).items())
    assert all(0.001 <= item.weight <= 1_000 for item in items)
    assert sum(item.weight for item in items) == pytest.approx(
        len(items), abs=0.01 * len(items) + 0.01
    )


def test_what_nobody_can_answer_is_not_required() -> None:
    plan = plan_of(
        export('<problem url_name="p"><customresponse/></problem><poll url_name="q" question="?" '
               "answers='[[\"a\", \"A\"]]'/>")
    )  # fmt: skip
    (item,) = plan.items()
    assert not item.required
    assert reasons(plan) >= {("ungraded_kinds", "problem/p"), ("no_results", "poll/q")}


def test_levels_that_are_missing_are_put_around() -> None:
    plan = plan_of(
        Files(
            {
                "course.xml": '<course url_name="run" org="Org" course="C1">'
                '<html url_name="top">1</html>'
                '<chapter url_name="c" display_name="C"><html url_name="a">2</html>'
                '<sequential url_name="s" display_name="S"><html url_name="b">3</html></sequential>'
                '<vertical url_name="v" display_name="V"><html url_name="d">4</html></vertical></chapter></course>'
            }
        )
    )
    assert [(section.title, len(section.items)) for section in plan.sections] == [
        ("top", 1),
        ("C", 1),
        ("C: S", 1),
        ("C", 1),
    ]
    assert len({section.id for section in plan.sections}) == 4
    assert accounted(plan) >= {
        "html/top",
        "html/a",
        "html/b",
        "html/d",
        "vertical/v",
        "sequential/s",
    }


def test_texts_are_cut_to_what_the_api_takes_and_it_is_said() -> None:
    plan = plan_of(
        Files(
            {
                "course.xml": f'<course url_name="run" org="Org" course="C1" display_name="{"t" * 300}"/>',
                "about/overview.html": "<p>" + "word " * 20_000,
                "about/short_description.html": "s" * 600,
            }
        )
    )
    assert (len(plan.title), len(plan.short_description), len(plan.description)) == (
        200,
        500,
        50_000,
    )
    assert [one.reason for one in plan.findings].count("shortened") == 3


@pytest.mark.parametrize(
    ("said", "language"),
    [("en", "en"), ("zh_CN", "zh-CN"), ("PT-br", "pt-br"), ("klingon!", "en"), ("", "en")],
)
def test_languages(said: str, language: str) -> None:
    files = Files(
        {"course.xml": f'<course url_name="r" org="O" course="C" language={quoteattr(said)}/>'}
    )
    plan = plan_of(files)
    assert plan.language == language
    assert ("en" in said or said.startswith(("zh", "PT"))) == (
        not any("language" in one.detail for one in plan.findings)
    )


def test_a_person_may_say_what_the_export_does_not() -> None:
    plan = plan_of(export(""), level="advanced", language="fr", tags=("x",))
    assert (plan.level, plan.language, plan.tags) == ("advanced", "fr", ("x",))


COMPONENTS = st.sampled_from(
    ["html", "problem", "video", "lti", "discussion", "poll", "survey", "openassessment", "edx_sga",
     "drag-and-drop-v2", "annotatable", "done", "word_cloud", "pdf", "about-nothing", "wiki", "html+file",
     "html+gone", "problem+broken", "library_content", "split_test", "conditional", "vertical"]
)  # fmt: skip


@st.composite
def exports(draw: st.DrawFn) -> tuple[Files, set[str]]:
    """A course of any shape, and every element that it declares."""
    files: dict[str, str] = {}
    declared: set[str] = set()
    names = iter(range(1_000))

    def block(kind: str, depth: int) -> str:
        category, _, how = kind.partition("+")
        name = draw(st.sampled_from([f"n{next(names)}", "again", f"näme {next(names)}"]))
        declared.add(f"{category}/{name}")
        hidden = draw(st.sampled_from(["", "", "", ' visible_to_staff_only="true"']))
        head = f"{category} url_name={quoteattr(name)}"
        if how == "file":
            files[f"html/{name}.html"] = draw(
                st.sampled_from(["<p>words</p>", "<script>x</script>", ""])
            )
            return f"<{head}/>"
        if how == "gone":
            return f"<{head}/>"
        if how == "broken":
            files[f"problem/{name}.xml"] = "<problem>"
            return f"<{head}/>"
        inside = ""
        if category in ("library_content", "split_test", "conditional", "vertical") and depth < 3:
            kinds = draw(st.lists(COMPONENTS, max_size=3))
            inside = "".join(block(one, depth + 1) for one in kinds)
        elif category == "problem":
            inside = draw(st.sampled_from([NUMBER, "<customresponse/>", ""]))
        elif category == "html":
            inside = draw(st.sampled_from(["words", "<script/>"]))
        return f"<{head}{hidden} display_name='D'>{inside}</{category}>"

    def level(category: str, below: list[str]) -> str:
        name = f"{category}{next(names)}"
        declared.add(f"{category}/{name}")
        return f'<{category} url_name="{name}">{"".join(below)}</{category}>'

    chapters = []
    for _ in range(draw(st.integers(0, 2))):
        sequentials = []
        for _ in range(draw(st.integers(0, 2))):
            units = [
                level(
                    "vertical", [block(kind, 0) for kind in draw(st.lists(COMPONENTS, max_size=4))]
                )
                for _ in range(draw(st.integers(0, 2)))
            ]
            loose = [block(kind, 0) for kind in draw(st.lists(COMPONENTS, max_size=1))]
            sequentials.append(level("sequential", [*units, *loose]))
        loose = [block(kind, 0) for kind in draw(st.lists(COMPONENTS, max_size=1))]
        chapters.append(level("chapter", [*sequentials, *loose]))
    loose = [block(kind, 0) for kind in draw(st.lists(COMPONENTS, max_size=1))]
    files["course.xml"] = (
        f'<course url_name="r" org="O" course="C" display_name="D">{"".join([*chapters, *loose])}</course>'
    )
    declared.add("course/r")
    return Files(files), declared


@settings(max_examples=300, deadline=None)
@given(drawn=exports())
def test_nothing_of_any_course_is_dropped_in_silence(drawn: tuple[Files, set[str]]) -> None:
    files, declared = drawn
    plan = plan_of(files)
    assert declared - accounted(plan) == set()
    # And what stands in the outline stands there once, in a form that the API takes.
    sources = [source for item in plan.items() for source in item.sources]
    assert len(sources) == len(set(sources))
    ids = [section.id for section in plan.sections]
    assert len(ids) == len(set(ids))
    keys = [item.key for item in plan.items()]
    assert len(keys) == len(set(keys))
    for section in plan.sections:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", section.id)
        assert section.items
        assert 1 <= len(section.title) <= 200
        for item in section.items:
            assert 1 <= len(item.title) <= 200
            assert item.body.size >= 1
