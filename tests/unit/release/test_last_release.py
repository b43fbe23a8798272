"""What the last release of a service is, and what can not be told: by the history of a scratch clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.release._changes import last_release
from deploy.release._content import Content
from deploy.release._errors import ReleaseError
from deploy.release._git import Git
from deploy.release._revision import revision_of
from deploy.release._services import SERVICES

CATALOG = SERVICES["course_catalog"]


class History:
    """A repository that grows commit by commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run("init", "--quiet", "--initial-branch=main")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def commit(self, **files: str | None) -> str:
        """A commit of these files; `__` in a name is a `/`, None removes."""
        for name, text in files.items():
            path = self.root / PATHS[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")
        self.run("add", "--all")
        self.run("commit", "--quiet", "--allow-empty", "--message", "a commit")
        return self.run("rev-parse", "HEAD")

    def version(self, version: str, heading: str | None) -> str:
        """A commit of a version and its heading in the changelog."""
        text = "# Changelog\n" if heading is None else f"# Changelog\n\n## {version} {heading}\n"
        return self.commit(build=f'service(version="{version}")\n', changelog=text)

    @property
    def git(self) -> Git:
        return Git(self.root)


PATHS = {
    "build": CATALOG.build,
    "changelog": CATALOG.changelog,
    "source": "services/course_catalog/app.py",
    "library": "libs/http/_app.py",
    "gone": "libs/http/_gone.py",
    "library_build": "libs/http/BUILD",
    "readme": "libs/http/README.md",
    "toml": "pants.toml",
    "lock": "3rdparty/python/example.lock",
    "requirements": "3rdparty/python/example.in",
    "macro": "deploy/pants/service.prelude",
}


@pytest.fixture()
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_a_version_is_released_by_the_commit_that_says_so(history: History) -> None:
    history.version("0.1.0", "(2026-01-01)")
    released = history.version("0.2.0", "(2026-02-01)")
    history.commit(source="more = 1\n")
    assert last_release(history.git, CATALOG) == released


def test_not_by_the_commit_that_begins_it(history: History) -> None:
    history.version("0.2.0", "(unreleased)")
    history.commit(source="more = 1\n")
    released = history.version("0.2.0", "(2026-02-01)")
    assert last_release(history.git, CATALOG) == released


@pytest.mark.parametrize("heading", ["(unreleased)", None])
def test_a_version_in_the_making_is_compared_with_the_one_before(
    history: History, heading: str | None
) -> None:
    released = history.version("0.1.0", "(2026-01-01)")
    history.version("0.2.0", heading)
    assert last_release(history.git, CATALOG) == released


def test_a_later_correction_of_the_changelog_is_no_release(history: History) -> None:
    released = history.version("0.1.0", "(2026-01-01)")
    history.commit(changelog="# Changelog\n\n## 0.1.0 (2026-01-01)\n\n- What was forgotten.\n")
    assert last_release(history.git, CATALOG) == released


def test_what_was_never_released(history: History) -> None:
    history.version("0.1.0", "(unreleased)")
    assert last_release(history.git, CATALOG) is None


def test_a_branch_counts_when_it_is_merged(history: History) -> None:
    history.version("0.1.0", "(2026-01-01)")
    history.run("checkout", "--quiet", "-b", "branch")
    history.version("0.2.0", "(2026-02-01)")
    history.run("checkout", "--quiet", "main")
    history.commit(source="more = 1\n")
    history.run("merge", "--quiet", "--no-ff", "branch", "--message", "merged")
    assert last_release(history.git, CATALOG) == history.run("rev-parse", "HEAD")


def test_a_shallow_clone_that_ends_too_early_says_so(history: History, tmp_path: Path) -> None:
    history.version("0.1.0", "(2026-01-01)")
    history.commit(source="more = 1\n")
    shallow = tmp_path / "shallow"
    history.run("clone", "--quiet", "--depth=1", f"file://{history.root}", str(shallow))
    with pytest.raises(ReleaseError, match="this clone is shallow") as found:
        last_release(Git(shallow), CATALOG)
    assert len(found.value.problems) == 1
    with pytest.raises(ReleaseError, match="shallow"):
        Git(shallow).resolve("HEAD~1")


def test_an_unknown_revision_is_one_line(history: History) -> None:
    history.commit(source="more = 1\n")
    for revision in ("nowhere", "--output=/tmp/x", "HEAD~7"):
        with pytest.raises(ReleaseError, match="there is no revision"):
            history.git.resolve(revision)


def test_a_folder_without_history_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="is not in a git repository"):
        Git(tmp_path).resolve("HEAD")


