// The traces page: what came last, live; the map over it; one of them as a waterfall.

import { plain } from "./api.js";
import { h, isFocusLost, keepFocus, problemBox, redraw } from "./dom.js";
import { live } from "./live.js";
import { drawMap, edgesOf, edgesTable, number } from "./map.js";
import { drawWaterfall } from "./waterfall.js";

const EVERY_MS = 2000;
const WINDOW_SECONDS = 300;
const MOST_ROWS = 200;

const byId = (id) => document.getElementById(id);
const one = byId("one");
const filters = byId("filters");
const traces = new Map();
let change = 0;
let shown = null;

const query = new URLSearchParams(location.search);
for (const name of ["route", "status", "slower"]) filters.elements[name].value = query.get(name) ?? "";

async function look() {
  const answer = await plain("GET", `/-/traces?after=${change}`);
  change = answer.change;
  for (const trace of answer.traces) {
    traces.delete(trace.id);
    traces.set(trace.id, trace);
  }
  for (const id of traces.keys()) {
    if (traces.size <= 1000) break;
    traces.delete(id);
  }
  draw();
  // It has come, or more of it has.
  if (shown && answer.traces.some((trace) => trace.id === shown)) await open(shown);
  else if (shown && !traces.has(shown)) waitFor(shown);
}

function draw() {
  const newest = [...traces.values()].sort((one, other) => other.start - one.start);
  const since = Date.now() / 1000 - WINDOW_SECONDS;
  const edges = edgesOf(newest.filter((trace) => trace.start >= since), WINDOW_SECONDS);
  drawMap(byId("map"), edges);
  edgesTable(byId("edges"), edges);

  const { route, status, slower } = Object.fromEntries(new FormData(filters));
  const words = route.trim().toLowerCase();
  const found = newest.filter((trace) =>
    (!words || [...trace.titles, ...trace.services].some((text) => text.toLowerCase().includes(words)))
    && (!status || String(trace.status).startsWith(status))
    && (!slower || trace.durationMs > Number(slower)));
  byId("count").textContent = traces.size === 0 ? "No traces yet: do something on the page “Learn”."
    : `${found.length} of the last ${traces.size}${found.length > MOST_ROWS ? `, the newest ${MOST_ROWS} shown` : ""}`;
  const focused = document.activeElement?.dataset?.trace;
  byId("list").replaceChildren(...found.slice(0, MOST_ROWS).map(row));
  if (focused) byId("list").querySelector(`[data-trace="${focused}"]`)?.focus({ preventScroll: true });
}

function row(trace) {
  const more = trace.titles.length > 1 ? ` and ${trace.titles.length - 1} more` : "";
  return h("tr", { "aria-selected": trace.id === shown ? "true" : null },
    h("td", { class: "number" }, clock(trace.start)),
    h("td", { class: "number" }, `${number(trace.durationMs)} ms`),
    h("td", { class: `number ${trace.mark ? `mark-${trace.mark}` : ""}` }, String(trace.status ?? "")),
    h("td", null, h("a", { href: `/traces?id=${trace.id}`, "data-trace": trace.id, onclick: choose }, trace.titles[0]), more),
    h("td", null, trace.services.join(", ")),
    h("td", { class: "number" }, String(trace.calls)));
}

/** The time of day of this place, whole seconds. */
function clock(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString([], { hourCycle: "h23" });
}

function choose(event) {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  address(event.currentTarget.dataset.trace);
  open(event.currentTarget.dataset.trace).then(() => {
    one.scrollIntoView({ block: "start" });
    byId("one-title")?.focus();
  });
}

async function open(id) {
  shown = id;
  try {
    const trace = await plain("GET", `/-/traces/${encodeURIComponent(id)}`);
    if (shown === id) redraw(one, () => drawWaterfall(one, trace, close));
  } catch (error) {
    one.hidden = false;
    one.replaceChildren(h("h2", { id: "one-title", tabindex: -1 }, "This trace"), problemBox(error, () => open(id)));
  }
}

function waitFor(id) {
  one.hidden = false;
  one.replaceChildren(
    h("h2", { id: "one-title", tabindex: -1 }, "This trace"),
    h("p", null, h("code", null, id), " is not here yet, or not among the last that are kept. If it comes, it is shown."));
}

function close() {
  const closed = shown;
  shown = null;
  one.hidden = true;
  address(null);
  draw();
  // Back where it was opened from, if that is still listed.
  byId("list").querySelector(`[data-trace="${closed}"]`)?.focus({ preventScroll: true });
  if (isFocusLost()) byId("list-title").focus();
}

/** What is looked at is in the address: it can be sent to somebody, and a reload shows it again. */
function address(id) {
  const chosen = new URLSearchParams();
  if (id) chosen.set("id", id);
  for (const [name, value] of new FormData(filters)) if (value) chosen.set(name, value);
  history.replaceState(null, "", chosen.size ? `/traces?${chosen}` : "/traces");
}

filters.addEventListener("input", () => { address(shown); draw(); });
filters.addEventListener("submit", (event) => event.preventDefault());

keepFocus(byId("main"));
shown = query.get("id");
live(look, { everyMs: EVERY_MS, box: byId("live"), trouble: byId("trouble") });
