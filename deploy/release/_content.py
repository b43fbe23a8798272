"""What an image is made of, as parts with a fingerprint each, so that two revisions can be compared.

Not by which files git says were changed: a macro or `pants.toml` changes an image whose files are
as before, and a file of a library changes only the images of those who import it. So it is looked
at after Pants has done its work: the targets that an image is packaged of, with their fields after
macros and defaults and their files' fingerprints; the requirements that its third-party packages
follow from; and what `pants.toml` says that can change a package. Knows no git and runs nothing.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.release._pants import Target
from deploy.release._services import Service

# Sections that say how Pants tests, checks and speaks, never what it packages. A section that is
# not known here counts: better a release too many than one too few.
_SECTIONS_WITHOUT_EFFECT = frozenset({
    "anonymous-telemetry", "coverage-py", "generate-lockfiles", "dockerfile-parser", "mypy", "pytest", "repl", "ruff",
    "run", "stats", "tailor", "test", "update-build-files",
    # What it infers is seen in what is reached.
    "python-infer",
})  # fmt: skip
_KEYS_WITHOUT_EFFECT = {
    "GLOBAL": frozenset({
        # What the macros make is seen in the fields.
        "build_file_prelude_globs", "unmatched_build_file_globs",
        "dynamic_ui", "colors", "level", "pantsd", "pants_ignore", "ignore_warnings",
    }),
    "python": frozenset({
        "resolves_generate_lockfiles", "default_run_goal_use_sandbox", "tailor_ignore_empty_init_files",
        "resolves",  # the locks of the tools are among them; our own is looked at itself
    }),
}  # fmt: skip
_BACKENDS_WITHOUT_EFFECT = re.compile(
    r"\.(lint|typecheck|visibility|debug_goals|tailor)\b|\.visibility$"
)

# Fields of a target that do not reach what is packaged. What a target depends on does, and is
# looked at as what is reached.
_FIELDS_WITHOUT_EFFECT = frozenset({
    "address", "target_type", "dependencies", "dependencies_raw", "description", "tags", "overrides",
    "sources", "sources_raw", "source_raw", "sources_fingerprint", "run_goal_use_sandbox",
    "restartable", "environment", "modules", "type_stub_modules", "ignore_errors", "emit_warnings",
})  # fmt: skip
# What targets are generated from; what is generated is reached itself.
_GENERATORS = frozenset({
    "python_sources", "python_requirements", "resources", "files", "_lockfiles", "_lockfile",
    "_generator_sources_helper",
})  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What one image is made of.

    Args:
        parts: fingerprints by what they are of, such as ``file libs/http/_app.py``.
        files: all files among them.
    """

    version: str
    parts: Mapping[str, str]
    files: frozenset[str]


@dataclass(frozen=True)
class Contents:
    """What the images of one revision are made of.

    Args:
        images: by the service's name.
        locked: the lock's entry of each third-party package, of all services.
    """

    images: Mapping[str, Content]
    locked: Mapping[str, str] = field(repr=False)

    def document(self) -> dict[str, Any]:
        """As JSON; `contents_of` reads it."""
        return {
            "locked": dict(self.locked),
            "images": {
                name: {
                    "version": content.version,
                    "parts": dict(content.parts),
                    "files": sorted(content.files),
                }
                for name, content in self.images.items()
            },
        }


def contents_of(document: Mapping[str, Any]) -> Contents:
    """What `Contents.document` gave. Raises KeyError, TypeError."""
    return Contents(
        images={
            name: Content(image["version"], dict(image["parts"]), frozenset(image["files"]))
            for name, image in document["images"].items()
        },
        locked=dict(document["locked"]),
    )


def roots_of(service: Service, targets: Mapping[str, Target]) -> list[str]:
    """The target of a service's image; before images were, those of its packages."""
    folder = f"services/{service.name}"
    image = f"{folder}:image"
    return [image] if image in targets else [f"{folder}:deps", f"{folder}:srcs"]


def content_of(
    service: Service,
    version: str,
    targets: Mapping[str, Target],
    pants_parts: Mapping[str, str],
) -> Content:
    """What the image of a service is made of.

    Args:
        service: which.
        version: its own, which is no part: it may change without anything else.
        targets: all that is reached from `roots_of`.
        pants_parts: see `pants_parts`.
    """
    parts = dict(pants_parts)
    files: set[str] = set()
    for root in roots_of(service, targets):
        for address in _packaged(root, targets):
            target = targets[address]
            for name, value in _parts(address, target):
                parts[name] = value.replace(version, "{version}")
            if target["target_type"] not in _GENERATORS:
                files.update(target.get("sources") or ())
    return Content(version, parts, frozenset(files))


