"""The static files of a course: found by whatever an author's text calls them.

Open edX replaces what is unusual in a file's name by `_` in the addresses it gives out, but keeps the
name itself in the export; and there are four forms of address. Knows which files were asked for, so
that the report can name those that nothing uses.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

from deploy.course_import._archive import ArchiveError, Source
from deploy.course_import._media import content_type

FOLDER = "static/"

_ASSET = re.compile(
    r"""(?:https?://[^/"'<>\s]+)?
        (?: /?static/
          | /?asset-v1:[^"'<>\s@]+@asset\+block@
          | /?(?:assets/courseware/[^"'<>\s]*?/)?asset-v1:[^"'<>\s@]+\+type@asset\+block/
          | /?c4x/[^/"'<>\s]+/[^/"'<>\s]+/asset/
        )(?P<name>[^"'<>?\#]+)(?:[?\#].*)?""",
    re.VERBOSE,
)
_UNUSUAL = re.compile(r"[^\w.%-]", re.ASCII)


class StaticFiles:
    """The files below `static/`; `used` are those that something referred to."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.files = {
            path.removeprefix(FOLDER): size
            for path, size in source.files.items()
            if path.startswith(FOLDER)
        }
        self._cleaned: dict[str, str] = {}
        for name in sorted(self.files):
            self._cleaned.setdefault(_cleaned(name), name)
        self.used: set[str] = set()

    def name_of(self, address: str) -> str | None:
        """The file of the course that `address` says it means, whether or not it is there."""
        match = _ASSET.fullmatch(address.strip())
        return unquote(match["name"]).strip() if match else None

    def find(self, name: str) -> str | None:
        """The static file called `name`, None where there is none; counts as used."""
        for candidate in (name, name.replace("@", "/")):
            if candidate in self.files:
                self.used.add(candidate)
                return candidate
        found = self._cleaned.get(_cleaned(name))
        if found is not None:
            self.used.add(found)
        return found

    def path(self, name: str) -> str:
        """The name in the export of a file that `find` gave."""
        return FOLDER + name

    def read(self, name: str, *, limit: int) -> bytes:
        """A file that `find` gave. Raises ArchiveError above `limit` bytes."""
        return self._source.read(self.path(name), limit=limit)

    def data_url(self, name: str, *, limit: int) -> str | None:
        """A file that `find` gave as a data: URL (RFC 2397), None above `limit` bytes."""
        try:
            content = self.read(name, limit=limit)
        except ArchiveError:
            return None
        return f"data:{content_type(name)};base64,{base64.b64encode(content).decode()}"

    def unused(self) -> list[str]:
        """The files that nothing referred to."""
        return sorted(set(self.files) - self.used)


def _cleaned(name: str) -> str:
    return _UNUSUAL.sub("_", name).lower()
