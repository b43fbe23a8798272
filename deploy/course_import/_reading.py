"""An author's HTML as a document that needs nothing else: the rules of what stays in it.

Owns what of HTML is carried over. Everything is parsed and written anew, from lists of what is known
to be harmless: a learner's app may show the document beside its own session, and an export comes from
strangers. Scripts, forms, frames and style sheets stay behind, their words do not. Static files are
put into the document itself, because addresses of content expire.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

from deploy.course_import._static import StaticFiles

MAX_INLINED_BYTES = 10 << 20
MAX_DOCUMENT_BYTES = 60 << 20
WORDS_PER_MINUTE = 200

_TAGS = frozenset(
    """a abbr address article aside audio b bdi bdo blockquote br caption cite code col colgroup
    dd del details dfn div dl dt em figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i img ins
    kbd li main mark nav ol p picture pre q rp rt ruby s samp section small source span strong sub
    summary sup table tbody td tfoot th thead time tr track tt u ul var video wbr""".split()
)
_VOID = frozenset("br col hr img source track wbr".split())
# Their words are not for reading.
_UNREAD = frozenset(
    "script style noscript template head title iframe object embed svg math canvas".split()
)
_ATTRIBUTES = frozenset(
    """abbr alt cite colspan controls datetime dir height id kind label lang open reversed
    rowspan scope span srclang start title type value width class role""".split()
)
_STYLES = re.compile(
    r"(color|background-color|text-align|text-decoration|text-indent|font(-(size|style|weight|family))?"
    r"|line-height|(max-|min-)?width|border(-(top|right|bottom|left|radius|collapse|color|style|width))?"
    r"|(margin|padding)(-(top|right|bottom|left))?|float|clear|vertical-align|list-style(-type)?)"
)
_SCHEMES = frozenset(("http", "https", "mailto", "tel"))
_JUMP = re.compile(r"(?:.*/)?jump_to(?:_id)?/(?:[^/#?]*@)?([^/#?@]+)/?(?:[#?].*)?")

_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{max-width:45rem;margin:0 auto;padding:1rem;font:1rem/1.5 system-ui,sans-serif}}
img,video,audio{{max-width:100%;height:auto}}
aside{{border-left:.25rem solid;padding-left:1rem;margin:1rem 0}}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
# A second line behind the lists above: even what they let by runs nothing and asks nobody.
_POLICY = (
    "default-src 'none'; img-src data: https: http:; media-src data: https: http:;"
    " style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
)


@dataclass
class Fragment:
    """A piece of an author's HTML, rewritten, and what was met in it."""

    html: str = ""
    words: int = 0
    media: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    too_large: list[str] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)
    dead_links: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it to read, see or hear."""
        return not self.words and not self.media


class Rewriter:
    """Rewrites fragments.

    Args:
        statics: the files that are put in.
        section_id: the id of the section in which an element of this url_name stands, if any.
    """

    def __init__(self, statics: StaticFiles, section_id: Callable[[str], str | None]) -> None:
        self._statics = statics
        self._section_id = section_id

    def rewrite(self, text: str, *, room: int = MAX_DOCUMENT_BYTES) -> Fragment:
        """The fragment that `text` is; at most `room` bytes of files are put into it."""
        parser = _Parser(self._statics, self._section_id, room)
        parser.feed(text)
        parser.close()
        return parser.finish()


def page(title: str, language: str, body: str) -> bytes:
    """A whole document around rewritten fragments."""
    return _PAGE.format(
        title=html.escape(title), language=html.escape(language), policy=_POLICY, body=body
    ).encode()


def plain_text(text: str) -> str:
    """The words of HTML, a paragraph a line."""
    parser = _Words()
    parser.feed(text)
    parser.close()
    lines = ("".join(parser.parts)).split("\n")
    return "\n\n".join(line for line in (" ".join(line.split()) for line in lines) if line)


class _Parser(HTMLParser):
    def __init__(
        self, statics: StaticFiles, section_id: Callable[[str], str | None], room: int
    ) -> None:
        super().__init__(convert_charrefs=True)
        self._room = room
        self._statics = statics
        self._section_id = section_id
        self._out: list[str] = []
        self._open: list[str] = []
        self._unread: list[str] = []
        self._inlined = 0
        self._fragment = Fragment()

    def finish(self) -> Fragment:
        while self._open:
            self._out.append(f"</{self._open.pop()}>")
        self._fragment.html = "".join(self._out).strip()
        return self._fragment

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes: dict[str, str] = {}
        for name, value in attrs:
            attributes.setdefault(name, value or "")  # the first one counts (WHATWG, 13.2.5.33)
        if tag in ("iframe", "object", "embed"):
            self._frame(tag, attributes)
        if tag in _UNREAD:
            # <embed> has no end, and neither has what says so itself.
            if tag != "embed":
                self._unread.append(tag)
            self._fragment.left_out[tag] += 1
            return
        if self._unread:
            return
        if tag not in _TAGS:
            self._fragment.left_out[tag] += 1
            return
        kept = self._attributes(tag, attributes)
        if tag in ("img", "source", "track") and "src" not in dict(kept):
            if tag == "img" and attributes.get("alt"):
                self._text(f"[{attributes['alt']}]")
            return
        if tag in ("img", "audio", "video"):
            self._fragment.media += 1
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in kept)
        self._out.append(f"<{tag}{written}>")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # `<div/>` opens a div in HTML; only in SVG and MathML does the slash mean something.
        self.handle_starttag(tag, attrs)
        if tag in _UNREAD and self._unread and self._unread[-1] == tag:
            self._unread.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unread:
            while self._unread.pop() != tag:
                pass
            return
        if self._unread or tag not in self._open:
            return
        while True:
            last = self._open.pop()
            self._out.append(f"</{last}>")
            if last == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self._text(data)

    def _text(self, data: str) -> None:
        self._fragment.words += len(data.split())
        self._out.append(html.escape(data, quote=False))

    def _attributes(self, tag: str, attributes: dict[str, str]) -> list[tuple[str, str]]:
        kept = [
            (name, value)
            for name, value in attributes.items()
            if name in _ATTRIBUTES or name.startswith("aria-")
        ]
        style = _style(attributes.get("style", ""))
        if style:
            kept.append(("style", style))
        if any(name.startswith("on") for name in attributes):
            self._fragment.left_out["script"] += 1
        if "src" in attributes:
            address = self._media(attributes["src"])
            if address:
                kept.append(("src", address))
        if tag == "a" and "href" in attributes:
            kept += self._link(attributes["href"].strip())
        return kept

    def _media(self, address: str) -> str | None:
        """What stands as `src` of a picture, a sound or a film."""
        name = self._statics.name_of(address)
        if name is not None:
            return self._inline(name)
        if scheme_of(address) in ("http", "https"):
            # Of an old address of the same course, the file may be here.
            found = self._statics.find(address.partition("?")[0].rpartition("/")[2])
            if found is not None:
                return self._inline(found)
            self._fragment.outside.append(address)
            return address
        if re.match(r"data:(image|audio|video)/[a-z0-9.+-]+[;,]", address, re.IGNORECASE):
            return address
        self._fragment.missing.append(address)
        return None

    def _inline(self, name: str) -> str | None:
        found = self._statics.find(name)
        if found is None:
            self._fragment.missing.append(name)
            return None
        room = min(MAX_INLINED_BYTES, self._room - self._inlined)
        url = self._statics.data_url(found, limit=max(room, 0))
        if url is None:
            self._fragment.too_large.append(found)
            return None
        self._inlined += len(url)
        return url

    def _link(self, address: str) -> list[tuple[str, str]]:
        name = self._statics.name_of(address)
        if name is not None:
            url = self._inline(name)
            # A browser opens no data: address, but saves one.
            return [("href", url), ("download", name.rpartition("/")[2])] if url else []
        jump = _JUMP.fullmatch(address)
        if jump is not None:
            target = self._section_id(jump[1])
            if target is not None:
                return [("data-section-id", target)]
            self._fragment.dead_links.append(address)
            return []
        if address.startswith("#"):
            return [("href", address)]
        if scheme_of(address) in _SCHEMES:
            return [("href", address), ("rel", "noopener noreferrer")]
        if address:
            self._fragment.dead_links.append(address)
        return []

    def _frame(self, tag: str, attributes: dict[str, str]) -> None:
        """A page inside the page becomes a link to it, or the file to open."""
        if self._unread:
            return
        address = attributes.get("data" if tag == "object" else "src", "").strip()
        if not address:
            return
        self._fragment.embedded.append(address)
        link = self._link(f"https:{address}" if address.startswith("//") else address)
        label = attributes.get("title") or (self._statics.name_of(address) or address)
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in link)
        self._out.append(f"<p><a{written}>")
        self._text(label[:200])
        self._out.append("</a></p>")


class _Words(HTMLParser):
    _BLOCKS = frozenset(
        """address article aside blockquote br dd div dl dt figure footer h1 h2 h3 h4 h5 h6 header hr
        li main ol p pre section table tr ul""".split()
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._unread += 1
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style") and self._unread:
            self._unread -= 1
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(" ".join(data.split("\n")) if data.strip() else " ")


def scheme_of(address: str) -> str:
    """The scheme of an address as a browser takes it, empty where there is none."""
    # Browsers leave out tabs and line ends anywhere, and blanks before it (WHATWG URL, 4.4).
    cleaned = re.sub(r"[\t\r\n]", "", address).strip("".join(map(chr, range(33))))
    try:
        return urlsplit(cleaned).scheme.lower()
    except ValueError:
        return "invalid"


def _style(text: str) -> str:
    """The declarations that change how text looks, and can neither hide it nor fetch anything."""
    kept = []
    for declaration in text.split(";"):
        name, colon, value = declaration.partition(":")
        if (
            colon
            and _STYLES.fullmatch(name.strip().lower())
            and re.fullmatch(r"[\w\s#%.,!'\"+-]*(rgba?\([\d\s.,%]*\))?[\w\s#%.,!'\"+-]*", value)
        ):
            kept.append(f"{name.strip().lower()}:{value.strip()}")
    return ";".join(kept)
