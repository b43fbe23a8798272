"""OLX as it stands in an export: the tree of elements, followed through all its files.

Owns the format: pointer tags, policies, what is kept where. Gives a `Course` whose tree holds every
element that is there, and the problems met on the way; decides nothing about what becomes of them.

    course.xml                      <course url_name="RUN" org="ORG" course="NUMBER"/>
    course/RUN.xml                  the course, its chapters by pointer tags
    chapter|sequential|vertical/…   the levels below; any of them may also stand inline
    CATEGORY/URL_NAME.xml           components
    html/NAME.html                  the text of <html filename="NAME">
    policies/RUN/policy.json        settings that win over the attributes
    policies/RUN/grading_policy.json
    about/*.html, static/*, tabs/*, drafts/*
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from deploy.course_import._archive import ArchiveError, Source
from deploy.course_import._identifiers import CourseKey
from deploy.course_import._xml import MAX_BYTES, XmlError, parse_xml, to_xml

# Containers of structure, and those that choose among their children for each learner.
LEVELS = ("course", "chapter", "sequential", "vertical")
CHOOSERS = ("library_content", "itembank", "split_test", "conditional", "randomize", "wrapper")
# What an element that stands for a file of its own may carry besides its url_name.
_POINTER_ATTRIBUTES = {"url_name", "org", "course", "slug"}
_MAX_TEXT = 10 << 20
_MAX_JSON = 10 << 20
_MAX_BLOCKS = 50_000
_MAX_NESTING = 30


class OlxError(Exception):
    """The export can not be understood as a course; one line says why."""


@dataclass(frozen=True)
class Trouble:
    """Something on the way to the tree that could not be read: `where` it is, and why."""

    category: str
    name: str
    where: tuple[str, ...]
    reason: str
    detail: str


@dataclass
class Block:
    """One element: a level of the course, or a component.

    `element` is the definition itself, None for a level that somebody put around others; `text` is
    the HTML of an `<html>`.
    """

    category: str
    name: str
    attributes: dict[str, str]
    element: Element | None
    children: list[Block] = field(default_factory=list)
    text: str | None = None

    @property
    def key(self) -> str:
        """`category/url_name`: what names the block in reports."""
        return f"{self.category}/{self.name}"

    @property
    def title(self) -> str:
        """The name that its author gave it, empty where none was given."""
        return " ".join(self.attributes.get("display_name", "").split())

    @property
    def staff_only(self) -> bool:
        return _is_true(self.attributes.get("visible_to_staff_only"))

    def walk(self) -> Iterator[Block]:
        """Itself and everything below."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def definition(self) -> Element:
        """The element, empty where there is none."""
        return Element(self.category) if self.element is None else self.element

    def olx(self) -> str:
        """The definition as a document."""
        return to_xml(self.definition)


@dataclass(frozen=True)
class Assignment:
    """A kind of graded work: `weight` is its share of the grade, 0 to 1."""

    name: str
    weight: float
    drop_count: int


@dataclass
class Course:
    """An export, read."""

    key: CourseKey
    root: Block
    settings: Mapping[str, object]
    assignments: tuple[Assignment, ...]
    about: Mapping[str, str]
    pages: list[tuple[str, str, str]]  # (slug, name, HTML) of static tabs
    source: Source
    troubles: list[Trouble] = field(default_factory=list)
    decoded: list[str] = field(default_factory=list)  # files that were not UTF-8


