"""What of a course did not arrive as it was: each with its place, its reason and a detail.

Owns the reasons and their words. A finding is either `adapted` (it arrives, but something of it does
not) or `left_out` (the learner does not get it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

ADAPTED, LEFT_OUT = "adapted", "left_out"

REASONS: dict[str, tuple[str, str]] = {
    # reason: (outcome, what it means)
    "external_video": (LEFT_OUT, "the video is not in the export; its page links to it"),
    "no_video": (LEFT_OUT, "the video names no file and no address"),
    "external_tool": (LEFT_OUT, "an external tool (LTI) needs Open edX in between"),
    "discussion": (LEFT_OUT, "discussions are not part of this platform"),
    "drag_and_drop": (LEFT_OUT, "drag-and-drop exercises have no counterpart; the task is kept as text"),
    "wiki": (LEFT_OUT, "wikis are not part of this platform"),
    "unknown_component": (LEFT_OUT, "a component of a kind that is not known here"),
    "staff_only": (LEFT_OUT, "learners do not see it in Open edX either"),
    "draft": (LEFT_OUT, "drafts that were never published"),
    "missing": (LEFT_OUT, "the export refers to it but does not hold it"),
    "unreadable": (LEFT_OUT, "it can not be read"),
    "duplicate": (LEFT_OUT, "it stands in the course already; content has one place"),
    "empty": (LEFT_OUT, "nothing to read is left of it"),
    "course_page": (LEFT_OUT, "a page about the course that has no place here"),
    "setting": (LEFT_OUT, "a setting that has no place here"),
    "credentials": (LEFT_OUT, "credentials of external tools; they are never read or sent"),
    "unused_file": (LEFT_OUT, "a static file that nothing in the course refers to"),
    "chosen_for_each": (ADAPTED, "Open edX chooses among its children for each learner; all of them are here"),
    "group_only": (ADAPTED, "shown to one group of learners in Open edX; here to all"),
    "ungraded_kinds": (ADAPTED, "kept as OLX; an app that does not know OLX has no question for it"),
    "no_grading": (ADAPTED, "learners read the task; submission and grading are not carried over"),
    "no_results": (ADAPTED, "learners see the question; answers are not counted together"),
    "scripts": (ADAPTED, "scripts, forms and style sheets are left out, their words are kept"),
    "embedded_page": (ADAPTED, "a page inside the page has become a link or a file"),
    "dead_link": (ADAPTED, "a link into Open edX leads nowhere here; its words are kept"),
    "missing_file": (ADAPTED, "it refers to a file that the export does not hold"),
    "too_large": (ADAPTED, "a file is too large to be put into a page"),
    "outside": (ADAPTED, "it shows something from another site, which may go away"),
    "from_static": (ADAPTED, "its address lies outside; the file of that name in the export is taken"),
    "captions": (ADAPTED, "a transcript could not be turned into captions"),
    "clip": (ADAPTED, "Open edX plays a part of the video; here all of it plays"),
    "shortened": (ADAPTED, "a text is longer than it may be here and was cut"),
    "assumed": (ADAPTED, "the export does not say it; a default was taken"),
    "encoding": (ADAPTED, "the file is not UTF-8; it was read as Windows-1252"),
    "annotations": (ADAPTED, "annotations have become footnotes"),
    "dates": (ADAPTED, "dates of release and deadlines are not carried over"),
    "grading": (ADAPTED, "weights of the grading policy are carried over, the rest of it is not"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that did not arrive as it was.

    `subject` is `category/url_name` for an element, a file's name or a setting's otherwise; `where`
    the titles of what it stands in.
    """

    reason: str
    subject: str
    where: tuple[str, ...] = ()
    detail: str = ""

    @property
    def outcome(self) -> str:
        """`adapted` or `left_out`."""
        return REASONS[self.reason][0]

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return REASONS[self.reason][1]

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "subject": self.subject,
            "where": list(self.where),
            "detail": self.detail,
        }


def counted(findings: Iterable[Finding]) -> list[tuple[str, int]]:
    """How often each reason occurs; what was left out first, the most frequent first."""
    counts = Counter(finding.reason for finding in findings)
    return sorted(
        counts.items(), key=lambda entry: (REASONS[entry[0]][0] != LEFT_OUT, -entry[1], entry[0])
    )
