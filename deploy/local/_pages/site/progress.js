// What the learner has done: what the service knows, and on top of it what it has not been told yet.

import { deviceId, Queue } from "./device.js";

const MOST_ENTRIES = 25;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

/** Tells `change` (a course, or all of them, changed) and `refused` (an update will never be taken). */
export class Progress extends EventTarget {
  #api;
  #queue;
  #courses = new Map();
  #begun = new Set();
  #sending = null;
  #timer = null;
  #wait = FIRST_WAIT_MS;
  #stopped = new AbortController();

  constructor(api, user) {
    super();
    this.#api = api;
    this.#queue = new Queue(user);
    const { signal } = this.#stopped;
    addEventListener("online", () => this.#sendNow(), { signal });
    addEventListener("offline", () => this.#tell(), { signal });
    // Another tab has recorded something, or has sent it.
    addEventListener("storage", () => this.#tell(), { signal });
  }

  /** No more events; what waits stays on the device. */
  stop() {
    this.#stopped.abort();
    clearTimeout(this.#timer);
  }

  get waiting() {
    return this.#queue.waiting().length;
  }

  /** Asks where the learner stands in the course. Throws what `Api.ask` throws. */
  async load(courseId) {
    // A course that was never begun is 404 (the contract's word), and browsers log that as an error:
    // so the list is asked first.
    const { body } = await this.#api.keeping(`/progress/me/${courseId}`, async () => {
      if (!this.#begun.has(courseId)) await this.summaries();
      if (!this.#begun.has(courseId)) return {};
      const { status, body } = await this.#api.ask("GET", `/progress/me/${courseId}`, { accept: [404] });
      return status === 404 ? {} : body;
    });
    this.#learn(courseId, body.items ? body : null);
  }

  /** A page of all courses after the other, in brief. */
  async summaries() {
    const found = new Map();
    let cursor = null;
    do {
      const query = cursor ? `?limit=100&cursor=${encodeURIComponent(cursor)}` : "?limit=100";
      const { body } = await this.#api.ask("GET", `/progress/me${query}`);
      for (const summary of body.items) found.set(summary.courseId, summary);
      for (const id of found.keys()) this.#begun.add(id);
      cursor = body.nextCursor;
    } while (cursor);
    return found;
  }

  /** Where the learner stands in a course: `{done, fraction, resume, percent, status, …}`. */
  of(course) {
    const known = this.#courses.get(course.id) ?? null;
    const items = new Map(Object.entries(known?.items ?? {}).map(([id, item]) => [id, { ...item }]));
    let { resume = null } = known ?? {};
    let isPending = false;
    for (const { entry } of this.#queue.waiting()) {
      if (entry.courseId !== course.id) continue;
      isPending = true;
      for (const [id, update] of Object.entries(entry.items ?? {})) {
        const item = items.get(id) ?? { completed: false, fraction: null, positionSeconds: null, occurredAt: "" };
        item.completed ||= update.completed ?? false;
        item.fraction = Math.max(item.fraction ?? 0, update.fraction ?? 0) || null;
        if (update.positionSeconds !== undefined && entry.occurredAt >= (item.occurredAt ?? "")) {
          item.positionSeconds = update.positionSeconds;
          item.occurredAt = entry.occurredAt;
        }
        items.set(id, item);
      }
      if (entry.resume && entry.occurredAt >= (resume?.occurredAt ?? "")) {
        resume = { ...entry.resume, occurredAt: entry.occurredAt };
      }
    }
    const done = new Set([...items].filter(([, item]) => item.completed).map(([id]) => id));
    // The service's number where it knows all; else ours, by the same rule.
    const percent = isPending || known?.percent == null ? percentOf(course, done) : known.percent;
    return { items, done, resume, percent, status: known?.status ?? "not_started", isPending, known };
  }

  /**
   * Records what was done, here and now; it is sent as soon as that is possible.
   *
   * `slot`: see `Queue.put`. `update`: `{resume?, items?}`.
   */
  record(courseId, slot, update, { leaving = false } = {}) {
    const attempt = this.#courses.get(courseId)?.attempt;
    this.#queue.put(slot, {
      courseId,
      occurredAt: this.#api.now().toISOString(),
      deviceId,
      ...(attempt ? { attempt } : {}),
      ...update,
    });
    this.#tell(courseId);
    if (leaving) this.#sendLast();
    else this.#sendNow();
  }

  /** Sends what waits, if anything does. */
  flush() {
    if (this.waiting) this.#sendNow();
  }

  #sendNow() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#sending ??= this.#send().finally(() => {
      this.#sending = null;
      this.#tell();
      if (this.waiting && !this.#stopped.signal.aborted && !this.#timer) this.#later(0);
    });
  }

  #later(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#sendNow(), milliseconds);
  }

  async #send() {
    for (let batch = this.#queue.waiting().slice(0, MOST_ENTRIES); batch.length; ) {
      if (!navigator.onLine) return this.#later(LONGEST_WAIT_MS);
      let results;
      try {
        results = batch.length === 1 ? [await this.#put(batch[0].entry)] : await this.#post(batch);
      } catch (error) {
        this.#later((error.retryAfterSeconds ?? 0) * 1000 || this.#wait);
        this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
        return;
      }
      this.#wait = FIRST_WAIT_MS;
      let retryAfter = 0;
      results.forEach((result, index) => {
        const { entry } = batch[index];
        if (result.status === 500 || result.status === 503) {
          retryAfter = Math.max(retryAfter, result.retryAfterSeconds ?? 1);
          return;
        }
        this.#queue.remove(batch[index]);
        if (result.progress) this.#learn(entry.courseId, result.progress);
        else if (result.problem) this.dispatchEvent(new CustomEvent("refused", { detail: result.problem }));
      });
      if (retryAfter) return this.#later(1000 * retryAfter);
      batch = this.#queue.waiting().slice(0, MOST_ENTRIES);
    }
  }

  async #put({ courseId, ...update }) {
    try {
      const { status, body } = await this.#api.ask("PUT", `/progress/me/${courseId}`, { json: update });
      return { status, progress: body };
    } catch (error) {
      if (![400, 409, 413, 422].includes(error.status)) throw error;
      return { status: error.status, problem: error };
    }
  }

  async #post(batch) {
    const entries = batch.map(({ entry }) => entry);
    return (await this.#api.ask("POST", "/progress/me/batch", { json: { entries } })).body.results;
  }

  /** The tab goes away: once, without waiting for the answer. What is not acknowledged stays. */
  #sendLast() {
    const batch = this.#queue.waiting().slice(0, MOST_ENTRIES);
    const entries = batch.map(({ entry }) => entry);
    this.#api.ask("POST", "/progress/me/batch", { json: { entries }, keepalive: true }).catch(() => {});
  }

  #learn(courseId, known) {
    this.#courses.set(courseId, known);
    if (known) this.#begun.add(courseId);
    this.#tell(courseId);
  }

  #tell(courseId = null) {
    this.dispatchEvent(new CustomEvent("change", { detail: courseId }));
  }
}

/** The completed share of what is required, by weight, rounded down (`percent` in the contract). */
function percentOf(course, done) {
  const all = course.outline.flatMap((section) => section.items);
  const required = all.some((item) => item.required) ? all.filter((item) => item.required) : all;
  const weight = (items) => items.reduce((sum, item) => sum + item.weight, 0);
  const missing = required.filter((item) => !done.has(item.contentId));
  if (!required.length) return 0;
  return missing.length ? Math.min(99, Math.floor((100 * (weight(required) - weight(missing))) / weight(required))) : 100;
}
