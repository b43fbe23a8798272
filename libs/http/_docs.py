"""The contract as a page that a person can read, made from the OpenAPI document alone.

Owns the page. It loads nothing from anywhere, runs no script, and escapes every word of the
document; its policy lets a browser do no more than show it.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
_MAX_DEPTH = 8

_STYLE: Final = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}
th,td{border-bottom:1px solid #8884;padding:.3rem .5rem;text-align:left;vertical-align:top}
section{border-top:2px solid #8888;margin-top:2rem}
.method{text-transform:uppercase;font-weight:700;margin-right:.5rem}
ul.schema{list-style:none;padding-left:1rem;border-left:1px solid #8886}
.type{opacity:.75}
"""

DOCS_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render_docs(openapi: Mapping[str, object]) -> str:
    """A complete HTML page for an OpenAPI 3.0 document."""
    info = _mapping(openapi.get("info"))
    title = _text(info.get("title")) or "API"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        f"<p>Version {_text(info.get('version'))}. "
        'The same as a document for programs: <a href="openapi.json">openapi.json</a>.</p>',
        _paragraphs(info.get("description")),
        "<nav><ul>",
    ]
    operations = list(_operations(openapi))
    for anchor, method, path, operation, _ in operations:
        parts.append(
            f'<li><a href="#{anchor}"><span class="method">{method}</span>'
            f"<code>{escape(path)}</code></a> {_text(operation.get('summary'))}</li>"
        )
    parts.append("</ul></nav>")
    for anchor, method, path, operation, shared in operations:
        parts.append(
            f'<section id="{anchor}"><h2><span class="method">{method}</span>'
            f"<code>{escape(path)}</code></h2>"
        )
        parts.append(_operation(openapi, operation, shared))
        parts.append("</section>")
    parts.append("</body></html>\n")
    return "\n".join(part for part in parts if part)


def _operations(
    openapi: Mapping[str, object],
) -> Iterator[tuple[str, str, str, Mapping[str, object], Sequence[object]]]:
    number = 0
    for path, item in _mapping(openapi.get("paths")).items():
        entries = _mapping(item)
        for method in _METHODS:
            if method in entries:
                number += 1
                yield (
                    f"operation-{number}",
                    method,
                    path,
                    _mapping(entries[method]),
                    _sequence(entries.get("parameters")),
                )


def _operation(
    openapi: Mapping[str, object], operation: Mapping[str, object], shared: Sequence[object]
) -> str:
    parts = []
    if operation.get("summary"):
        parts.append(f"<p><strong>{_text(operation['summary'])}</strong></p>")
    parts.append(_paragraphs(operation.get("description")))
    parameters = [
        _resolved(openapi, entry) for entry in (*shared, *_sequence(operation.get("parameters")))
    ]
    if parameters:
        rows = "".join(
            f"<tr><td><code>{_text(entry.get('name'))}</code></td><td>{_text(entry.get('in'))}"
            f"{', required' if entry.get('required') else ''}</td>"
            f"<td>{_type(openapi, entry.get('schema'))}</td>"
            f"<td>{_text(entry.get('description'))}</td></tr>"
            for entry in parameters
        )
        parts.append(
            "<h3>Parameters</h3><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th>"
            f"</tr>{rows}</table>"
        )
    body = _resolved(openapi, operation.get("requestBody"))
    if body:
        parts.append(f"<h3>Request body</h3>{_paragraphs(body.get('description'))}")
        parts.append(_content(openapi, body))
    responses = _mapping(operation.get("responses"))
    if responses:
        parts.append("<h3>Responses</h3>")
    for status, entry in responses.items():
        response = _resolved(openapi, entry)
        parts.append(
            f"<details><summary><code>{escape(str(status))}</code> "
            f"{_text(response.get('description'))}</summary>"
        )
        headers = _mapping(response.get("headers"))
        if headers:
            items = "".join(
                f"<li><code>{escape(name)}</code> "
                f"{_text(_resolved(openapi, header).get('description'))}</li>"
                for name, header in headers.items()
            )
            parts.append(f"<p>Headers</p><ul>{items}</ul>")
        parts.append(_content(openapi, response))
        parts.append("</details>")
    return "\n".join(part for part in parts if part)


def _content(openapi: Mapping[str, object], holder: Mapping[str, object]) -> str:
    return "".join(
        f"<p><code>{escape(media_type)}</code></p>"
        + _schema(openapi, _mapping(entry).get("schema"), depth=0)
        for media_type, entry in _mapping(holder.get("content")).items()
    )


def _schema(openapi: Mapping[str, object], schema: object, *, depth: int) -> str:
    found = _resolved(openapi, schema)
    if not found or depth > _MAX_DEPTH:
        return ""
    parts: list[str] = []
    required = _sequence(found.get("required"))
    for name, entry in _mapping(found.get("properties")).items():
        meaning = _text(_resolved(openapi, entry).get("description"))
        mark = ", required" if name in required else ""
        parts.append(
            f"<li><code>{escape(name)}</code> "
            f'<span class="type">{_type(openapi, entry)}{mark}</span> {meaning}'
            f"{_schema(openapi, entry, depth=depth + 1)}</li>"
        )
    nested = found.get("items") or found.get("additionalProperties")
    if isinstance(nested, Mapping):
        parts.append(
            f'<li><span class="type">each {_type(openapi, nested)}</span>'
            f"{_schema(openapi, nested, depth=depth + 1)}</li>"
        )
    for word in ("allOf", "oneOf", "anyOf"):
        for entry in _sequence(found.get(word)):
            parts.append(
                f'<li><span class="type">{word} {_type(openapi, entry)}</span>'
                f"{_schema(openapi, entry, depth=depth + 1)}</li>"
            )
    return f'<ul class="schema">{"".join(parts)}</ul>' if parts else ""


def _type(openapi: Mapping[str, object], schema: object) -> str:
    found = _resolved(openapi, schema)
    words = [str(found[key]) for key in ("type", "format") if key in found]
    if "enum" in found:
        words.append("one of " + ", ".join(str(value) for value in _sequence(found["enum"])))
    for key, word in (
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("maxItems", "items at most"),
        ("pattern", "matching"),
        ("default", "default"),
    ):
        if key in found:
            words.append(f"{word} {found[key]}")
    if found.get("nullable"):
        words.append("or null")
    return escape(", ".join(words))


def _resolved(openapi: Mapping[str, object], value: object) -> Mapping[str, object]:
    """Follow local references (`#/components/…`); what leads nowhere or in a circle is empty."""
    found = _mapping(value)
    for _ in range(_MAX_DEPTH):
        reference = found.get("$ref")
        if not isinstance(reference, str):
            return found
        target: object = openapi
        for step in reference.removeprefix("#/").split("/"):
            target = _mapping(target).get(step.replace("~1", "/").replace("~0", "~"))
        found = _mapping(target)
    return {}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _text(value: object) -> str:
    return "" if value is None else escape(str(value))


def _paragraphs(value: object) -> str:
    return "".join(f"<p>{_text(part)}</p>" for part in str(value or "").split("\n\n") if part)
