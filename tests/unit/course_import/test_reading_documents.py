"""An author's HTML becomes a document that needs nothing and does nothing."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._reading import Fragment, Rewriter, page, plain_text
from deploy.course_import._static import StaticFiles
from tests.unit.course_import.exports import Files

FILES = Files(
    {
        "static/a b.png": b"PNG",
        "static/doc.pdf": b"PDF",
        "static/app.html": b"<script>1</script>",
        "static/large.png": b"x" * (11 << 20),
    }
)
PNG = "data:image/png;base64," + base64.b64encode(b"PNG").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"PDF").decode()


def rewrite(text: str, **settings: int) -> Fragment:
    """A fragment, with one element that can be linked to."""
    sections = {"there": "sec-1"}
    return Rewriter(StaticFiles(FILES), sections.get).rewrite(text, **settings)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<p>a <b>b</b> <em>c</em></p>", "<p>a <b>b</b> <em>c</em></p>"),
        ("<p>a<p>b", "<p>a<p>b</p></p>"),
        ("<ul><li>a<li>b</ul>c", "<ul><li>a<li>b</li></li></ul>c"),
        ("a<br>b<br/>c<hr>", "a<br>b<br>c<hr>"),
        ("&lt;b&gt; &amp; &eacute; &#x41;", "&lt;b&gt; &amp; é A"),
        ("</p>stray", "stray"),
        ('<p id="x" class="c" lang="de">a</p>', '<p id="x" class="c" lang="de">a</p>'),
        ("<p title='\"&<'>a</p>", '<p title="&quot;&amp;&lt;">a</p>'),
        ("<div/>in", "<div>in</div>"),
        ("\\(x < y\\)", "\\(x &lt; y\\)"),
        ("<details><summary>s</summary>t</details>", "<details><summary>s</summary>t</details>"),
    ],
)
def test_what_is_for_reading_stays(text: str, kept: str) -> None:
    assert rewrite(text).html == kept


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<SCRIPT src=//x.example></SCRIPT >",
        "<scr<script>ipt>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="  java\nscript:alert(1)">x</a>',
        '<a href="\x01javascript:alert(1)">x</a>',
        '<a href="data:text/html,<script>1</script>">x</a>',
        '<a href="vbscript:x">x</a>',
        '<img src="data:text/html,x">',
        "<svg><script>1</script></svg>",
        "<svg/onload=alert(1)>",
        "<math><mtext><script>1</script></mtext></math>",
        '<form action="https://x.example"><input name=a><button formaction=x>b</button></form>',
        '<base href="https://x.example/">',
        '<meta http-equiv="refresh" content="0;url=https://x.example">',
        '<link rel="stylesheet" href="https://x.example/x.css">',
        "<style>@import 'https://x.example'</style>",
        '<p style="background:url(https://x.example)">a</p>',
        '<p style="width:expression(alert(1))">a</p>',
        '<p style="display:none;position:fixed">a</p>',
        '<iframe srcdoc="<script>1</script>"></iframe>',
        '<object data="https://x.example/x.swf"></object>',
        '<embed src="https://x.example/x.swf">',
        '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
        "<textarea><img src=x onerror=alert(1)></textarea>",
        "<!--><img src=x onerror=alert(1)>-->",
        "<![CDATA[<img src=x onerror=alert(1)>]]>",
        "<p title=\"x' onclick='alert(1)\">a</p>",
        '<a href="https://ok.example" target="_blank" onclick="x()">a</a>',
        '<video src="https://v.example/v.mp4" poster="https://x.example/p.png" autoplay></video>',
    ],
)
def test_nothing_that_runs_asks_or_hides_is_left(text: str) -> None:
    check_harmless(rewrite(text).html)


class _Audit(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_harmless(text: str) -> None:
    """Parses what was written as a browser would, and looks at every tag and attribute."""
    audit = _Audit()
    audit.feed(text)
    audit.close()
    forbidden = {"script", "style", "iframe", "object", "embed", "form", "input", "button", "svg",
                 "math", "base", "meta", "link", "noscript", "textarea", "template"}  # fmt: skip
    for tag, attributes in audit.found:
        assert tag not in forbidden
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in (
                "srcdoc",
                "srcset",
                "action",
                "formaction",
                "poster",
                "target",
                "ping",
            )
            if name == "href":
                assert re.match(r"(https?:|mailto:|tel:|#|data:[a-z/+.-]+;base64,)", value or "")
            if name == "src":
                assert re.match(
                    r"(https?://|data:(image|audio|video|application|text)/)", value or ""
                )
            if name == "style":
                assert not re.search(r"url|expression|position|display|@|\\", value or "")


@given(
    text=st.lists(
        st.sampled_from(
            ["<", ">", "</", "/>", "<script>", "</script>", "<style>", "<img src=x ", "onerror=a ", "'",
             '"', "=", " ", "<!--", "-->", "<svg>", "<p ", "style=", "url(", "href=", "javascript:", "&lt;",
             "<![CDATA[", "]]>", "<a ", "x", "\x00", "<iframe src=", "<noscript>", "<title>"]
        )
        | st.text(max_size=3),
        max_size=25,
    ).map("".join)
)  # fmt: skip
def test_whatever_is_written_the_document_is_harmless(text: str) -> None:
    fragment = rewrite(text)
    check_harmless(fragment.html)
    # Written once, it stays as it is.
    assert rewrite(fragment.html).html == fragment.html or "data:" in fragment.html


@pytest.mark.parametrize(
    "address",
    [
        "/static/a b.png",
        "/static/a%20b.png",
        "/static/a_b.png",
        "static/a_b.png",
        "/asset-v1:Org+C1+run+type@asset+block@a_b.png",
        "/assets/courseware/v1/0123/asset-v1:Org+C1+run+type@asset+block/a_b.png",
        "https://studio.example/asset-v1:Org+C1+run+type@asset+block@a_b.png",
        "/c4x/Org/C1/asset/a_b.png",
        "https://old.example/files/a_b.png?x=1",
    ],
)
def test_a_static_file_is_found_by_every_form_of_its_address(address: str) -> None:
    assert rewrite(f'<img alt="A" src="{address}">').html == f'<img alt="A" src="{PNG}">'


def test_files_are_put_in_and_can_be_saved() -> None:
    fragment = rewrite('<a href="/static/doc.pdf">D</a>')
    assert fragment.html == f'<a href="{PDF}" download="doc.pdf">D</a>'


def test_pages_in_the_page_become_links_and_files() -> None:
    fragment = rewrite(
        '<iframe src="/static/app.html" title="App"></iframe><iframe src="//x.example/y"></iframe>'
    )
    assert 'download="app.html">App</a>' in fragment.html
    assert '<a href="https://x.example/y" rel="noopener noreferrer">' in fragment.html
    assert fragment.embedded == ["/static/app.html", "//x.example/y"]


def test_what_is_not_there_too_large_or_elsewhere_is_told() -> None:
    fragment = rewrite(
        '<img src="/static/no.png" alt="no"><img src="/static/large.png"><img src="https://x.example/p">'
    )
    assert fragment.html == '[no]<img src="https://x.example/p">'
    assert fragment.missing == ["no.png"]
    assert fragment.too_large == ["large.png"]
    assert fragment.outside == ["https://x.example/p"]


def test_a_document_holds_so_much_of_files() -> None:
    fragment = rewrite('<img src="/static/a_b.png"><img src="/static/a_b.png">', room=len(PNG) + 2)
    assert fragment.html.count("<img") == 1
    assert fragment.too_large == ["a b.png"]


@pytest.mark.parametrize(
    "address",
    ["/jump_to_id/there", "/courses/course-v1:Org+C1+run/jump_to_id/there/",
     "/courses/x/jump_to/block-v1:Org+C1+run+type@vertical+block@there"],
)  # fmt: skip
def test_a_link_into_the_course_leads_to_its_section(address: str) -> None:
    fragment = rewrite(f'<a href="{address}">x</a>')
    assert fragment.html == '<a data-section-id="sec-1">x</a>'
    assert fragment.dead_links == []


def test_a_link_that_leads_nowhere_keeps_its_words() -> None:
    fragment = rewrite('<a href="/jump_to_id/gone">x</a> <a href="/courses/y/progress">z</a>')
    assert fragment.html == "<a>x</a> <a>z</a>"
    assert fragment.dead_links == ["/jump_to_id/gone", "/courses/y/progress"]


def test_what_is_left_out_is_counted() -> None:
    fragment = rewrite("<script>1</script><script>2</script><button>b</button><p onclick=x>p</p>")
    assert fragment.html == "b<p>p</p>"
    assert fragment.left_out == {"script": 3, "button": 1}
    assert not fragment.is_empty
    assert rewrite("<script>1</script> <div><span> </span></div>").is_empty
    assert not rewrite('<img src="/static/a_b.png">').is_empty


def test_a_page_is_a_document_with_a_policy() -> None:
    text = page('A "title" <b>', "pt-BR", "<p>x</p>").decode()
    assert text.startswith('<!doctype html>\n<html lang="pt-BR">')
    assert "<title>A &quot;title&quot; &lt;b&gt;</title>" in text
    assert "default-src 'none'" in text
    assert "script-src" not in text


def test_plain_text_is_a_paragraph_a_line() -> None:
    text = "<h2>About</h2><p>One\ntwo&nbsp;<b>three</b>.</p><script>x</script><ul><li>a<li>b</ul>"
    assert plain_text(text) == "About\n\nOne two three.\n\na\n\nb"
