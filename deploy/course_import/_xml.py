"""XML from strangers: parsed into elements, or refused with one line.

defusedxml refuses what XML can be made to do to its reader (document types, and so entities and
anything fetched); the bounds on size, depth and count are ours. Knows no OLX.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, TreeBuilder, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MAX_BYTES = 10 << 20
MAX_DEPTH = 100
MAX_ELEMENTS = 100_000
MAX_ATTRIBUTES = 500


class XmlError(Exception):
    """A document that is not well-formed, or is refused; one line says why, without the name."""


def parse_xml(document: bytes) -> Element:
    """The root element. Comments and processing instructions are left out.

    Takes every encoding that a document may declare and expat knows: UTF-8, UTF-16 and the
    single-byte ones. Raises XmlError.
    """
    if len(document) > MAX_BYTES:
        raise XmlError(f"it has {len(document)} bytes, above {MAX_BYTES}")
    builder = _Bounded()
    parser = DefusedXMLParser(
        target=builder, forbid_dtd=True, forbid_entities=True, forbid_external=True
    )
    try:
        parser.feed(document)
        root = parser.close()
    except DefusedXmlException as refused:
        raise XmlError(f"it has a {_WHAT.get(type(refused).__name__, 'forbidden part')}") from None
    except ParseError as error:
        raise XmlError(f"it is not well-formed XML: {error}") from None
    except (LookupError, ValueError, UnicodeError) as error:  # an encoding that nobody knows
        raise XmlError(f"it can not be decoded: {error}") from None
    if not isinstance(root, Element):
        raise XmlError("it is empty")
    return root


def to_xml(element: Element) -> str:
    """The element as a document of its own."""
    tail, element.tail = element.tail, None
    try:
        return tostring(element, encoding="unicode")
    finally:
        element.tail = tail


_WHAT = {
    "DTDForbidden": "document type, which OLX has no use for",
    "EntitiesForbidden": "declaration of an entity",
    "ExternalReferenceForbidden": "reference to something outside",
}


class _Bounded:
    """A target of the parser that counts while it builds."""

    def __init__(self) -> None:
        self._builder = TreeBuilder()
        self._depth = 0
        self._elements = 0

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise XmlError(f"its elements nest more than {MAX_DEPTH} deep")
        if self._elements > MAX_ELEMENTS:
            raise XmlError(f"it has more than {MAX_ELEMENTS} elements")
        if len(attributes) > MAX_ATTRIBUTES:
            raise XmlError(f"an element has more than {MAX_ATTRIBUTES} attributes")
        return self._builder.start(tag, attributes)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return self._builder.end(tag)

    def data(self, text: str) -> None:
        self._builder.data(text)

    def close(self) -> Element:
        return self._builder.close()
