"""Problems, polls and surveys as one quiz document, in the form of the platform's sample quizzes.

    {"questions": [{"prompt", "type", …}], "problems": [{"id", "title", "olx"}], "assets": {…}}

`type` says what a question expects, and so what else it holds:

    choice   choices, answer     one of the choices; `answer` is its place, from 0
    choices  choices, answers    all that are right
    number   answer, tolerance   a number; the tolerance is absolute, or relative with a `%`
    text     answers, caseSensitive, or pattern (a regular expression)
    poll     choices             nothing is right or wrong

Open edX has many more kinds of problem, and grades some by Python of the author's. So each problem is
there a second time, whole, as OLX, with the static files it names in `assets`: nothing is lost, and
an app that knows OLX can do more. What gave no question is said in `Problem.unsupported`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from deploy.course_import._olx import Block
from deploy.course_import._static import StaticFiles

CONTENT_TYPE = "application/json"
MAX_ASSET_BYTES = 10 << 20
MAX_ASSETS_BYTES = 60 << 20

_RESPONSE = re.compile(r"[a-z]+response")
# Parts of a problem that belong to no prompt.
_ASIDE = frozenset(
    """script style solution demandhint choicehint optionhint numerichint stringequalhint
    correcthint regexphint compoundhint additional_answer hintgroup checkboxgroup choicegroup
    radiogroup optioninput""".split()
)
_STATIC = re.compile(r"""/(?:static/|asset-v1:|c4x/)[^"'<>\s\\)]+""")


@dataclass
class Problem:
    """What has become of one problem, poll or survey."""

    block: Block
    questions: list[dict[str, object]] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    points: float = 1.0


@dataclass
class Quiz:
    """A quiz document, and what was met while it was made."""

    body: bytes
    missing: list[tuple[str, str]]  # (key of the problem, file)
    too_large: list[tuple[str, str]]


def read_problem(block: Block) -> Problem:
    """The questions of a problem, poll or survey."""
    problem = Problem(block, points=_points(block))
    if block.category == "poll":
        problem.questions += _poll(block)
    elif block.category == "survey":
        problem.questions += _survey(block)
    else:
        _Capa(problem).read()
    if not problem.questions and not problem.unsupported:
        problem.unsupported.append("nothing to answer")
    return problem


def quiz_document(problems: Iterable[Problem], statics: StaticFiles) -> Quiz:
    """The document of these problems together."""
    problems = list(problems)
    assets: dict[str, str] = {}
    missing: dict[tuple[str, str], None] = {}
    too_large: dict[tuple[str, str], None] = {}
    room = MAX_ASSETS_BYTES
    for problem in problems:
        for address in _addresses(problem.block.definition):
            name = statics.name_of(address)
            if name is None or address in assets:
                continue
            found = statics.find(name)
            if found is None:
                missing[problem.block.key, name] = None
                continue
            url = statics.data_url(found, limit=min(MAX_ASSET_BYTES, room))
            if url is None:
                too_large[problem.block.key, found] = None
                continue
            room = max(room - len(url), 0)
            assets[address] = url
    document = {
        "questions": [question for problem in problems for question in problem.questions],
        "problems": [
            {
                "id": problem.block.name,
                "title": problem.block.title,
                "olx": problem.block.olx(),
            }
            for problem in problems
        ],
        "assets": assets,
    }
    body = json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    return Quiz(body, list(missing), list(too_large))


