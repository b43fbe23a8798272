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

/** Draws anew what is in `place`; the focus, and the cursor in a field, stay on what has the same id. */
export function redraw(place, draw) {
  const { id, selectionStart, selectionEnd } = place.contains(document.activeElement) ? document.activeElement : {};
  draw();
  const again = id ? document.getElementById(id) : null;
  if (!again || again === document.activeElement) return;
  again.focus({ preventScroll: true });
  if (typeof selectionStart === "number") again.setSelectionRange(selectionStart, selectionEnd);
}

/** Whether anything has the focus: what is removed, and the button that can't be pressed, have lost it. */
export function isFocusLost() {
  const { activeElement } = document;
  return activeElement === document.body || !canHold(activeElement);
}

function canHold(element) {
  return element.isConnected && !element.disabled && element.checkVisibility({ visibilityProperty: true });
}

/**
 * Nobody who works by the keyboard is thrown out: where what has the focus goes away, what was around it
 * has the focus, unless whoever removed it had a better place.
 */
export function keepFocus(root) {
  let path = [];
  root.addEventListener("focusin", ({ target }) => {
    path = [];
    for (let element = target; element && element !== root; element = element.parentElement) path.push(element);
  });
  root.addEventListener("focusout", () => queueMicrotask(() => {
    // It was left, and not taken away.
    if (path[0] && canHold(path[0]) && document.activeElement !== path[0]) path = [];
  }));
  new MutationObserver(() => {
    if (!path.length || canHold(path[0]) || !isFocusLost()) return;
    const place = path.find(canHold) ?? root;
    if (!place.hasAttribute("tabindex")) {
      place.tabIndex = -1;
      place.addEventListener("blur", () => place.removeAttribute("tabindex"), { once: true });
    }
    place.focus({ preventScroll: true });
  }).observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled", "hidden"] });
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
