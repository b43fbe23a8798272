"""Components of OLX whose HTML is not simply there: what of each a learner can read."""

from __future__ import annotations

import html
import re

from deploy.course_import._olx import Block, setting_of
from deploy.course_import._reading import plain_text


def annotated(block: Block) -> str:
    """An annotated text with its annotations as footnotes."""
    notes: list[str] = []
    for annotation in block.definition.iter("annotation"):
        notes.append(
            f"<li><strong>{html.escape(annotation.get('title', ''), quote=False)}</strong> "
            f"{html.escape(annotation.get('body', ''), quote=False)}</li>"
        )
    inner = block.olx()
    begin, end = inner.find(">"), inner.rfind("</")
    numbers = iter(range(1, len(notes) + 1))
    text = re.sub(
        r"<(/?)annotation\b[^>]*>",
        lambda tag: f"<sup>{next(numbers, '')}</sup></mark>" if tag[1] else "<mark>",
        inner[begin + 1 : end],
    )
    return f"{text}<ol>{''.join(notes)}</ol>" if notes else text


def embedded(block: Block) -> str | None:
    """The HTML that some components are nothing but, None for the others."""
    attributes = block.attributes
    if block.category == "pdf" and attributes.get("url"):
        label = html.escape(attributes.get("display_name") or attributes["url"], quote=False)
        return f'<p><a href="{html.escape(attributes["url"])}">{label}</a></p>'
    if block.category == "google-document" and attributes.get("embed_code"):
        return attributes["embed_code"]
    if block.category == "image" and attributes.get("src"):
        return f'<img src="{html.escape(attributes["src"])}" alt="">'
    return None


def task_text(block: Block) -> str:
    """What a component that has no counterpart asks of the learner, where that can be told."""
    data = setting_of(block.attributes.get("data"))
    asked = data.get("questionText") if isinstance(data, dict) else None
    asked = asked or block.attributes.get("question_text") or block.attributes.get("description")
    return one_line(plain_text(str(asked or "")))


def task_html(block: Block) -> str:
    """The task of an assignment: its prompts, and the rubric by which it is graded."""
    parts: list[str] = []
    for prompt in block.definition.iter("prompt"):
        for description in prompt.iter("description"):
            text = description.text or ""
            # The type says whether it is HTML; plain text of old has none.
            is_html = block.attributes.get("prompts_type") == "html"
            parts.append(text if is_html else f"<p>{html.escape(text, quote=False)}</p>")
    if not parts:
        for name in ("instructions", "solution", "title", "description"):
            if block.attributes.get(name):
                parts.append(f"<div>{block.attributes[name]}</div>")
                break
    for criterion in block.definition.iter("criterion"):
        label = criterion.findtext("label") or criterion.findtext("name") or ""
        asked = criterion.findtext("prompt") or ""
        options = "".join(
            f"<li>{_escaped(option.findtext('label') or option.findtext('name'))}"
            f" ({_escaped(option.get('points'))}): {_escaped(option.findtext('explanation'))}</li>"
            for option in criterion.iter("option")
        )
        parts.append(f"<h3>{_escaped(label)}</h3><p>{_escaped(asked)}</p><ul>{options}</ul>")
    return "".join(parts)


def _escaped(text: str | None) -> str:
    return html.escape((text or "").strip(), quote=False)


def one_line(text: str) -> str:
    return " ".join(text.split())