def _packaged(root: str, targets: Mapping[str, Target]) -> Iterator[str]:
    """The targets that end up in a package: itself, and what is reached and taken in."""
    if root not in targets:
        return
    yield root
    if targets[root]["target_type"] == "pex_binary":
        yield from _in_pex(root, targets)
        return
    # An image takes packages as packages, each with its own rules of what goes in.
    seen = {root}
    waiting = list(targets[root]["dependencies"])
    while waiting:
        address = waiting.pop()
        if address in seen or address not in targets:
            continue
        seen.add(address)
        yield address
        if targets[address]["target_type"] == "pex_binary":
            yield from _in_pex(address, targets)
        else:
            waiting.extend(targets[address]["dependencies"])


def _in_pex(pex: str, targets: Mapping[str, Target]) -> Iterator[str]:
    fields = targets[pex]
    seen = {pex}
    waiting = list(fields["dependencies"])
    excluded: set[str] = set()
    while waiting:
        address = waiting.pop()
        if address in seen or address not in targets:
            continue
        seen.add(address)
        waiting.extend(targets[address]["dependencies"])
    for address in seen:
        raw = targets[address].get("dependencies_raw") or ()
        folder = address.split(":")[0]
        excluded |= {_absolute(entry[2:], folder) for entry in raw if str(entry).startswith("!!")}
    for address in sorted(seen - excluded - {pex}):
        is_requirement = targets[address]["target_type"] == "python_requirement"
        if fields.get("include_requirements" if is_requirement else "include_sources", True):
            yield address


def _absolute(address: str, folder: str) -> str:
    if address.startswith("//"):
        return address[2:]
    return f"{folder}{address}" if address.startswith(":") else address


def _parts(address: str, target: Target) -> Iterator[tuple[str, str]]:
    kind = target["target_type"]
    if kind in _GENERATORS:
        return
    if kind == "python_requirement":
        yield f"requirement {address.rpartition('#')[2]}", _fingerprint(target["requirements"])
        return
    sources = target.get("sources") or ()
    if sources:
        yield f"file {' '.join(sources)}", str(target["sources_fingerprint"])
    for name, value in target.items():
        if value is None or name in _FIELDS_WITHOUT_EFFECT or name.startswith("skip_"):
            continue
        yield f"field {address} {name}", _fingerprint(value)


def pants_parts(pants_toml: str, pants_lock: str) -> dict[str, str]:
    """What of `pants.toml` can change a package, and which pex builds it.

    Raises ValueError where it is no TOML.
    """
    parts = {}
    for section, keys in tomllib.loads(pants_toml).items():
        if section in _SECTIONS_WITHOUT_EFFECT or not isinstance(keys, dict):
            continue
        for key, value in keys.items():
            if key in _KEYS_WITHOUT_EFFECT.get(section, ()):
                continue
            if key == "backend_packages":
                value = sorted(one for one in value if not _BACKENDS_WITHOUT_EFFECT.search(one))
            parts[f"pants.toml [{section}] {key}"] = _fingerprint(value)
    builder = lock_entries(pants_lock).get("pex")
    if builder is not None:
        parts["pants.lock pex"] = builder
    return parts


def lock_path(pants_toml: str) -> str:
    """Where the services' lock is. Raises ValueError."""
    python = tomllib.loads(pants_toml).get("python", {})
    resolve = python.get("default_resolve", "python-default")
    return str(python.get("resolves", {}).get(resolve, ""))


def lock_entries(lock: str) -> dict[str, str]:
    """A lock's entries by their normalised names: version, marker, hashes. Those of a file of
    requirements too."""
    entries: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", lock.replace("\\\n", " ")):
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", entry)
        if name:
            entries[normalised(name[0])] = " ".join(entry.split())
    return entries


def normalised(distribution: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def distributions_in(pex_info: Mapping[str, Any]) -> frozenset[str]:
    """The normalised names of the packages in a PEX, by its PEX-INFO."""
    wheels: Iterable[str] = pex_info["distributions"]
    return frozenset(normalised(wheel.split("-", 1)[0]) for wheel in wheels)


def _fingerprint(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
