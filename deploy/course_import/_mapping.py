"""What an OLX course becomes in Lyceum, and what of it does not fit.

Owns the mapping (see README.md for why it is this one): a sequential is a section; a vertical gives at
most one reading of all its text, an item for each video whose file is there, one quiz of all its
problems, an assignment for each task. Every element of the export becomes a `source` of an item or of
a section, or the subject of a finding: nothing is dropped in silence. Knows no API.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from deploy.course_import import _quiz
from deploy.course_import._archive import ArchiveError
from deploy.course_import._captions import MAX_BYTES as MAX_CAPTIONS_BYTES
from deploy.course_import._captions import CaptionsError, Cue, cues_of, to_webvtt
from deploy.course_import._captions import plain_text as spoken_text
from deploy.course_import._components import annotated, embedded, one_line, task_html, task_text
from deploy.course_import._findings import Finding
from deploy.course_import._identifiers import identifier
from deploy.course_import._media import content_type, mp4_duration
from deploy.course_import._olx import CHOOSERS, Block, Course, setting_of
from deploy.course_import._pages import Piece, compose, met
from deploy.course_import._plan import (
    MAX_CAPTION_BYTES,
    MAX_DESCRIPTION,
    MAX_DURATION,
    MAX_INSTRUCTORS,
    MAX_SHORT_DESCRIPTION,
    MAX_TITLE,
    MAX_WEIGHT,
    MIN_WEIGHT,
    Body,
    Captions,
    Choices,
    Item,
    Plan,
    Section,
)
from deploy.course_import._reading import WORDS_PER_MINUTE, Rewriter, page, plain_text, scheme_of
from deploy.course_import._static import StaticFiles
from deploy.course_import._video import (
    addresses,
    attachments,
    is_clip,
    language_tag,
    transcript_files,
)

HTML = "text/html; charset=utf-8"

# What a page or a quiz counts in the progress, whose size is not known before it is made.
_PAGE_BYTES = 64 << 10

_VIDEO_TYPES = ("video/mp4", "video/webm", "video/ogg", "video/quicktime")
_WITH_HEADER = ("video/mp4", "video/quicktime")
_TOOLS = ("lti", "lti_consumer")
_TASKS = ("openassessment", "edx_sga", "staffgradedxblock")
_QUIZZES = ("problem", "poll", "survey")
# Components that show nothing which would be worth a note in the text around them.
_SILENT = {"discussion": "discussion", "wiki": "wiki", "done": "unknown_component"}
_ABOUT_USED = ("overview", "short_description", "title", "effort", "duration", "description")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Settings that are used, have a finding of their own, or mean nothing outside of Open edX.
_SETTINGS_KNOWN = frozenset(
    """display_name language org course url_name slug run tabs xml_attributes course_image
    display_organization display_coursenumber instructor_info start end enrollment_start
    enrollment_end due graceperiod lti_passports self_paced advanced_modules""".split()
)


Advance = Callable[[int], None]


def plan_course(
    course: Course,
    choices: Choices = Choices(),  # noqa: B008 - frozen
    *,
    begin: Callable[[int], Advance] = lambda total: lambda count: None,
) -> Plan:
    """The plan of a course that was read.

    `begin` is told how many bytes are to be looked at, and gives who hears of those that were.
    """
    return _Mapping(course, choices).plan(begin)


@dataclass(frozen=True)
class _Made:
    body: Body
    seconds: int | None = None
    findings: tuple[Finding, ...] = ()


@dataclass
class _Draft:
    """An item that has its place, but neither weight nor body yet: links in it need all places."""

    kind: str  # page, video, quiz, task: what its key is made with
    name: str
    title: str
    type: str
    where: tuple[str, ...]
    sources: tuple[str, ...]
    make: Callable[[], _Made]
    required: bool = True
    points: float = 1.0
    captions: tuple[Captions, ...] = ()
    size: int = _PAGE_BYTES


@dataclass
class _Part:
    """A section on its way."""

    block: Block
    title: str
    where: tuple[str, ...]
    sources: tuple[str, ...]
    above: tuple[str, ...] = ()
    drafts: list[_Draft] = field(default_factory=list)


class _Mapping:
    def __init__(self, course: Course, choices: Choices) -> None:
        self._course = course
        self._choices = choices
        self._statics = StaticFiles(course.source)
        self._findings: list[Finding] = []
        self._levels: list[str] = [course.root.key]
        self._targets: dict[str, str] = {}
        self._rewriter = Rewriter(self._statics, self._targets.get)
        self._language = self._its_language()

    def plan(self, begin: Callable[[int], Advance]) -> Plan:
        for trouble in self._course.troubles:
            subject = f"{trouble.category}/{trouble.name}"
            self._note(trouble.reason, subject, trouble.where, trouble.detail)
        parts = [part for chapter in self._course.root.children for part in self._chapter(chapter)]
        parts += self._own_pages()
        weights = self._weights(parts)
        for part in parts:
            self._can_be_linked(part)
        advance = begin(sum(draft.size for part in parts for draft in part.drafts))
        sections = []
        for part in parts:
            items = tuple(self._item(draft, weights, advance) for draft in part.drafts)
            if not items:
                self._levels += part.sources
                continue
            title = self._title(part.title, part.block.key, part.where)
            sections.append(Section(self._section_id(part), title, items, part.sources))
        self._whole_course()
        return self._document(tuple(sections))

    # Levels

    def _chapter(self, chapter: Block) -> Iterator[_Part]:
        if chapter.category == "wiki":
            self._note("wiki", chapter.key)
            return
        if chapter.category != "chapter":  # it stands where only chapters should
            chapter = _around("chapter", chapter.name, chapter.title, [chapter])
        else:
            self._levels.append(chapter.key)
        if self._is_hidden(chapter, ()):
            return
        self._restricted(chapter, ())
        title = chapter.title or chapter.name
        for block in _grouped(chapter, "sequential", title):
            if self._is_hidden(block, (title,)):
                continue
            own = block.title or block.name
            whole = title if own == title else f"{title}: {own}"
            part = self._sequential(block, whole, (title, own))
            part.above = (chapter.name,)
            yield part

    def _sequential(self, block: Block, title: str, where: tuple[str, ...]) -> _Part:
        self._restricted(block, where)
        part = _Part(block, title, where, _sources(block))
        for unit in _grouped(block, "vertical", where[-1]):
            if not self._is_hidden(unit, where):
                part.sources = (*part.sources, *_sources(unit))
                part.drafts += self._unit(unit, (*where, unit.title or unit.name))
        return part

    def _unit(self, unit: Block, where: tuple[str, ...]) -> list[_Draft]:
        """The items of a vertical: its text first, then what stands in it, in its order."""
        self._restricted(unit, where)
        title = where[-1]
        pieces: list[Piece] = []
        problems: list[Block] = []
        drafts: list[_Draft] = []
        for block in self._components(unit, where):
            if block.category in _QUIZZES:
                if not problems:
                    pieces.append(Piece(unit, is_mark=True))
                    drafts.append(_Draft("quiz", unit.name, title, "quiz", where, (), _not_made))
                problems.append(block)
            elif block.category in _TASKS:
                pieces.append(Piece(block, is_mark=True))
                drafts.append(self._task(block, block.title or title, where))
            elif block.category == "video":
                video = self._video(block, block.title or title, where)
                if video is None:
                    pieces.append(Piece(block, self._link_to(block, title), is_source=False))
                else:
                    pieces.append(Piece(block, is_mark=True))
                    drafts.append(video)
                pieces += _saved_beside(block)
            else:
                pieces += self._text(block, where)
        drafts = [
            self._quiz(draft, problems) if draft.kind == "quiz" else draft for draft in drafts
        ]
        if any(not piece.is_mark for piece in pieces):
            drafts.insert(0, self._reading("page", unit.name, title, pieces, where))
        return drafts

    def _components(self, parent: Block, where: tuple[str, ...]) -> Iterator[Block]:
        """What learners meet in a unit, in order; what only holds other components is gone through."""
        for child in parent.children:
            if self._is_hidden(child, where):
                continue
            self._restricted(child, where)
            if child.category not in (*CHOOSERS, "chapter", "sequential", "vertical"):
                yield child
                continue
            self._levels.append(child.key)
            if child.category in CHOOSERS and child.category != "wrapper":
                self._note("chosen_for_each", child.key, where, _choice(child))
            yield from self._components(child, where)

    def _own_pages(self) -> Iterator[_Part]:
        """The course's own pages, as a last section that nobody has to read."""
        root = _around("sequential", "~pages", "Pages", [])
        part = _Part(root, "Pages", (), ())
        for slug, name, text in self._course.pages:
            if any(draft.name == slug for draft in part.drafts):
                self._note("duplicate", f"static_tab/{slug}")
                continue
            pieces = [Piece(_around("static_tab", slug, name, []), text)]
            draft = self._reading("tab", slug, name, pieces, (name,))
            draft.required = False
            part.drafts.append(draft)
        if part.drafts:
            yield part

    # Components

    def _text(self, block: Block, where: tuple[str, ...]) -> list[Piece]:
        """What a component leaves in the page of its unit."""
        if block.category == "html":
            return [Piece(block, block.text or "")]
        if block.category == "annotatable":
            self._note("annotations", block.key, where)
            return [Piece(block, annotated(block))]
        inside = embedded(block)
        if inside is not None:
            return [Piece(block, inside)]
        if block.category in _SILENT:
            self._note(_SILENT[block.category], block.key, where, block.title)
            return []
        reason = "unknown_component"
        if block.category in _TOOLS:
            reason = "external_tool"
        elif block.category.startswith("drag-and-drop"):
            reason = "drag_and_drop"
        self._note(reason, block.key, where, block.title)
        return [Piece(block, note=task_text(block), is_source=False)]

    def _reading(
        self, kind: str, name: str, title: str, pieces: Sequence[Piece], where: tuple[str, ...]
    ) -> _Draft:
        def make() -> _Made:
            made = compose(title, self._language, pieces, where, self._rewriter)
            body = Body.made(
                HTML,
                made.content,
                lambda: compose(title, self._language, pieces, where, self._rewriter).content,
            )
            seconds = max(60, round(made.words / WORDS_PER_MINUTE) * 60)
            return _Made(body, min(seconds, MAX_DURATION), made.findings)

        sources = tuple(
            piece.block.key for piece in pieces if piece.is_source and not piece.is_mark
        )
        return _Draft(kind, name, title, "reading", where, sources, make)

    def _video(self, block: Block, title: str, where: tuple[str, ...]) -> _Draft | None:
        file = self._video_file(block, where)
        tracks = list(self._transcripts(block, where))
        if file is None:
            return None
        if is_clip(block):
            self._note("clip", block.key, where)
        path = self._statics.path(file)

        def make() -> _Made:
            digest = hashlib.sha256()
            size = 0
            seconds: float | None = None
            with self._course.source.open(path) as content:
                while chunk := content.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
                if content_type(file) in _WITH_HEADER:
                    seconds = mp4_duration(content, size)
            body = Body(
                content_type(file), size, digest.hexdigest(), lambda: self._course.source.open(path)
            )
            return _Made(body, None if seconds is None else min(round(seconds), MAX_DURATION))

        captions = tuple(Captions(language, to_webvtt(cues)) for language, cues in tracks)
        sources = (block.key,)
        return _Draft("video", block.name, title, "video", where, sources, make, captions=captions)

    def _video_file(self, block: Block, where: tuple[str, ...]) -> str | None:
        found = addresses(block)
        for address in found:
            name = self._statics.name_of(address)
            file = self._statics.find(name) if name else None
            if file is not None and not self._statics.files[file]:
                file = None  # an empty file is none
            if name and file is None:
                self._note("missing_file", block.key, where, name)
            if name is None and scheme_of(address) in ("http", "https"):
                # The export may hold the file, and yet name the server that it came from.
                file = self._statics.find(address.partition("?")[0].rpartition("/")[2])
                if file is not None:
                    self._note("from_static", block.key, where, address)
            if file is not None and content_type(file) in _VIDEO_TYPES:
                return file
        reason = "external_video" if found else "no_video"
        self._note(reason, block.key, where, found[0] if found else block.title)
        return None

    def _link_to(self, block: Block, title: str) -> str:
        """A video that lies elsewhere: where, and what is said in it."""
        outside = [
            address for address in addresses(block) if scheme_of(address) in ("http", "https")
        ]
        name = html.escape(block.title or title, quote=False)
        link = f'<a href="{html.escape(outside[0])}">{name}</a>' if outside else name
        said = "".join(
            f"<details><summary>{language}</summary>"
            f"<p>{html.escape(spoken_text(cues), quote=False)}</p></details>"
            for language, cues in self._transcripts(block, None)
        )
        return f"<aside><p><strong>{link}</strong></p>{said}</aside>"

    def _transcripts(
        self, block: Block, where: tuple[str, ...] | None
    ) -> Iterator[tuple[str, tuple[Cue, ...]]]:
        """Languages and cues; troubles are noted unless `where` is None."""

        def note(reason: str, detail: str) -> None:
            if where is not None:
                self._note(reason, block.key, where, detail)

        taken: set[str] = set()
        for language, names in transcript_files(block, self._language):
            tag = language_tag(language)
            if tag is None:
                note("captions", f"{language!r} is not a language")
                continue
            if tag.lower() in taken:
                continue
            taken.add(tag.lower())
            file = next((found for name in names if (found := self._statics.find(name))), None)
            if file is None:
                note("missing_file", names[0])
                continue
            try:
                cues = cues_of(self._statics.read(file, limit=MAX_CAPTIONS_BYTES), file)
            except (CaptionsError, ArchiveError) as error:
                note("captions", str(error))
                continue
            size = len(to_webvtt(cues))
            if size > MAX_CAPTION_BYTES:
                note("captions", f"{file}: {size} bytes of captions, above {MAX_CAPTION_BYTES}")
                continue
            yield tag, cues

    def _quiz(self, draft: _Draft, blocks: list[Block]) -> _Draft:
        problems = [_quiz.read_problem(block) for block in blocks]
        for problem in problems:
            if problem.block.category != "problem":
                self._note("no_results", problem.block.key, draft.where)
            for reason in problem.unsupported:
                self._note("ungraded_kinds", problem.block.key, draft.where, reason)

        def make() -> _Made:
            quiz = _quiz.quiz_document(problems, self._statics)
            findings = tuple(
                Finding(reason, subject, draft.where, file)
                for reason, files in (("missing_file", quiz.missing), ("too_large", quiz.too_large))
                for subject, file in files
            )
            body = Body.made(
                _quiz.CONTENT_TYPE,
                quiz.body,
                lambda: _quiz.quiz_document(problems, self._statics).body,
            )
            return _Made(body, findings=findings)

        graded = [problem for problem in problems if problem.block.category == "problem"]
        draft.title = (len(blocks) == 1 and blocks[0].title) or draft.title
        draft.sources = tuple(block.key for block in blocks)
        draft.make = make
        # What no app can ask must not stand between a learner and a complete course.
        draft.required = any(problem.questions for problem in graded)
        draft.points = sum(problem.points for problem in graded)
        return draft

    def _task(self, block: Block, title: str, where: tuple[str, ...]) -> _Draft:
        self._note("no_grading", block.key, where)
        text = task_html(block)

        def content() -> bytes:
            return page(title, self._language, self._rewriter.rewrite(text).html)

        def make() -> _Made:
            findings = met(self._rewriter.rewrite(text), block.key, where)
            return _Made(Body.made(HTML, content(), content), findings=tuple(findings))

        return _Draft("task", block.key, title, "assignment", where, (block.key,), make)

    # Items

    def _item(self, draft: _Draft, weights: dict[int, float], advance: Advance) -> Item:
        made = draft.make()
        advance(draft.size)
        self._findings += made.findings
        return Item(
            key=f"{draft.kind}/{draft.name}",
            title=self._title(draft.title, f"{draft.kind}/{draft.name}", draft.where),
            type=draft.type,
            body=made.body,
            sources=draft.sources,
            duration_seconds=made.seconds,
            required=draft.required,
            weight=weights.get(id(draft), 1),
            captions=draft.captions,
        )

    def _weights(self, parts: list[_Part]) -> dict[int, float]:
        """The weight of each graded quiz and assignment; all else weighs 1.

        As Open edX grades: a kind of assignment has its share of the grade, its sequentials have equal
        shares of that, what is in them shares by points. The shares are scaled so that a graded item
        weighs 1 on the average, which leaves the items that are only read or watched their part.
        """
        kinds = {entry.name: entry for entry in self._course.assignments}
        graded: dict[str, list[list[_Draft]]] = {}
        for part in parts:
            kind = part.block.attributes.get("format", "")
            drafts = [draft for draft in part.drafts if draft.type in ("quiz", "assignment")]
            drafts = [draft for draft in drafts if draft.required]
            if drafts and kind in kinds and part.block.attributes.get("graded") == "true":
                graded.setdefault(kind, []).append(drafts)
        count = sum(len(drafts) for groups in graded.values() for drafts in groups)
        shares = sum(kinds[kind].weight for kind in graded)
        weights: dict[int, float] = {}
        for kind, groups in graded.items():
            share = count * kinds[kind].weight / shares / len(groups) if shares else 1.0
            for drafts in groups:
                points = sum(draft.points for draft in drafts)
                for draft in drafts:
                    own = draft.points / points if points else 1 / len(drafts)
                    weights[id(draft)] = min(max(round(share * own, 3), MIN_WEIGHT), MAX_WEIGHT)
        return weights

    # The course itself

    def _document(self, sections: tuple[Section, ...]) -> Plan:
        course, about = self._course, self._course.about
        subject = course.root.key
        title = course.root.title or plain_text(about.get("title", "")) or course.key.course
        short = one_line(plain_text(about.get("short_description", "")))
        description = plain_text(about.get("overview", ""))
        description = description or plain_text(about.get("description", ""))
        if not short:
            short = one_line(description.partition("\n")[0]) or title
            self._note("assumed", subject, (), "short description: the beginning of the long one")
        if not description:
            description = short
            self._note("assumed", subject, (), "description: the short one")
        if self._choices.level is None:
            self._note("assumed", subject, (), "level: beginner (--level says another)")
        return Plan(
            key=course.key,
            slug=course.key.slug,
            title=self._title(title, subject, ()),
            short_description=self._cut(short, MAX_SHORT_DESCRIPTION, subject),
            description=self._cut(description, MAX_DESCRIPTION, subject),
            language=self._language,
            level=self._choices.level or "beginner",
            tags=self._choices.tags,
            instructors=self._instructors(),
            sections=sections,
            findings=tuple(self._findings),
            sources=tuple(self._levels),
        )

    def _instructors(self) -> tuple[str, ...]:
        information = setting_of(self._course.settings.get("instructor_info"))
        listed = information.get("instructors") if isinstance(information, dict) else None
        names = [
            one_line(str(one.get("name", "")))[:MAX_TITLE]
            for one in (listed if isinstance(listed, list) else ())
            if isinstance(one, dict)
        ]
        found = [name for name in dict.fromkeys(names) if name][:MAX_INSTRUCTORS]
        organisation = self._course.settings.get("display_organization") or self._course.key.org
        return tuple(found) or (one_line(str(organisation))[:MAX_TITLE],)

    def _its_language(self) -> str:
        said = self._choices.language or str(self._course.settings.get("language") or "")
        tag = language_tag(said)
        if tag is None:
            why = f" ({said!r} is not a language)" if said else ""
            self._note("assumed", self._course.root.key, (), f"language: en{why}")
        return tag or "en"

    def _whole_course(self) -> None:
        """What belongs to the course as a whole and does not come along."""
        course, files = self._course, self._course.source.files
        subject = course.root.key
        dated = [
            block.key
            for block in course.root.walk()
            if block.category != "course"
            and any(block.attributes.get(name) for name in ("due", "start"))
        ]
        if dated:
            self._note("dates", subject, (), f"{len(dated)} elements, the first is {dated[0]}")
        if course.assignments:
            dropped = sum(entry.drop_count for entry in course.assignments)
            self._note(
                "grading", subject, (), f"cut-offs; {dropped} lowest scores that do not count"
            )
        if setting_of(course.settings.get("lti_passports")):
            self._note("credentials", "lti_passports")
        unknown = sorted(
            name
            for name, value in course.settings.items()
            if name not in _SETTINGS_KNOWN and value not in ("", None, [], {}, "[]", "{}", "null")
        )
        if unknown:
            self._note("setting", subject, (), ", ".join(unknown))
        for name, text in sorted(course.about.items()):
            if name not in _ABOUT_USED and plain_text(text):
                self._note("course_page", f"about/{name}.html")
        for path in sorted(files):
            if path.startswith("info/") and path.endswith(".html") and files[path]:
                self._note("course_page", path)
        drafts = [path for path in files if path.startswith("drafts/")]
        if drafts:
            self._note("draft", "drafts/", (), f"{len(drafts)} files")
        for path in course.decoded:
            self._note("encoding", path)
        for name in self._statics.unused():
            self._note("unused_file", self._statics.path(name))

    # Rules that hold everywhere

    def _section_id(self, part: _Part) -> str:
        return identifier(self._course.key, "section", part.block.name)

    def _can_be_linked(self, part: _Part) -> None:
        """Makes the section what a link to anything in it leads to."""
        if part.drafts:
            for name in (*part.above, *(block.name for block in part.block.walk())):
                self._targets.setdefault(name, self._section_id(part))

    def _is_hidden(self, block: Block, where: tuple[str, ...]) -> bool:
        if not block.staff_only:
            return False
        for one in block.walk():
            self._note("staff_only", one.key, where)
        return True

    def _restricted(self, block: Block, where: tuple[str, ...]) -> None:
        groups = setting_of(block.attributes.get("group_access"))
        if isinstance(groups, dict) and any(groups.values()):
            self._note("group_only", block.key, where)

    def _title(self, text: str, subject: str, where: tuple[str, ...]) -> str:
        line = one_line(_CONTROL.sub(" ", text)) or subject
        return self._cut(line, MAX_TITLE, subject, where)

    def _cut(self, text: str, length: int, subject: str, where: tuple[str, ...] = ()) -> str:
        if len(text) <= length:
            return text
        self._note("shortened", subject, where, f"{len(text)} characters, above {length}")
        return text[: length - 1].rstrip() + "…"

    def _note(
        self, reason: str, subject: str, where: tuple[str, ...] = (), detail: str = ""
    ) -> None:
        self._findings.append(Finding(reason, subject, where, detail))


