// The service map: nodes in three columns, and on each edge how often, how well and how fast.

import { h, svg } from "./dom.js";

const COLUMNS = { gateway: 0, queue: 0, service: 1, table: 2, bucket: 2, other: 2 };
const KINDS = { gateway: "", queue: "queue", service: "service", table: "table", bucket: "bucket", other: "" };
const NODE = { width: 190, height: 44 };
const WIDTH = 1040;

/** Adds up the edges of traces over a window; see `_telemetry._edges`. */
export function edgesOf(traces, windowSeconds) {
  const edges = new Map();
  for (const trace of traces) {
    for (const edge of trace.edges) {
      const key = `${edge.from}>${edge.to}`;
      const sum = edges.get(key) ?? { ...edge, ms: [], failed: 0 };
      sum.ms.push(...edge.ms);
      sum.failed += edge.failed;
      edges.set(key, sum);
    }
  }
  return [...edges.values()].map((edge) => {
    const ms = edge.ms.toSorted((one, other) => one - other);
    return {
      ...edge,
      calls: ms.length,
      perMinute: (60 * ms.length) / windowSeconds,
      p50: quantile(ms, 0.5),
      p99: quantile(ms, 0.99),
    };
  }).sort((one, other) => one.from.localeCompare(other.from) || one.to.localeCompare(other.to));
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0;
}

export function drawMap(place, edges) {
  const columns = [[], [], []];
  const nodes = new Map();
  for (const { from, fromKind, to, toKind } of edges) {
    for (const [name, kind] of [[from, fromKind], [to, toKind]]) {
      if (nodes.has(name)) continue;
      const node = { name, kind, column: COLUMNS[kind] ?? 2 };
      nodes.set(name, node);
      columns[node.column].push(node);
    }
  }
  const most = Math.max(1, ...columns.map((column) => column.length));
  const height = Math.max(300, most * 84);
  columns.forEach((column, at) => {
    column.sort((one, other) => (KINDS[one.kind] + one.name).localeCompare(KINDS[other.kind] + other.name));
    column.forEach((node, row) => {
      node.x = 10 + at * ((WIDTH - NODE.width - 20) / 2);
      node.y = ((row + 0.5) * height) / column.length - NODE.height / 2;
    });
  });
  const summary = edges.length
    ? edges.map((edge) => `${edge.from} to ${edge.to}: ${rate(edge)}`).join("; ")
    : "no calls yet";
  place.replaceChildren(
    svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Service map: ${summary}` },
      edges.map((edge) => drawEdge(edge, nodes.get(edge.from), nodes.get(edge.to))),
      // Over all edges: none crosses out what another says.
      edges.map((edge) => drawLabel(edge, nodes.get(edge.from), nodes.get(edge.to))),
      [...nodes.values()].map(drawNode)));
}

function drawEdge(edge, from, to) {
  const x1 = from.x + NODE.width, y1 = from.y + NODE.height / 2;
  const x2 = to.x, y2 = to.y + NODE.height / 2;
  const bend = (x2 - x1) / 2;
  const width = 1 + Math.min(5, Math.log10(1 + edge.calls) * 2);
  return svg("g", { class: `edge${edge.failed ? " failed" : ""}` },
    svg("path", { d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`, "stroke-width": width }));
}

/** On the curve, and nearer to its end, where the edges of one node have parted. */
function drawLabel(edge, from, to) {
  const t = to.column - from.column > 1 ? 0.86 : 0.62;
  const x1 = from.x + NODE.width, y1 = from.y + NODE.height / 2;
  const y2 = to.y + NODE.height / 2;
  const x = x1 + (to.x - x1) * (1.5 * t * (1 - t) + t ** 3), y = y1 + (y2 - y1) * (t * t * (3 - 2 * t));
  return svg("g", { class: `edge${edge.failed ? " failed" : ""}` },
    svg("text", { x, y: y + 4, "text-anchor": "middle" }, document.createTextNode(rate(edge))));
}

function drawNode(node) {
  return svg("g", { class: "node" },
    svg("rect", { x: node.x, y: node.y, width: NODE.width, height: NODE.height, rx: 8 }),
    KINDS[node.kind] && svg("text", { x: node.x + 12, y: node.y + 19, class: "kind" }, document.createTextNode(KINDS[node.kind])),
    svg("text", { x: node.x + 12, y: node.y + (KINDS[node.kind] ? 35 : 27) }, document.createTextNode(node.name)));
}

function rate(edge) {
  const failed = edge.failed ? `, ${Math.round((100 * edge.failed) / edge.calls)} % failed` : "";
  return `${edge.perMinute.toFixed(1)}/min · ${number(edge.p50)} ms${failed}`;
}

/** The same for who does not see the drawing. */
export function edgesTable(table, edges) {
  table.replaceChildren(
    h("thead", null, h("tr", null, h("th", null, "From"), h("th", null, "To"), ["Calls", "A minute", "Failed", "p50 ms", "p99 ms"].map((name) => h("th", { class: "number" }, name)))),
    h("tbody", null, edges.map((edge) => h("tr", null, h("td", null, edge.from), h("td", null, edge.to),
      [edge.calls, edge.perMinute.toFixed(1), edge.failed, number(edge.p50), number(edge.p99)].map((value) => h("td", { class: "number" }, String(value)))))));
}

export function number(value) {
  return value >= 100 ? Math.round(value).toString() : value.toFixed(1);
}
