"""Pages that are kept: of one state of the directory only, and no more than there is room for."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.course_catalog.api.pages import RenderedPage, RenderedPages


def page(text: str, *, link: str | None = None) -> RenderedPage:
    return RenderedPage(text.encode(), f'"{text}"', link, for_writers=False)


def test_a_page_goes_with_the_state_that_it_shows() -> None:
    revision = 1
    pages = RenderedPages(revision=lambda: revision, max_bytes=1_000)
    pages.keep("limit=2", page("old"))
    assert pages.get("limit=2") == page("old")
    revision = 2
    assert pages.get("limit=2") is None
    assert pages.statistics().bytes == 0


def test_what_was_not_asked_for_longest_goes_first() -> None:
    pages = RenderedPages(revision=lambda: 1, max_bytes=2 * len("a" + "12345"))
    pages.keep("a", page("12345"))
    pages.keep("b", page("12345"))
    assert pages.get("a") is not None
    pages.keep("c", page("12345"))
    assert [name for name in "abc" if pages.get(name)] == ["a", "c"]


def test_without_room_nothing_is_kept() -> None:
    pages = RenderedPages(revision=lambda: 1, max_bytes=0)
    pages.keep("a", page("12345"))
    assert pages.get("a") is None
    assert pages.statistics().entries == 0


def test_a_query_that_is_longer_than_any_client_asks_is_not_kept() -> None:
    pages = RenderedPages(revision=lambda: 1, max_bytes=1_000_000)
    pages.keep("q=" + "a" * 1_100, page("1"))
    assert pages.statistics().entries == 0


class Keeping(RuleBasedStateMachine):
    """Whatever is asked, kept and changed in whatever order: nothing of another state is given, and
    the bound holds."""

    ROOM = 40
    queries = st.sampled_from(["", "limit=1", "limit=2", "q=sea"])

    def __init__(self) -> None:
        super().__init__()
        self.revision = 0
        self.pages = RenderedPages(revision=lambda: self.revision, max_bytes=self.ROOM)
        self.model: dict[str, RenderedPage] = {}

    @rule()
    def the_directory_changes(self) -> None:
        self.revision += 1
        self.model = {}

    @rule(query=queries, length=st.integers(0, 50), linked=st.booleans())
    def a_page_is_kept(self, query: str, length: int, linked: bool) -> None:
        kept = page(f"{self.revision} ".ljust(length, "x"), link="<next>" if linked else None)
        self.pages.keep(query, kept)
        self.model[query] = kept

    @rule(query=queries)
    def a_page_is_asked_for(self, query: str) -> None:
        found = self.pages.get(query)
        assert found is None or found == self.model[query]

    @invariant()
    def the_bound_holds(self) -> None:
        statistics = self.pages.statistics()
        assert 0 <= statistics.bytes <= self.ROOM
        assert (statistics.bytes == 0) >= (statistics.entries == 0)


TestKeeping = Keeping.TestCase
