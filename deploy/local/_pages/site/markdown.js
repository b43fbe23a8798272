// The little of Markdown that readings use: headings, paragraphs, lists, quotes, code, tables,
// emphasis, links.
// Makes elements and never markup out of text; what it does not know stays text.

import { h } from "./dom.js";

/** `title` is what stands above it: the same as the first heading is not said again. */
export function markdown(text, title = null) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks = [];
  let at = 0;
  let above = 2; // the page has its own first and second level
  const take = (matches) => {
    const taken = [];
    while (at < lines.length && matches(lines[at])) taken.push(lines[at++]);
    return taken;
  };
  while (at < lines.length) {
    const line = lines[at];
    let found;
    if (!line.trim()) at += 1;
    else if (line.startsWith("```")) {
      at += 1;
      const code = take((one) => !one.startsWith("```"));
      at += 1;
      blocks.push(h("pre", { tabindex: 0 }, h("code", null, code.join("\n"))));
    } else if ((found = line.match(/^(#{1,6}) +(.*)$/))) {
      at += 1;
      if (!blocks.length && found[2].trim() === title) above = 1;
      else blocks.push(h(`h${Math.min(6, found[1].length + above)}`, null, inline(found[2])));
    } else if (/^[-*] +/.test(line)) {
      blocks.push(h("ul", null, items(take((one) => /^([-*] +| +\S)/.test(one)), /^[-*] +/)));
    } else if (/^\d+[.)] +/.test(line)) {
      blocks.push(h("ol", null, items(take((one) => /^(\d+[.)] +| +\S)/.test(one)), /^\d+[.)] +/)));
    } else if (line.startsWith("|") && RULE.test(lines[at + 1] ?? "")) {
      const [head, , ...body] = take((one) => one.startsWith("|")).map(cells);
      blocks.push(h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": head.join(", ") }, h("table", null,
        h("thead", null, h("tr", null, head.map((cell) => h("th", null, inline(cell))))),
        h("tbody", null, body.map((row) => h("tr", null, row.map((cell) => h("td", null, inline(cell)))))))));
    } else if (line.startsWith(">")) {
      const quoted = take((one) => one.startsWith(">")).map((one) => one.replace(/^> ?/, ""));
      blocks.push(h("blockquote", null, markdown(quoted.join("\n"))));
    } else {
      const words = take((one) => one.trim() && !/^(#{1,6} |```|>|\||[-*] |\d+[.)] )/.test(one));
      // A line that only looks like a block's beginning is a paragraph all the same.
      blocks.push(h("p", null, inline((words.length ? words : [lines[at++]]).join(" "))));
    }
  }
  return blocks;
}

function items(lines, marker) {
  const texts = [];
  for (const line of lines) {
    if (marker.test(line)) texts.push(line.replace(marker, ""));
    else texts[texts.length - 1] += ` ${line.trim()}`;
  }
  return texts.map((text) => h("li", null, inline(text)));
}

// What is under the head of a table.
const RULE = /^\|[ :|-]+$/;

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

// An underscore within a word is one.
const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|(?<![\p{L}\p{N}])_([^_]+)_(?![\p{L}\p{N}])|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/gu;

function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(end, match.index));
    const [, code, strong, emphasis, underscored, label, address] = match;
    if (code) nodes.push(h("code", null, code));
    else if (strong) nodes.push(h("strong", null, strong));
    else if (label) nodes.push(h("a", { href: address, rel: "noreferrer noopener", target: "_blank" }, label));
    else nodes.push(h("em", null, emphasis ?? underscored));
    end = match.index + match[0].length;
  }
  nodes.push(text.slice(end));
  return nodes;
}
