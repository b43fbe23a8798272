// What a learner read last, for when the platform can not be reached: and the worker that keeps the pages.
//
// In the browser's cache storage and not beside the queue of updates (device.js): what may be forgotten
// takes no room from what may not.

const WORKER = "/-/worker.js";
const MOST = 60;

/** Answers by their path, of one user: they do not all see the same. */
export class Kept {
  #name;
  #last = Promise.resolve();

  constructor(user) {
    this.#name = `lyceum.kept ${user}`;
  }

  /**
   * Keeps it sometime, one after the other, and never fails: what can not be kept is asked for again.
   * Nobody waits for it: a browser's storage may take its time, and what it keeps is shown already.
   */
  put(path, body) {
    this.#last = this.#last.then(() => this.#put(path, body));
  }

  async #put(path, body) {
    try {
      const cache = await caches.open(this.#name);
      await cache.delete(path);
      await cache.put(path, Response.json(body));
      const paths = await cache.keys();
      for (const oldest of paths.slice(0, Math.max(0, paths.length - MOST))) await cache.delete(oldest);
    } catch {
      // No room, or a browser that gives none.
    }
  }

  /** What was kept; null where nothing was. */
  async get(path) {
    try {
      const found = await (await caches.open(this.#name)).match(path);
      return found ? await found.json() : null;
    } catch {
      return null;
    }
  }
}

/** Lets the pages be there without a network too, in browsers that can. */
export function keepPages() {
  // The one address that may become a script by its name (Trusted Types).
  const policy = globalThis.trustedTypes?.createPolicy("lyceum-worker", { createScriptURL: () => WORKER });
  navigator.serviceWorker?.register(policy?.createScriptURL(WORKER) ?? WORKER, { scope: "/" }).catch(() => {});
}
