// One trace: a row a span with a bar where it was in time, and what was logged under its id.

import { h } from "./dom.js";
import { number } from "./map.js";

const TIME = { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
const SHOWN_ELSEWHERE = new Set(["timestamp", "level", "service", "event", "traceId", "version", "logger"]);

export function drawWaterfall(place, trace, close) {
  const start = Math.min(...trace.rows.map((row) => row.start));
  const whole = Math.max(...trace.rows.map((row) => row.end)) - start || 1e-6;
  place.hidden = false;
  place.replaceChildren(
    h("div", { class: "row middle" },
      h("h2", { id: "one-title", class: "grow", tabindex: -1 }, trace.titles[0] ?? "A trace"),
      h("button", { type: "button", id: "close", onclick: close }, "Close")),
    h("p", { class: "small soft" }, h("code", null, trace.id), ` · ${new Date(1000 * start).toLocaleString()} · ${number(1000 * whole)} ms · ${trace.calls} calls`),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Waterfall" },
      h("table", { class: "waterfall" },
        h("thead", null, h("tr", null, h("th", null, "What"), h("th", { class: "number" }, "Start"), h("th", { class: "number" }, "Took"), h("th", null, "When"))),
        h("tbody", null, trace.rows.map((row) => drawRow(row, start, whole))))),
    h("h3", null, "Log lines"),
    trace.lines.length
      ? h("ul", { class: "lines" }, trace.lines.map(drawLine))
      : h("p", { class: "soft small" }, "Nothing was logged under this id, or not any more."));
}

function drawRow(row, start, whole) {
  const span = h("div", { class: `span ${row.kind} ${row.mark ?? ""}` });
  // Set by script and not as an attribute: the page's policy allows no styles in the markup.
  span.style.insetInlineStart = `${(100 * (row.start - start)) / whole}%`;
  span.style.inlineSize = `${Math.max(0, (100 * (row.end - row.start)) / whole)}%`;
  const name = h("td", null, h("strong", null, row.name), row.title ? ` ${row.title}` : "",
    row.status !== null && row.kind !== "aws" && h("span", { class: row.mark ? `mark-${row.mark}` : "soft" }, ` ${row.status}`),
    row.mark && h("span", { class: `mark-${row.mark}` }, ` ${row.mark}`),
    row.notes.map((note) => h("div", { class: "small soft" }, note)));
  name.style.paddingInlineStart = `${0.6 + 1.1 * Math.min(row.depth, 12)}rem`;
  return h("tr", null, name,
    h("td", { class: "number" }, `${number(1000 * (row.start - start))} ms`),
    h("td", { class: "number" }, `${number(1000 * (row.end - row.start))} ms`),
    h("td", { class: "bar-cell" }, span));
}

function drawLine(line) {
  const rest = Object.entries(line).filter(([key]) => !SHOWN_ELSEWHERE.has(key))
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");
  const at = new Date(line.timestamp);
  const time = Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString([], TIME);
  return h("li", { class: `level-${line.level}` }, `${time} ${line.service} `, h("strong", null, String(line.event)), ` ${rest}`);
}