# The revision of an image.

CONTENT = Content("0.1.0", {}, frozenset({"services/course_catalog/app.py", "libs/http/_app.py"}))
TOML = '[python]\ndefault_resolve = "default"\n[python.resolves]\ndefault = "3rdparty/python/example.lock"\n'
LOCK = "aiohttp==3.14.5 \\\n    --hash=sha256:{}\nmoto==5.2.5 \\\n    --hash=sha256:{}\n"


@pytest.fixture()
def made(history: History) -> History:
    history.commit(
        build='service(version="0.1.0")\n',
        changelog="## 0.1.0\n",
        source="one = 1\n",
        library="one = 1\n",
        gone="one = 1\n",
        library_build="python_sources()\n",
        toml=TOML,
        lock=LOCK.format("aa", "bb"),
        requirements="# all\naiohttp>=3.14\nmoto>=5\n",
        macro="def service(version):\n    pass\n",
    )
    return history


def test_an_image_is_of_the_commit_that_made_it(made: History) -> None:
    first = made.run("rev-parse", "HEAD")
    made.commit(readme="nothing of it\n")
    assert str(revision_of(made.git, CONTENT, {"aiohttp"})) == first


@pytest.mark.parametrize(
    "files",
    [
        {"source": "two = 2\n"},
        {"library": "two = 2\n"},
        {"gone": None},
        {"build": 'service(version="0.1.1")\n'},
        {"library_build": "python_sources(skip_mypy=True)\n"},
        {"macro": "def service(version):\n    resources()\n"},
        {"lock": LOCK.format("cc", "bb")},
        {"requirements": "# all\naiohttp>=3.15\nmoto>=5\n"},
        {"toml": TOML + "[docker]\nbuild_args = []\n"},
    ],
    ids=lambda files: next(iter(files)),
)
def test_what_changes_it_is_its_revision(made: History, files: dict[str, str | None]) -> None:
    changing = made.commit(**files)
    made.commit(readme="nothing of it\n")
    assert str(revision_of(made.git, CONTENT, {"aiohttp"})) == changing


@pytest.mark.parametrize(
    "files",
    [
        {"build": '# a comment\nservice(version="0.1.0")\n'},
        {"library_build": "# a comment\npython_sources()\n"},
        {"macro": "# a comment\ndef service(version):\n    pass\n"},
        {"lock": LOCK.format("aa", "cc")},
        {"requirements": "# every\naiohttp>=3.14\nmoto>=5,<6\n"},
        {"toml": TOML + "[test]\ntimeout_default = 60\n"},
        {"changelog": "## 0.1.0\n\n- More words.\n"},
    ],
    ids=lambda files: next(iter(files)),
)
def test_what_does_not_change_it_is_not(made: History, files: dict[str, str]) -> None:
    first = made.run("rev-parse", "HEAD")
    made.commit(**files)
    assert str(revision_of(made.git, CONTENT, {"aiohttp"})) == first


def test_what_no_commit_has_is_said_in_the_revision(made: History) -> None:
    first = made.run("rev-parse", "HEAD")
    (made.root / PATHS["readme"]).write_text("nothing of it\n", encoding="utf-8")
    assert str(revision_of(made.git, CONTENT, {"aiohttp"})) == first
    (made.root / PATHS["library"]).write_text("three = 3\n", encoding="utf-8")
    found = revision_of(made.git, CONTENT, {"aiohttp"})
    assert found.uncommitted == ("libs/http/_app.py",)
    assert str(found) == f"{first}-dirty"


def test_a_revision_is_written_out_as_it_was(
    made: History, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = made.run("rev-parse", "HEAD")
    made.commit(source="two = 2\n")
    (made.root / PATHS["source"]).write_text("three = 3\n", encoding="utf-8")
    copy = tmp_path_factory.mktemp("copy")
    made.git.export(first, copy)
    assert (copy / PATHS["source"]).read_text(encoding="utf-8") == "one = 1\n"
    # And the repository itself, its index too, is as it was.
    assert made.git.dirty() == [PATHS["source"]]
