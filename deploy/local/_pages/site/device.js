// Which device this is, and what it keeps until it has been sent.
//
// Each tab is a device of its own: its id lives as long as the tab does, a reload included. What was
// recorded outlives the tab: any tab sends it, under the id of the device that recorded it. Sending
// twice does no harm, since progress merges (openapi.yaml of progress tracking, "Merging").

const PREFIX = "lyceum.queue";

export const deviceId = (() => {
  const known = sessionStorage.getItem("lyceum.device");
  if (known) return known;
  const made = `web-${crypto.randomUUID().slice(0, 8)}`;
  sessionStorage.setItem("lyceum.device", made);
  return made;
})();

/** The updates of one user that no service has acknowledged yet, in this browser. */
export class Queue {
  #user;

  constructor(user) {
    this.#user = user;
  }

  /**
   * Keeps an update. A later one of the same `slot` takes the place of the earlier: of positions in
   * one content only the latest counts.
   */
  put(slot, entry) {
    const key = [PREFIX, this.#user, deviceId, entry.courseId, slot].join(" ");
    localStorage.setItem(key, JSON.stringify(entry));
  }

  /** What waits, oldest first: `{key, text, entry}`. */
  waiting() {
    const found = [];
    for (const key of Object.keys(localStorage)) {
      const [prefix, user] = key.split(" ");
      const text = localStorage.getItem(key);
      if (prefix === PREFIX && user === this.#user && text) found.push({ key, text, entry: JSON.parse(text) });
    }
    return found.sort((one, other) => one.entry.occurredAt.localeCompare(other.entry.occurredAt));
  }

  /** Forgets one that was decided, unless another has taken its place since. */
  remove({ key, text }) {
    if (localStorage.getItem(key) === text) localStorage.removeItem(key);
  }
}