class _Capa:
    """Reads a `<problem>`: responses in the order of the document, with the text before each."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._root = problem.block.definition
        self._stem: list[str] = []
        self._asked = ""
        self._computed = any(
            script.get("type", "").startswith(("loncapa/", "text/python"))
            for script in self._root.iter("script")
        )

    def read(self) -> None:
        self._walk(self._root)
        solutions = [_text(solution) for solution in self._root.iter("solution")]
        hints = [_text(hint) for hint in self._root.iter("hint")]
        questions = self._problem.questions
        if len(questions) == 1:
            if any(solutions):
                questions[0].setdefault("explanation", "\n".join(filter(None, solutions)))
            if any(hints):
                questions[0]["hints"] = [hint for hint in hints if hint]

    def _walk(self, element: Element) -> None:
        self._say(element.text)
        for child in element:
            if _RESPONSE.fullmatch(child.tag):
                self._response(child)
                self._stem.clear()
            elif child.tag not in _ASIDE:
                self._walk(child)
            self._say(child.tail)

    def _say(self, text: str | None) -> None:
        if text and text.strip():
            self._stem.append(text)

    def _response(self, response: Element) -> None:
        try:
            found = _READERS[response.tag](response)
        except KeyError:
            self._problem.unsupported.append(f"<{response.tag}> has no counterpart")
            return
        except _UnusableError as error:
            self._problem.unsupported.append(f"<{response.tag}>: {error}")
            return
        if self._computed and "$" in json.dumps(found):
            self._problem.unsupported.append(f"<{response.tag}> is computed by Python")
            return
        label = response.find(".//label")
        prompt = _text(label) if label is not None else ""
        prompt = prompt or _text(response) or " ".join(" ".join(self._stem).split())
        # Several answers to one question stand behind one text, as in the row of a table.
        prompt = self._asked = prompt or self._asked or self._problem.block.title
        if self._computed and re.search(r"\$[a-zA-Z_]", prompt):
            self._problem.unsupported.append(f"<{response.tag}> is computed by Python")
            return
        question: dict[str, object] = {"prompt": prompt, **found}
        solution = response.find(".//solution")
        if solution is not None and _text(solution):
            question["explanation"] = _text(solution)
        self._problem.questions.append(question)


class _UnusableError(Exception):
    """A response whose answer can not be told."""


def _multiple_choice(response: Element) -> dict[str, object]:
    choices, right = _choices(response)
    if len(right) != 1:
        raise _UnusableError(f"{len(right)} of its choices are right, not one")
    return {"type": "choice", "choices": choices, "answer": right[0]}


def _several_choices(response: Element) -> dict[str, object]:
    choices, right = _choices(response)
    return {"type": "choices", "choices": choices, "answers": right}


def _choices(response: Element) -> tuple[list[str], list[int]]:
    found = list(response.iter("choice"))
    if not found:
        raise _UnusableError("it has no choices")
    right = [place for place, choice in enumerate(found) if _is_true(choice.get("correct"))]
    return [_text(choice) or (choice.get("name") or "") for choice in found], right


def _option(response: Element) -> dict[str, object]:
    inputs = list(response.iter("optioninput"))
    if len(inputs) != 1:
        raise _UnusableError(f"it has {len(inputs)} inputs, not one")
    options = list(inputs[0].iter("option"))
    if options:
        choices = [_text(option) for option in options]
        right = [place for place, option in enumerate(options) if _is_true(option.get("correct"))]
    else:
        # ('Canberra','Sydney'), with quotes of either kind inside the other.
        listed = re.findall(
            r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", inputs[0].get("options", "")
        )
        choices = [re.sub(r"\\(.)", r"\1", single or double) for single, double in listed]
        correct = inputs[0].get("correct", "")
        right = [place for place, choice in enumerate(choices) if choice == correct]
    if not choices or len(right) != 1:
        raise _UnusableError(f"{len(right)} of its {len(choices)} options are right, not one")
    return {"type": "choice", "choices": choices, "answer": right[0]}


def _number(response: Element) -> dict[str, object]:
    answer = response.get("answer", "").strip()
    if not answer:
        raise _UnusableError("it has no answer")
    question: dict[str, object] = {"type": "number", "answer": answer}
    for parameter in response.iter("responseparam"):
        if parameter.get("type") == "tolerance" and parameter.get("default"):
            question["tolerance"] = parameter.get("default", "").strip()
    return question


def _string(response: Element) -> dict[str, object]:
    answers = [response.get("answer", "")]
    answers += [_answer(more) for more in response.iter("additional_answer")]
    answers = [answer for answer in answers if answer]
    if not answers:
        raise _UnusableError("it has no answer")
    kinds = response.get("type", "").split()
    question: dict[str, object] = {"type": "text", "caseSensitive": "ci" not in kinds}
    if "regexp" in kinds:
        question["pattern"] = "|".join(f"(?:{answer})" for answer in answers)
    else:
        question["answers"] = answers
    return question


def _answer(element: Element) -> str:
    return element.get("answer") or (element.text or "").strip()


_READERS = {
    "multiplechoiceresponse": _multiple_choice,
    "truefalseresponse": _several_choices,
    "choiceresponse": _several_choices,
    "optionresponse": _option,
    "numericalresponse": _number,
    "stringresponse": _string,
}


def _poll(block: Block) -> Iterator[dict[str, object]]:
    labels = [_label(entry[1]) for entry in _pairs(block, "answers")]
    if labels:
        yield {
            "prompt": " ".join(block.attributes.get("question", "").split()) or block.title,
            "type": "poll",
            "choices": labels,
        }


def _survey(block: Block) -> Iterator[dict[str, object]]:
    labels = [_label(entry[1]) for entry in _pairs(block, "answers")]
    if labels:
        for entry in _pairs(block, "questions"):
            yield {"prompt": _label(entry[1]), "type": "poll", "choices": labels}


def _pairs(block: Block, name: str) -> list[list[object]]:
    try:
        entries = json.loads(block.attributes.get(name, "[]"))
    except (ValueError, RecursionError):
        return []
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, list) and len(entry) == 2]


def _label(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("label") or value.get("img_alt") or value.get("img") or ""
    return " ".join(str(value).split())


def _text(element: Element) -> str:
    """What an element says, without what belongs to no prompt."""
    return " ".join(" ".join(_pieces(element)).split())


def _pieces(element: Element) -> Iterator[str]:
    if element.text:
        yield element.text
    for child in element:
        if child.tag not in _ASIDE:
            yield from _pieces(child)
        if child.tail:
            yield child.tail


def _addresses(element: Element) -> Iterator[str]:
    """Whatever may be the address of a static file, but for what an editor keeps besides."""
    for one in element.iter():
        for name, value in one.attrib.items():
            if name != "markdown":
                yield value.strip()
                yield from _STATIC.findall(value)
        for text in (one.text, one.tail):
            yield from _STATIC.findall(text or "")


def _points(block: Block) -> float:
    try:
        points = float(block.attributes.get("weight", 1))
    except ValueError:
        return 1.0
    return points if 0 <= points <= 1_000 else 1.0  # NaN falls here too


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() == "true"
