// The live board: what the processes say of themselves, and buttons that let something fail.

import { plain } from "./api.js";
import { h, keepFocus, problemBox, svg } from "./dom.js";
import { live } from "./live.js";
import { number } from "./map.js";

const EVERY_MS = 2000;
/** What fails, what to do then, and what is seen: the order is that of the page. */
const DEPENDENCIES = {
  dynamodb: {
    name: "DynamoDB",
    watch: "Open courses on the page “Learn” and record progress: the circuit breakers open, refuse at once, and close again when it works. Courses that were read before are still answered, and nothing that was recorded is lost.",
  },
  s3: {
    name: "S3",
    watch: "Players and uploads go to S3 themselves, by signed URLs: services only sign. A video plays on from what it has loaded, then says what it waits for and goes on by itself; an upload pauses, and goes on with what is missing.",
  },
  keys: {
    name: "The issuer's keys",
    watch: "Nobody is signed out: what is known of the keys goes on being accepted. Only a token of a key never heard of is refused.",
  },
};

const byId = (id) => document.getElementById(id);
const tiles = new Map();

async function look() {
  const [board, faults] = await Promise.all([plain("GET", "/-/board"), plain("GET", "/-/faults")]);
  const running = board.processes.filter((process) => board.now - process.at < board.windowSeconds);
  for (const process of running) tileOf(process.name).draw(process, board);
  for (const [name, tile] of tiles) {
    if (!running.some((process) => process.name === name)) {
      tile.element.remove();
      tiles.delete(name);
    }
  }
  byId("nobody").hidden = running.length > 0;
  drawCapacity(running);
  drawFaults(faults);
}

/** A tile is made once and then filled: what a reader's cursor is on stays where it is. */
function tileOf(name) {
  if (tiles.has(name)) return tiles.get(name);
  const figures = h("dl", { class: "figures" });
  const spark = h("div");
  const breakers = h("ul", { class: "lines" });
  const more = h("p", { class: "small soft foot" });
  const element = h("section", { class: "card", "data-process": name, "aria-label": name }, h("h2", null, name), figures, spark, breakers, more);
  const tile = {
    element,
    draw(process, board) {
      const share = (count) => (process.requests ? `${((100 * count) / process.requests).toFixed(1)} %` : "–");
      // A consumer answers no requests.
      const isServing = !process.queues.length;
      const shown = [
        isServing && ["Requests/min", ((60 * process.requests) / board.windowSeconds).toFixed(0)],
        isServing && ["4xx", share(process.errors)],
        isServing && ["5xx", share(process.faults)],
        isServing && ["p50", milliseconds(process.p50)],
        isServing && ["p99", milliseconds(process.p99)],
        process.directoryAge !== null && ["Directory age", `${process.directoryAge.toFixed(0)} s`],
        ...process.queues.flatMap((queue) => [["Queue lag", milliseconds(queue.lagMs)], ["Messages/min", queue.received.toFixed(0)]]),
      ].filter(Boolean);
      replaceChanged(figures, shown.map(([label, value]) => `${label}\n${value}`), (text) => {
        const [label, value] = text.split("\n");
        return h("div", null, h("dt", null, label), h("dd", null, value));
      });
      if (isServing) spark.replaceChildren(...sparkline(process.history));
      replaceChanged(breakers, process.breakers.map((breaker) => `${breaker.name}\n${breaker.state}`), (text) => {
        const [breaker, state] = text.split("\n");
        return h("li", { "data-breaker": breaker }, h("span", { class: "state", "data-state": state }, state), ` ${breaker}`);
      });
      const age = Math.max(0, board.now - process.at);
      more.textContent = `Said ${age.toFixed(0)} s ago`
        + (process.directoryCourses === null ? "" : ` · ${process.directoryCourses} courses in the directory`)
        + (process.memory === null ? "" : ` · ${(process.memory / 2 ** 20).toFixed(0)} MiB`);
    },
  };
  tiles.set(name, tile);
  byId("processes").append(element);
  return tile;
}

/** Replaces only the children whose text has changed. */
function replaceChanged(list, texts, make) {
  texts.forEach((text, index) => {
    const child = list.children[index];
    if (child?.dataset.text === text) return;
    const made = make(text);
    made.dataset.text = text;
    if (child) child.replaceWith(made);
    else list.append(made);
  });
  while (list.children.length > texts.length) list.lastChild.remove();
}

function sparkline(history) {
  const counts = history.slice(-60).map(([, requests]) => requests);
  const most = Math.max(1, ...counts);
  const points = counts.map((count, index) => `${(100 * index) / Math.max(1, counts.length - 1)},${29 - (28 * count) / most}`).join(" ");
  const said = `Requests at each report, at most ${Math.max(0, ...counts)}`;
  return [
    svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": said }, svg("polyline", { points })),
    h("p", { class: "small soft", "aria-hidden": "true" }, said),
  ];
}

function drawCapacity(processes) {
  const rows = processes.flatMap((process) => process.capacity.map((one) => [one.table, one.index, one.kind, String(one.units), process.name].join("\n")));
  const table = byId("capacity");
  if (!table.tBodies.length) {
    table.append(
      h("thead", null, h("tr", null, ["Table", "Index", "Kind"].map((name) => h("th", null, name)), h("th", { class: "number" }, "Units"), h("th", null, "Process"))),
      h("tbody"));
  }
  replaceChanged(table.tBodies[0], rows.length ? rows : ["Nothing was read or written"], (text) => {
    const cells = text.split("\n");
    return h("tr", null, cells.map((cell, index) => h("td", { class: index === 3 ? "number" : null, colspan: cells.length === 1 ? 5 : null }, cell)));
  });
}

function drawFaults({ faults, dependencies }) {
  const place = byId("faults");
  if (!faults.length) {
    place.replaceChildren(h("p", null, "Here the services run as containers: nothing stands between them and AWS."));
    return;
  }
  for (const [name, { fault }] of Object.entries(dependencies)) {
    let group = place.querySelector(`[data-dependency="${name}"]`);
    if (!group) {
      const shown = DEPENDENCIES[name] ?? { name, watch: "" };
      group = h("div", { "data-dependency": name, role: "group", "aria-label": `${shown.name} fails by`, "aria-describedby": `watch-${name}` },
        h("h3", null, shown.name),
        h("p", { id: `watch-${name}`, class: "soft small" }, shown.watch),
        h("div", { class: "faults" }, faults.map((one) => h("button", { type: "button", "data-fault": one, onclick: () => make(name, one) }, one === "none" ? "works" : one))));
      place.append(group);
    }
    for (const button of group.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.fault === fault));
  }
}

async function make(dependency, fault) {
  try {
    drawFaults(await plain("PUT", `/-/faults/${dependency}`, { json: { fault } }));
  } catch (error) {
    byId("trouble").replaceChildren(problemBox(error));
  }
}

function milliseconds(value) {
  return value === null ? "–" : `${number(value)} ms`;
}

keepFocus(byId("main"));
live(look, { everyMs: EVERY_MS, box: byId("live"), trouble: byId("trouble") });
