"""The page of the contract: readable, closed to the outside, and safe whatever the document says."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from libs.http._docs import DOCS_POLICY, render_docs
from tests.unit.http.sample_app import Client

NASTY = "</style><script>alert('x')</script>&\"'"
DOCUMENT: dict[str, object] = {
    "openapi": "3.0.3",
    "info": {"title": NASTY, "version": NASTY, "description": f"First.\n\n{NASTY}"},
    "paths": {
        "/things/{thingId}": {
            "parameters": [{"$ref": "#/components/parameters/thingId"}],
            "get": {
                "summary": "Read a thing",
                "description": NASTY,
                "responses": {
                    "200": {
                        "description": "The thing",
                        "headers": {"ETag": {"description": "Its version", "schema": {}}},
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                        },
                    },
                    "404": {"$ref": "#/components/responses/NotFound"},
                },
            },
            "put": {
                "requestBody": {
                    "description": "The new thing",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                    },
                },
                "responses": {},
            },
        },
        f"/{NASTY}": {"get": {"summary": NASTY, "responses": {}}},
    },
    "components": {
        "parameters": {
            "thingId": {
                "name": "thingId",
                "in": "path",
                "required": True,
                "description": "Which thing",
                "schema": {"type": "string", "pattern": "^[a-z]{1,64}$"},
            }
        },
        "responses": {"NotFound": {"description": "No such thing"}},
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string", "description": NASTY},
                    "size": {"type": "integer", "minimum": 0, "nullable": True},
                    "kind": {"enum": ["big", NASTY]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "one": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                    "lost": {"$ref": "#/components/schemas/Nowhere"},
                    "circle": {"$ref": "#/components/schemas/Circle"},
                },
            },
            "Circle": {"$ref": "#/components/schemas/Circle"},
        },
    },
}


class Page(HTMLParser):
    """Collects tags, attributes and text, and fails on tags that do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_says_what_the_contract_says() -> None:
    text = " ".join(Page(render_docs(DOCUMENT)).text)
    for word in (
        "Read a thing",
        "thingId",
        "path, required",
        "Which thing",
        "matching ^[a-z]{1,64}$",
        "Its version",
        "No such thing",
        "The new thing",
        "integer, at least 0, or null",
        "one of big",
    ):
        assert word in text


def test_no_word_of_the_document_is_markup() -> None:
    page = Page(render_docs(DOCUMENT))
    assert "script" not in page.tags
    assert page.tags.count("style") == 1
    assert NASTY in "".join(page.text)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]


def test_the_page_refers_to_nothing_outside() -> None:
    page = Page(render_docs(DOCUMENT))
    links = [value for name, value in page.attributes if name == "href"]
    assert all(link == "openapi.json" or str(link).startswith("#operation-") for link in links)
    assert "url(" not in render_docs({})
    assert not re.search(r"https?://", render_docs({}))


def test_the_policy_allows_exactly_the_pages_own_style() -> None:
    style = re.search(r"<style>(.*?)</style>", render_docs(DOCUMENT), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in DOCS_POLICY
    assert DOCS_POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in DOCS_POLICY


async def test_the_page_is_served_with_its_policy(client: Client) -> None:
    answer = await client.call("GET", "/docs", token=None)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == DOCS_POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"List &lt;things&gt;" in answer.body