def _not_made() -> _Made:
    raise AssertionError("it stands for a quiz whose problems are yet to be collected")


def _around(category: str, name: str, title: str, children: list[Block]) -> Block:
    """A level that the export does not have; a `~` stands in no url_name of Studio's."""
    return Block(category, name, {"display_name": title}, None, children)


def _sources(block: Block) -> tuple[str, ...]:
    """What a level of the export is the source of; a level that was put around has none."""
    return (block.key,) if block.element is not None else ()


def _grouped(parent: Block, category: str, title: str) -> Iterator[Block]:
    """The children, each run of those that are of another category inside one of this."""
    loose: list[Block] = []
    for child in parent.children:
        if child.category != category:
            loose.append(child)
            continue
        if loose:
            yield _around(category, f"{parent.name}~{loose[0].name}", title, loose)
            loose = []
        yield child
    if loose:
        yield _around(category, f"{parent.name}~{loose[0].name}", title, loose)


def _choice(block: Block) -> str:
    count = block.attributes.get("max_count", "")
    return f"{count if count.isdecimal() else '?'} of {len(block.children)}"


def _saved_beside(block: Block) -> list[Piece]:
    """Links to what learners may save beside a video."""
    links = "".join(
        f'<p><a href="{html.escape(address)}">'
        f"{html.escape(re.split(r'[/@]', address)[-1], quote=False)}</a></p>"
        for address in attachments(block)
    )
    return [Piece(block, links, is_source=False)] if links else []
