// One file on its way to the store: with progress, with pauses, and over the end of the page.
//
// The service says how (openapi.yaml of content delivery, "Uploading"): as one form, or in parts of
// which it knows what is missing. So all that is kept here is the content's id and which file it was:
// a browser does not give a file again after a reload, it has to be chosen once more.

const PREFIX = "lyceum.upload";
// Parts on their way at once: one more than one hides the time between them.
const LANES = 2;
// What is hashed is read as a whole; larger files are verified by length and type alone.
const LARGEST_HASHED = 64 * 1024 * 1024;
const PARTS_AT_ONCE = 100;
// A store that takes nothing and says nothing for that long has gone.
const SILENCE_MS = 30_000;

/** Uploads of a course that were begun in this browser and did not end. */
export function unfinished(courseId) {
  return Object.keys(localStorage).filter((key) => key.startsWith(`${PREFIX} ${courseId} `)).map((key) => JSON.parse(localStorage.getItem(key)));
}

/** Tells `change`; `state` is one of announcing, sending, pausing, paused, verifying, ready, failed. */
export class Upload extends EventTarget {
  #api;
  #file;
  #record;
  #ticket = null;
  #running = null;
  #stored = 0;
  #moving = new Map();
  state = "announcing";
  error = null;

  /** `record`: of `unfinished`, to go on with it; else `{courseId, title}`. */
  constructor(api, file, record) {
    super();
    this.#api = api;
    this.#file = file;
    this.#record = { key: crypto.randomUUID(), name: file.name, size: file.size, ...record };
  }

  get contentId() {
    return this.#record.contentId ?? null;
  }

  get title() {
    return this.#record.title;
  }

