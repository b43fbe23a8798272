"""The sample format: what is read, and that everything wrong is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local._samples import SampleError, read_samples

COURSE = """
id: crs-tides
slug: reading-the-tides
title: Reading the tides
shortDescription: Why the sea rises.
description: Text.
language: en
level: beginner
tags: [ocean]
instructors: [Coastal Observatory]
createdAt: 2026-01-05T09:00:00Z
publishedAt: 2026-01-12T09:00:00Z
outline:
  - id: s1
    title: One
    items:
      - {contentId: tides-1, title: Moon, type: video, durationSeconds: 62}
      - {contentId: tides-2, title: Neap, type: reading, required: false, weight: 2}
"""
CONTENT = """
courseId: crs-tides
items:
  - id: tides-2
    contentType: text/markdown; charset=utf-8
    text: "# Neap"
  - id: tides-1
    contentType: video/mp4
    file: media/moon.mp4
    captions: [{language: en, kind: captions, file: media/moon.en.vtt}]
"""


@pytest.fixture()
def samples(tmp_path: Path) -> Path:
    for folder in ("courses", "content", "media"):
        (tmp_path / folder).mkdir()
    (tmp_path / "courses/reading-the-tides.yaml").write_text(COURSE)
    (tmp_path / "content/reading-the-tides.yaml").write_text(CONTENT)
    (tmp_path / "media/moon.mp4").write_bytes(b"\x00moon")
    (tmp_path / "media/moon.en.vtt").write_text("WEBVTT\n")
    return tmp_path


def test_a_course_is_read_with_its_content_in_the_order_of_the_outline(samples: Path) -> None:
    (sample,) = read_samples(samples)
    assert sample.course.slug == "reading-the-tides"
    assert [entry.id for entry in sample.content] == ["tides-1", "tides-2"]
    assert sample.body(sample.content[0]) == b"\x00moon"
    assert sample.body(sample.content[1]) == b"# Neap"
    assert sample.caption_body(sample.content[0].captions[0]) == b"WEBVTT\n"


def test_everything_wrong_is_said_at_once(samples: Path) -> None:
    course = COURSE.replace("level: beginner", "level: easy").replace("title: Reading", "titel: R")
    (samples / "courses/reading-the-tides.yaml").write_text(course)
    with pytest.raises(SampleError) as caught:
        read_samples(samples)
    said = str(caught.value)
    assert "courses/reading-the-tides.yaml: level" in said
    assert "courses/reading-the-tides.yaml: titel" in said
    assert "content/reading-the-tides.yaml: there is no courses/reading-the-tides.yaml" in said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("id: tides-2", "id: tides-9", "no entry for outline item tides-2"),
        ("id: tides-2", "id: tides-9", "tides-9 is in no outline"),
        ("courseId: crs-tides", "courseId: other", "courseId is not that of"),
        ("file: media/moon.mp4", "file: media/sun.mp4", "there is no file media/sun.mp4"),
        ("file: media/moon.mp4", "file: media/../../x", "items.1.file"),
        ('text: "# Neap"', 'text: "# Neap"\n    file: media/moon.mp4', "exactly one of file"),
        ("courseId", "{", "not YAML"),
    ],
)
def test_what_does_not_fit_is_refused(samples: Path, before: str, after: str, said: str) -> None:
    (samples / "content/reading-the-tides.yaml").write_text(CONTENT.replace(before, after))
    with pytest.raises(SampleError, match=said.replace(".", r"\.")):
        read_samples(samples)


def test_a_draft_has_no_publication_date(samples: Path) -> None:
    draft = COURSE + "status: draft\n"
    (samples / "courses/reading-the-tides.yaml").write_text(draft)
    with pytest.raises(SampleError, match="publishedAt belongs to published courses"):
        read_samples(samples)
