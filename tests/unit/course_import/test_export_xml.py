"""XML from strangers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._xml import MAX_BYTES, MAX_DEPTH, XmlError, parse_xml, to_xml

LAUGHS = b"""<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"""
FILE = b"""<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>"""
OUTSIDE = b"""<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>"""
PARAMETER = b"""<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/p">%p;]><x/>"""


@pytest.mark.parametrize("document", [LAUGHS, FILE, OUTSIDE, PARAMETER, b"<!DOCTYPE x><x/>"])
def test_document_types_and_all_that_hangs_on_them_are_refused(document: bytes) -> None:
    with pytest.raises(XmlError, match="document type"):
        parse_xml(document)


def test_the_five_entities_of_xml_itself_are_text() -> None:
    assert parse_xml(b"<x>&lt;&amp;&gt;&quot;&apos;&#x41;</x>").text == "<&>\"'A"


def test_an_undeclared_entity_is_not_well_formed() -> None:
    with pytest.raises(XmlError, match="undefined entity"):
        parse_xml(b"<x>&nbsp;</x>")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<x>é</x>".encode(), "é"),
        (b"\xef\xbb\xbf" + "<x>é</x>".encode(), "é"),
        ('<?xml version="1.0" encoding="UTF-16"?><x>é</x>'.encode("utf-16"), "é"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><x>é</x>'.encode("latin-1"), "é"),
        ('<?xml version="1.0" encoding="windows-1252"?><x>“é”</x>'.encode("cp1252"), "“é”"),
    ],
)
def test_encodings(document: bytes, text: str) -> None:
    assert parse_xml(document).text == text


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not well-formed"),
        (b"<x>", "not well-formed"),
        (b"<x/><y/>", "not well-formed"),
        (b"<x>\xff</x>", "not well-formed"),
        (b'<?xml version="1.0" encoding="no-such-thing"?><x/>', "encoding"),
        (b"<x>" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} deep"),
        (b"<x>" + b"<y/>" * 100_001 + b"</x>", "more than 100000 elements"),
        (b"<x " + b" ".join(b'a%d=""' % n for n in range(501)) + b"/>", "more than 500 attributes"),
        (b"<x/>" + b" " * MAX_BYTES, "above"),
    ],
)
def test_what_is_not_well_formed_or_too_much_is_refused_in_a_line(
    document: bytes, why: str
) -> None:
    with pytest.raises(XmlError, match=why) as caught:
        parse_xml(document)
    assert "\n" not in str(caught.value)


def test_comments_and_instructions_are_left_out() -> None:
    root = parse_xml(b"<x>a<!-- secret -->b<?php echo 1 ?>c</x>")
    assert to_xml(root) == "<x>abc</x>"


def test_an_element_is_written_without_what_follows_it() -> None:
    root = parse_xml(b"<x><y>1</y> tail</x>")
    assert to_xml(root[0]) == "<y>1</y>"
    assert root[0].tail == " tail"


@given(noise=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_element_or_an_error(noise: bytes) -> None:
    with contextlib.suppress(XmlError):
        parse_xml(noise)
