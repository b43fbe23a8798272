// Making elements. Text is always text: nothing here, or anywhere, turns a string into markup.

/**
 * An element. `properties` are attributes, but for `on…` (listeners) and `dataset`; false and null
 * leave one out. Children are nodes or texts; null and false are left out.
 */
export function h(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/** What is in an element from now on; what is left out is the same as of `h`. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

function present(children) {
  return children.flat().filter((child) => child !== null && child !== false && child !== undefined);
}

/** The same for drawings. */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter(Boolean));
  return element;
}

/** What went wrong and what to do, as something to show. */
export function problemBox(error, again) {
  return h("div", { class: "problem", role: "alert" },
    h("p", null, h("strong", null, error.title ?? "That did not work"), `. ${error.message}`),
    error.errors?.length > 0 && h("ul", null, error.errors.map((one) => h("li", null, `${one.pointer} ${one.message}`))),
    error.traceId && h("p", { class: "small" }, h("a", { href: `/traces?id=${error.traceId}` }, "What became of this request")),
    again && h("p", null, h("button", { type: "button", onclick: again }, "Try again")));
}

/** The direction that a language is written in, for what is laid out and not only read. */
export function directionOf(language) {
  try {
    const locale = new Intl.Locale(language);
    return (locale.getTextInfo?.() ?? locale.textInfo)?.direction ?? "ltr";
  } catch {
    return "ltr";
  }
}

/** `1:02:03`, `2:05`. */
export function clockText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}
