"""Problems, polls and surveys become quizzes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._olx import Block
from deploy.course_import._quiz import Problem, quiz_document, read_problem
from deploy.course_import._static import StaticFiles
from deploy.course_import._xml import parse_xml
from tests.unit.course_import.exports import Files


def problem(olx: str) -> Problem:
    """A problem as it was read."""
    element = parse_xml(olx.encode())
    return read_problem(Block(element.tag, "p1", dict(element.attrib), element))


def question(response: str) -> dict[str, Any]:
    """The one question of a problem with this response."""
    read = problem(f'<problem display_name="Title">{response}</problem>')
    assert read.unsupported == []
    (only,) = read.questions
    return only


def test_one_of_several() -> None:
    found = question(
        "<multiplechoiceresponse><label>Which?</label><choicegroup>"
        "<choice correct='false'>a <choicehint>no</choicehint></choice>"
        "<choice correct='true'><b>b</b> c</choice></choicegroup></multiplechoiceresponse>"
    )
    assert found == {"prompt": "Which?", "type": "choice", "choices": ["a", "b c"], "answer": 1}


def test_all_that_are_right() -> None:
    found = question(
        "<choiceresponse><label>Which?</label><checkboxgroup><choice correct='true'>a</choice>"
        "<choice correct='false'>b</choice><choice correct='true'>c</choice></checkboxgroup></choiceresponse>"
    )
    assert (found["type"], found["answers"]) == ("choices", [0, 2])


@pytest.mark.parametrize(
    "inside",
    [
        "<optioninput><option correct='False'>a</option><option correct='True'>it's b</option></optioninput>",
        """<optioninput options="('a', &quot;it's b&quot;)" correct="it's b"/>""",
        r"""<optioninput options="('a','it\'s b')" correct="it's b"/>""",
    ],
)
def test_a_list_to_choose_from(inside: str) -> None:
    found = question(f"<optionresponse><label>L</label>{inside}</optionresponse>")
    assert (found["choices"], found["answer"]) == (["a", "it's b"], 1)


def test_a_number() -> None:
    found = question(
        "<numericalresponse answer=' 600 '><label>L</label>"
        "<responseparam type='tolerance' default='5%'/><textline/></numericalresponse>"
    )
    assert found == {"prompt": "L", "type": "number", "answer": "600", "tolerance": "5%"}


def test_a_text() -> None:
    found = question(
        "<stringresponse answer='Doc' type='ci'><label>L</label>"
        "<additional_answer answer='Happy'/><additional_answer>Sneezy</additional_answer></stringresponse>"
    )
    assert (found["answers"], found["caseSensitive"]) == (["Doc", "Happy", "Sneezy"], False)
    found = question(
        "<stringresponse answer='a.b' type='regexp'><additional_answer answer='c|d'/></stringresponse>"
    )
    assert (found["pattern"], found["caseSensitive"]) == ("(?:a.b)|(?:c|d)", True)


def test_what_is_asked_stands_in_the_label_in_the_text_before_or_in_the_title() -> None:
    number = "<numericalresponse answer='1'>{}</numericalresponse>"
    assert question(number.format("<p>Inside</p><textline/>"))["prompt"] == "Inside"
    assert question(f"<p>Before <i>it</i></p>{number.format('')}")["prompt"] == "Before it"
    assert question(number.format(""))["prompt"] == "Title"


def test_the_rows_of_a_table_are_asked_about_by_their_first_cell() -> None:
    row = "<tr><td>{}</td><td>{}</td><td>{}</td></tr>"
    answer = "<stringresponse answer='x'/>"
    read = problem(
        f"<problem><table>{row.format('A', answer, answer)}{row.format('B', answer, '')}</table></problem>"
    )
    assert [one["prompt"] for one in read.questions] == ["A", "A", "B"]


def test_explanations_and_hints() -> None:
    found = question(
        "<numericalresponse answer='1'><label>L</label></numericalresponse>"
        "<solution><p>Because.</p></solution><demandhint><hint>One.</hint><hint>Two.</hint></demandhint>"
    )
    assert (found["explanation"], found["hints"]) == ("Because.", ["One.", "Two."])


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("<customresponse cfn='f'><textline/></customresponse>", "<customresponse> has no counterpart"),
        ("<formularesponse answer='x'/>", "<formularesponse> has no counterpart"),
        ("<multiplechoiceresponse/>", "it has no choices"),
        (
            "<multiplechoiceresponse><choicegroup><choice>a</choice></choicegroup></multiplechoiceresponse>",
            "0 of its choices are right",
        ),
        ("<optionresponse/>", "0 inputs"),
        ("<numericalresponse/>", "it has no answer"),
        ("<stringresponse/>", "it has no answer"),
        ("<script type='loncapa/python'>x=1</script><numericalresponse answer='$x'/>", "computed by Python"),
        ("<script type='loncapa/python'>x=1</script><p>What is $x?</p><numericalresponse answer='1'/>",
         "computed by Python"),
        ("<p>Nothing</p>", "nothing to answer"),
    ],
)  # fmt: skip
def test_what_gives_no_question_says_why(response: str, why: str) -> None:
    read = problem(f"<problem>{response}</problem>")
    assert read.questions == []
    assert why in read.unsupported[0]


def test_polls_and_surveys_have_no_right_answer() -> None:
    poll = problem(
        """<poll question="Best?" answers='[["R", {"label": "Red", "img": ""}], ["B", {"label": "Blue"}]]'/>"""
    )
    assert poll.questions == [{"prompt": "Best?", "type": "poll", "choices": ["Red", "Blue"]}]
    survey = problem(
        """<survey questions='[["q", {"label": "Fun?"}], ["r", {"label": "Hard?"}]]' answers='[["Y", "Yes"]]'/>"""
    )
    assert [one["prompt"] for one in survey.questions] == ["Fun?", "Hard?"]
    assert problem("<poll answers='[1, [2]]'/>").unsupported == ["nothing to answer"]


def test_a_document_holds_everything_twice_and_what_it_needs() -> None:
    olx = (
        "<problem display_name='P'><p><img src='/static/a.png'/> &lt;img src=\"/static/b.png\"&gt;</p>"
        "<img src='/static/gone.png'/><numericalresponse answer='1'/></problem>"
    )
    statics = StaticFiles(Files({"static/a.png": b"A", "static/b.png": b"B"}))
    quiz = quiz_document([problem(olx)], statics)
    document = json.loads(quiz.body)
    assert [one["answer"] for one in document["questions"]] == ["1"]
    assert document["problems"][0]["id"] == "p1"
    assert parse_xml(document["problems"][0]["olx"].encode()).tag == "problem"
    assert set(document["assets"]) == {"/static/a.png", "/static/b.png"}
    assert quiz.missing == [("problem/p1", "gone.png")]
    assert statics.unused() == []


@given(
    answers=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1),
        min_size=1,
    ),
    right=st.integers(0, 20),
)
def test_the_right_choice_stays_the_right_choice(answers: list[str], right: int) -> None:
    from xml.sax.saxutils import escape

    right %= len(answers)
    choices = "".join(
        f"<choice correct='{str(place == right).lower()}'>x{escape(text)}</choice>"
        for place, text in enumerate(answers)
    )
    found = question(
        f"<multiplechoiceresponse><choicegroup>{choices}</choicegroup></multiplechoiceresponse>"
    )
    assert found["answer"] == right
    assert [choice.split() for choice in found["choices"]] == [
        f"x{text}".split() for text in answers
    ]
