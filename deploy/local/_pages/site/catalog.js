// The catalog: search, filters, pages.

import { h, problemBox } from "./dom.js";
import { languageName } from "./video.js";

const PAGE = 48;
const LEVELS = ["beginner", "intermediate", "advanced"];
const LANGUAGES = ["ar", "de", "en", "es", "fr", "ja", "pt"];
const ORDERS = { "-publishedAt": "Newest first", title: "By title", "-updatedAt": "Last changed first" };
const FILTERS = ["q", "level", "language", "tag", "sort", "status"];
const TYPING_MS = 250;

/**
 * Shows the catalog in `main`. `app`: `{api, progress, user, go}`; `query` is the address's.
 * Gives a function that ends it.
 */
export function showCatalog(main, app, query) {
  const aborting = new AbortController();
  const { signal } = aborting;
  const filters = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  let summaries = new Map();
  let cursor = null;
  let typing = null;

  const list = h("ul", { class: "courses", "aria-label": "Courses" });
  const count = h("p", { class: "soft", role: "status" }, "Looking for courses …");
  const trouble = h("div");
  const more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Show more courses");
  const isAuthor = app.user.groups.includes("authors");
  const form = h("form", { role: "search", class: "card", onsubmit: (event) => { event.preventDefault(); search(); } },
    h("div", { class: "row" },
      h("div", { class: "field grow" }, h("label", { for: "q" }, "Search in titles, descriptions and tags"),
        h("input", { id: "q", name: "q", type: "search", value: filters.q, maxlength: 200, oninput: () => { clearTimeout(typing); typing = setTimeout(search, TYPING_MS); } })),
      choice("level", "Level", ["", ...LEVELS], (level) => level || "Any level"),
      choice("language", "Language", ["", ...LANGUAGES], (tag) => (tag ? languageName(tag) : "Any language")),
      choice("sort", "Order", Object.keys(ORDERS), (sort) => ORDERS[sort]),
      isAuthor && choice("status", "Status", ["", "draft", "archived"], (status) => status || "published")),
    h("p", { class: "small soft", hidden: !filters.tag }, "Only with the tag ", h("strong", null, filters.tag), ". ",
      h("a", { href: "/", "data-route": true }, "All courses")));
  main.replaceChildren(
    h("div", { class: "stack" },
      h("div", { class: "row middle" }, h("h1", { class: "grow" }, "Courses"),
        isAuthor && h("a", { href: "/?new=course", "data-route": true }, "Write a new course")),
      form, count, trouble), list, more);

  function choice(name, label, values, text) {
    return h("div", { class: "field" }, h("label", { for: name }, label),
      h("select", { id: name, name, onchange: search },
        values.map((value) => h("option", { value, selected: value === (filters[name] || values[0]) }, text(value)))));
  }

  function search() {
    clearTimeout(typing);
    const chosen = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value.trim() && value !== "-publishedAt") chosen.set(name, value.trim());
    if (filters.tag) chosen.set("tag", filters.tag);
    for (const name of FILTERS) filters[name] = chosen.get(name) ?? "";
    history.replaceState(null, "", chosen.size ? `/?${chosen}` : "/");
    cursor = null;
    load();
  }

  let loading = null;
  async function load() {
    loading?.abort();
    const mine = (loading = new AbortController());
    const isFirst = cursor === null;
    const wanted = new URLSearchParams({ limit: PAGE });
    for (const [name, value] of Object.entries(filters)) if (value) wanted.set(name, value);
    if (cursor) wanted.set("cursor", cursor);
    more.disabled = true;
    try {
      const { body, isKept } = await app.api.read(`/courses?${wanted}`, { signal: AbortSignal.any([signal, mine.signal]) });
      const added = body.items.map(card);
      if (isFirst) list.replaceChildren(...added);
      else {
        list.append(...added);
        added[0]?.querySelector("a").focus();
      }
      cursor = body.nextCursor ?? null;
      more.hidden = cursor === null;
      const shown = list.children.length;
      count.textContent = shown ? `${shown} course${shown === 1 ? "" : "s"}${cursor ? ", and there are more" : ""}` : "No course is like that. Search for less, or for all.";
      if (isKept) count.textContent += ". Offline: as this device saw them last.";
      trouble.replaceChildren();
    } catch (error) {
      if (error.name === "AbortError") return;
      trouble.replaceChildren(problemBox(error, () => load()));
      count.textContent = "";
    } finally {
      more.disabled = false;
    }
  }

  function card(course) {
    const summary = summaries.get(course.id);
    return h("li", { class: "card", dataset: { course: course.id } },
      h("h2", { lang: course.language, dir: "auto" }, h("a", { href: `/?course=${course.id}`, "data-route": true }, course.title)),
      h("p", { class: "small", lang: course.language, dir: "auto" }, course.shortDescription),
      h("div", { class: "foot" },
        h("span", { class: "tag" }, languageName(course.language)),
        h("span", { class: "tag" }, course.level),
        course.status !== "published" && h("span", { class: "tag warn" }, course.status),
        course.tags.slice(0, 3).map((tag) => h("span", { class: "tag", lang: course.language, dir: "auto" }, tag)),
        h("progress", { max: 100, value: summary?.percent ?? 0, dataset: { begun: Boolean(summary) }, "aria-label": `Done of ${course.title}` })));
  }

  async function loadSummaries() {
    try {
      summaries = await app.progress.summaries();
    } catch {
      return; // the list is worth seeing without them; what waits is told above
    }
    for (const item of list.children) {
      const summary = summaries.get(item.dataset.course);
      if (!summary) continue;
      const bar = item.querySelector("progress");
      bar.value = summary.percent ?? 0;
      bar.dataset.begun = true;
    }
  }

  load();
  loadSummaries();
  return () => aborting.abort();
}