def read_course(source: Source) -> Course:
    """The course of an export. Raises OlxError where there is none that could be read."""
    return _Reader(source).course()


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: set[tuple[str, str]] = set()
        self._blocks = 0
        self._unnamed = 0
        self._policy: dict[str, dict[str, str]] = {}
        self._troubles: list[Trouble] = []
        self._decoded: list[str] = []

    def course(self) -> Course:
        pointer = self._document("course.xml")
        if pointer.tag != "course":
            raise OlxError(f"course.xml holds a <{pointer.tag}>, not a <course>")
        run = pointer.get("url_name") or pointer.get("slug") or "course"
        key = CourseKey(pointer.get("org", ""), pointer.get("course", ""), run)
        if not key.org or not key.course:
            raise OlxError("course.xml does not name its org and its course")
        element = pointer
        if not len(pointer) and f"course/{_path(run)}.xml" in self._source.files:
            element = self._document(f"course/{_path(run)}.xml")
        elif _is_pointer(pointer) or not len(pointer.attrib):
            raise OlxError(f"there is no course/{_path(run)}.xml, to which course.xml points")
        settings = self._policies(run)
        attributes = {**pointer.attrib, **element.attrib, **self._policy.get(f"course/{run}", {})}
        root = Block("course", run, attributes, element)
        self._seen.add(("course", run))
        self._children(root, (), depth=1)
        return Course(
            key=key,
            root=root,
            settings={**element.attrib, **settings},
            assignments=self._grading(run),
            about=self._about(),
            pages=self._pages(settings),
            source=self._source,
            troubles=self._troubles,
            decoded=self._decoded,
        )

    def _children(self, parent: Block, where: tuple[str, ...], *, depth: int) -> None:
        if depth > _MAX_NESTING:
            raise OlxError(f"its elements nest more than {_MAX_NESTING} deep, at {parent.key}")
        if parent.category not in LEVELS and parent.category not in CHOOSERS:
            return
        below = (*where, parent.title or parent.name) if parent.category != "course" else where
        for element in parent.definition:
            if parent.category in CHOOSERS and element.tag == "show":
                # <conditional> names what it shows by locations: …block@NAME or i4x://…/NAME.
                self._shown(parent, element, below, depth)
                continue
            self._child(parent, element, below, depth)

    def _shown(self, parent: Block, show: Element, where: tuple[str, ...], depth: int) -> None:
        for location in show.get("sources", "").replace(";", " ").split():
            category, name = _location(location)
            if category and name:
                self._child(parent, Element(category, {"url_name": name}), where, depth)

    def _child(self, parent: Block, element: Element, where: tuple[str, ...], depth: int) -> None:
        tag = element.tag
        name = element.get("url_name") or element.get("slug") or ""
        if not name:
            self._unnamed += 1
            # Its place is all that tells it from its siblings.
            name = f"{parent.name}_{tag}_{self._unnamed}"
        if (tag, name) in self._seen:
            self._duplicate(element, tag, name, where)
            return
        self._seen.add((tag, name))
        self._blocks += 1
        if self._blocks > _MAX_BLOCKS:
            raise OlxError(f"it has more than {_MAX_BLOCKS} elements")
        definition = element
        if _is_pointer(element):
            found = self._definition(tag, name, where)
            if found is None:
                return
            definition = found
        attributes = {
            **element.attrib,
            **definition.attrib,
            **self._policy.get(f"{tag}/{name}", {}),
        }
        block = Block(tag, name, attributes, definition)
        if tag == "html":
            block.text = self._html(block, where)
            if block.text is None:
                return
        parent.children.append(block)
        self._children(block, where, depth=depth + 1)

    def _duplicate(self, element: Element, tag: str, name: str, where: tuple[str, ...]) -> None:
        """What stands a second time is not read, and neither is what stands inside it."""
        self._trouble(tag, name, where, "duplicate", "it stands a second time in the course")
        if tag in LEVELS or tag in CHOOSERS:
            for inner in element.iter():
                inner_name = inner.get("url_name") or inner.get("slug")
                if inner is not element and inner_name:
                    reason = f"it stands inside {tag}/{name}, which stands a second time"
                    self._trouble(inner.tag, inner_name, where, "duplicate", reason)

    def _definition(self, tag: str, name: str, where: tuple[str, ...]) -> Element | None:
        path = f"{tag}/{_path(name)}.xml"
        if path not in self._source.files:
            legacy = f"{tag}/{_path(name)}.html"
            if tag == "html" and legacy in self._source.files:
                return Element("html", {"filename": name})
            # Some components have nothing to keep in a file: <discussion url_name="…"/>.
            if tag not in (*LEVELS, "html", "problem", "video", "library_content"):
                return Element(tag, {"url_name": name})
            self._trouble(tag, name, where, "missing", f"there is no {path}")
            return None
        try:
            definition = parse_xml(self._source.read(path, limit=MAX_BYTES))
        except (XmlError, ArchiveError) as error:
            self._trouble(tag, name, where, "unreadable", f"{path}: {error}")
            return None
        if definition.tag != tag:
            self._trouble(tag, name, where, "unreadable", f"{path} holds a <{definition.tag}>")
            return None
        filename = definition.get("filename")
        inner = f"{tag}/{_path(filename)}.xml" if filename else ""
        # Of old, a problem's text lay in a file that its definition names.
        if (
            tag == "problem"
            and inner in self._source.files
            and inner != path
            and not len(definition)
        ):
            try:
                return parse_xml(self._source.read(inner, limit=MAX_BYTES))
            except (XmlError, ArchiveError) as error:
                self._trouble(tag, name, where, "unreadable", f"{inner}: {error}")
                return None
        return definition

    def _html(self, block: Block, where: tuple[str, ...]) -> str | None:
        filename = block.definition.get("filename")
        if filename is None:
            return _inner(block.definition)
        path = f"html/{_path(filename)}"
        if not path.endswith((".html", ".xml")):
            path += ".html"
        if path not in self._source.files:
            self._trouble("html", block.name, where, "missing", f"there is no {path}")
            return None
        return self._text(path)

    def _text(self, path: str) -> str:
        content = self._source.read(path, limit=_MAX_TEXT)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            self._decoded.append(path)
            # What HTML takes for text that says nothing of its encoding (WHATWG, 13.2.3.2).
            return content.decode("cp1252", "replace")

    def _policies(self, run: str) -> Mapping[str, object]:
        document: object = {}
        for path in (f"policies/{_path(run)}/policy.json", f"policies/{_path(run)}.json"):
            if path in self._source.files:
                document = self._json(path)
                break
        if not isinstance(document, dict):
            return {}
        for key, settings in document.items():
            if isinstance(settings, dict):
                self._policy[str(key).replace(":", "/")] = {
                    str(name): _as_attribute(value) for name, value in settings.items()
                }
        settings = document.get(f"course/{run}", {})
        return settings if isinstance(settings, dict) else {}

    def _grading(self, run: str) -> tuple[Assignment, ...]:
        for path in (f"policies/{_path(run)}/grading_policy.json", "grading_policy.json"):
            if path in self._source.files:
                document = self._json(path)
                break
        else:
            return ()
        graders = document.get("GRADER") if isinstance(document, dict) else None
        found = []
        for grader in graders if isinstance(graders, list) else ():
            try:
                weight = float(grader["weight"])
                if not 0 <= weight <= 1_000:
                    raise ValueError
                found.append(
                    Assignment(str(grader["type"]), weight, int(grader.get("drop_count") or 0))
                )
            except (TypeError, KeyError, ValueError, OverflowError):
                self._trouble(
                    "grading_policy", "GRADER", (), "unreadable", f"{path}: an entry is not usable"
                )
        return tuple(found)

    def _about(self) -> Mapping[str, str]:
        return {
            path.removeprefix("about/").removesuffix(".html"): self._text(path)
            for path in self._source.files
            if path.startswith("about/") and path.endswith(".html") and path.count("/") == 1
        }

    def _pages(self, settings: Mapping[str, object]) -> list[tuple[str, str, str]]:
        tabs = settings.get("tabs")
        pages = []
        for tab in tabs if isinstance(tabs, list) else ():
            if not isinstance(tab, dict) or tab.get("type") != "static_tab":
                continue
            slug, name = str(tab.get("url_slug", "")), str(tab.get("name", ""))
            path = f"tabs/{_path(slug)}.html"
            if path not in self._source.files:
                self._trouble("static_tab", slug, (), "missing", f"there is no {path}")
            elif _is_true(tab.get("course_staff_only")) or _is_true(tab.get("is_hidden")):
                self._trouble("static_tab", slug, (), "staff_only", "learners do not see it")
            else:
                pages.append((slug, name or slug, self._text(path)))
        return pages

    def _json(self, path: str) -> object:
        try:
            document: object = json.loads(self._source.read(path, limit=_MAX_JSON))
        except (ValueError, RecursionError) as error:
            raise OlxError(f"{path} is not JSON: {error}") from None
        return document

    def _document(self, path: str) -> Element:
        try:
            return parse_xml(self._source.read(path, limit=MAX_BYTES))
        except XmlError as error:
            raise OlxError(f"{path}: {error}") from None

    def _trouble(
        self, category: str, name: str, where: tuple[str, ...], reason: str, detail: str
    ) -> None:
        self._troubles.append(Trouble(category, name, where, reason, detail))


def _is_pointer(element: Element) -> bool:
    return (
        not len(element)
        and not (element.text or "").strip()
        and bool(element.get("url_name") or element.get("slug"))
        and set(element.attrib) <= _POINTER_ATTRIBUTES
    )


def _path(name: str) -> str:
    """Where the element of this url_name is kept: a colon stands for a folder."""
    return name.replace(":", "/")


def _location(text: str) -> tuple[str, str]:
    """Category and url_name of a location, old or new; empty where it is none."""
    if "@" in text:
        category = text.partition("type@")[2].partition("+")[0]
        return category, text.rpartition("block@")[2]
    parts = text.split("/")
    return (parts[-2], parts[-1]) if text.startswith("i4x://") and len(parts) >= 6 else ("", "")


def _inner(element: Element) -> str:
    """What stands between the tags of an element."""
    whole = to_xml(element)
    begin, end = whole.find(">"), whole.rfind("</")
    return whole[begin + 1 : end] if end > begin else ""


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _as_attribute(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def setting_of(value: object) -> object:
    """What a setting holds: JSON in an attribute, the value itself in a policy; None where neither."""
    if not isinstance(value, str):
        return value
    try:
        document: object = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return document