  get contentType() {
    return contentTypeOf(this.#file);
  }

  /** Bytes that are in the store, or on their way into it. */
  get sent() {
    return Math.min(this.#file.size, this.#stored + [...this.#moving.values()].reduce((sum, bytes) => sum + bytes, 0));
  }

  get size() {
    return this.#file.size;
  }

  /** Begins, or goes on; ends when it is ready, paused or failed. */
  async run() {
    this.#running = new AbortController();
    const { signal } = this.#running;
    this.error = null;
    try {
      if (this.#record.contentId) await this.#goOn(signal);
      else await this.#announce(signal);
      await this.#sendAll(signal);
      signal.throwIfAborted();
      await this.#complete(signal);
    } catch (error) {
      // What else is on its way stops too: going on begins with what has arrived.
      this.#running.abort();
      this.#moving.clear();
      if (error.name !== "AbortError") {
        this.error = error;
        // A refusal is the end of it; anything else may be tried again.
        if (error.code === "upload_failed") this.#end("failed");
        else this.#become("paused");
      } else if (this.state !== "failed") this.#become("paused");
    }
  }

  /** Stops sending. What is stored stays stored, and what has gone out as a whole still arrives. */
  pause() {
    this.#running?.abort();
    if (this.state === "sending") this.#become("pausing");
  }

  /** Gives it up, in the store too. */
  async abandon() {
    this.state = "failed";
    this.pause();
    if (this.contentId) await this.#api.ask("POST", `/content/${this.contentId}/upload/abort`, { accept: [404] });
    this.#end("failed");
  }

  async #announce(signal) {
    this.#become("announcing");
    // Kept before it is asked: asked again with the same key, there is still one content.
    this.#keep();
    const { courseId, title, key } = this.#record;
    const json = {
      courseId, title, contentType: this.contentType, sizeBytes: this.#file.size,
      ...(this.#file.size <= LARGEST_HASHED ? { checksumSha256: await sha256(this.#file) } : {}),
    };
    const { body } = await this.#api.ask("POST", "/content", { json, headers: { "Idempotency-Key": key }, signal });
    this.#record.contentId = body.id;
    this.#keep();
    this.#ticket = body.upload;
  }

  async #goOn(signal) {
    const { body } = await this.#api.ask("GET", `/content/${this.contentId}/upload`, { signal });
    this.#ticket = null;
    this.#stored = 0;
    if (body.state === "failed") {
      throw Object.assign(new Error(body.failureReason ?? "It was given up."), { code: "upload_failed", title: "The upload failed" });
    }
    if (body.state !== "uploading") {
      this.#stored = body.sizeBytes;
      return;
    }
    if (body.method === "multipart") this.#stored = Math.max(0, body.sizeBytes - missingBytes(body));
    this.#ticket = await this.#parts(signal);
  }

  async #parts(signal) {
    return (await this.#api.ask("POST", `/content/${this.contentId}/upload/parts`, { json: {}, signal })).body.upload;
  }

  async #sendAll(signal) {
    this.#become("sending");
    while (this.#ticket) {
      if (this.#ticket.method === "post") {
        const form = new FormData();
        for (const [name, value] of Object.entries(this.#ticket.fields)) form.set(name, value);
        form.set("file", this.#file);
        await this.#send("POST", this.#ticket.url, form, this.#file.size, signal);
        return;
      }
      const { partUrls, partSize } = this.#ticket;
      const parts = [...partUrls];
      const lane = async () => {
        for (let part = parts.shift(); part; part = parts.shift()) {
          const begin = (part.partNumber - 1) * partSize;
          await this.#send("PUT", part.url, this.#file.slice(begin, begin + part.sizeBytes), part.sizeBytes, signal);
        }
      };
      await this.#all(Array.from({ length: LANES }, lane));
      if (partUrls.length < PARTS_AT_ONCE) return;
      this.#ticket = await this.#parts(signal);
      if (!this.#ticket.partUrls.length) return;
    }
  }

  /** Waits for the end of each lane; the first that fails ends the others. */
  async #all(lanes) {
    let failure = null;
    const fail = (error) => { failure ??= error; this.#running.abort(); };
    await Promise.all(lanes.map((lane) => lane.catch(fail)));
    if (failure) throw failure;
  }

  /** One request to the store; `fetch` does not tell how much has gone out. */
  #send(method, url, body, bytes, signal) {
    signal.throwIfAborted();
    const id = {};
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      let isOut = false;
      let isSilent = false;
      let silence = null;
      // A pause does not throw away what only its answer is missing of; a store that says nothing does.
      const stop = () => { if (!isOut) request.abort(); };
      const listen = () => {
        clearTimeout(silence);
        silence = setTimeout(() => { isSilent = true; request.abort(); }, SILENCE_MS);
      };
      signal.addEventListener("abort", stop);
      request.upload.onload = () => { isOut = true; };
      request.upload.onprogress = ({ loaded }) => {
        listen();
        this.#moving.set(id, Math.min(loaded, bytes));
        this.#tell();
      };
      request.onloadend = () => {
        signal.removeEventListener("abort", stop);
        clearTimeout(silence);
        this.#moving.delete(id);
        if (request.status >= 200 && request.status < 300) {
          this.#stored += bytes;
          this.#tell();
          resolve();
        } else if (signal.aborted) reject(signal.reason);
        else {
          const why = isSilent ? "The store does not answer." : request.status ? `The store answered ${request.status}.` : "The store can not be reached.";
          reject(Object.assign(new Error(`${why} Nothing is lost: “Go on” sends what is missing.`), { title: "The upload was interrupted" }));
        }
      };
      listen();
      request.open(method, url);
      request.send(body);
    });
  }

  async #complete(signal) {
    this.#become("verifying");
    for (;;) {
      const { status, body } = await this.#api.ask("POST", `/content/${this.contentId}/upload/complete`, { signal });
      if (status !== 202 && body.state === "ready") {
        this.#end("ready");
        return;
      }
      await new Promise((next) => setTimeout(next, 1000));
      signal.throwIfAborted();
    }
  }

  #keep() {
    localStorage.setItem(this.#key(), JSON.stringify(this.#record));
  }

  #key() {
    return `${PREFIX} ${this.#record.courseId} ${this.#record.key}`;
  }

  #end(state) {
    localStorage.removeItem(this.#key());
    this.#become(state);
  }

  #become(state) {
    this.state = state;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

function missingBytes({ missing, partSize, partCount, sizeBytes }) {
  const last = sizeBytes - (partCount - 1) * partSize;
  return missing.reduce((sum, range) => {
    const whole = (range.last - range.first + 1) * partSize;
    return sum + (range.last === partCount ? whole - partSize + last : whole);
  }, 0);
}

/** What a browser does not know by a file's name, authors use all the same. */
function contentTypeOf(file) {
  if (file.type && file.type !== "text/markdown") return file.type;
  if (/\.(md|markdown)$/i.test(file.name)) return "text/markdown; charset=utf-8";
  return file.type || "application/octet-stream";
}

async function sha256(file) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return btoa(String.fromCharCode(...digest));
}
