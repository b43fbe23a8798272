// Asking again and again while somebody looks, and no longer.

import { problemBox } from "./dom.js";

/**
 * Calls `look` now and every so often, while the page is visible and the box is checked; one at a time.
 * What it throws is shown in `trouble` until it succeeds again. Gives a function that looks at once.
 */
export function live(look, { everyMs, box, trouble }) {
  let timer = null;
  let running = null;

  async function run() {
    clearTimeout(timer);
    running ??= look().then(
      () => trouble.replaceChildren(),
      (error) => trouble.replaceChildren(problemBox(error)),
    ).finally(() => (running = null));
    await running;
    clearTimeout(timer);
    if (box.checked && document.visibilityState === "visible") timer = setTimeout(run, everyMs);
  }

  box.addEventListener("change", () => (box.checked ? run() : clearTimeout(timer)));
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && box.checked && run());
  run();
  return run;
}
