"""Somebody who has a keyboard and nothing else: what is pressed, and that the focus is always seen."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

# What has the focus is no page as a whole; what can be worked with is marked, and nothing lies over it.
_FOCUS = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return "nothing";
  if (element.tabIndex < 0) return "a place";
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  if (outlineStyle === "none" || !parseFloat(outlineWidth)) return `unmarked ${element.outerHTML.slice(0, 200)}`;
  const box = element.getBoundingClientRect();
  const middle = (low, high, most) => (Math.max(low, 0) + Math.min(high, most)) / 2;
  const at = document.elementFromPoint(middle(box.left, box.right, innerWidth), middle(box.top, box.bottom, innerHeight));
  return element.contains(at) || at?.contains(element) ? "marked" : `hidden ${element.outerHTML.slice(0, 200)}`;
}"""
_MOST_STEPS = 80


class Keyboard:
    """The keyboard of a page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, *keys: str) -> None:
        """Presses one after the other; the focus is somewhere after each."""
        for key in keys:
            self._page.keyboard.press(key)
            self.has_focus()

    def go_to(self, target: Locator, key: str = "Tab") -> None:
        """Walks until the focus is there."""
        expect(target).to_be_visible()
        for _ in range(_MOST_STEPS):
            if target.evaluate("(node) => node === document.activeElement"):
                return
            self.press(key)
        raise AssertionError(f"{target} is not reached by {key}")

    def write(self, text: str) -> None:
        """Writes over what is in a field."""
        self.press("Control+A")
        self._page.keyboard.type(text)

    def has_focus(self) -> None:
        """The focus is somewhere, and seen where it is."""
        found = self._page.evaluate(_FOCUS)
        assert found in ("a place", "marked"), found
