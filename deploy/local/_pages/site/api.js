// One demo user's requests to the gateway, and what their failures mean to a person.

import { Kept } from "./kept.js";

const HINTS = {
  401: "Sign in again: choose the user once more.",
  403: "This user may not do that. Choose another one above.",
  404: "It may have been removed, or it is not published.",
  412: "Somebody else changed it meanwhile.",
  413: "Make it smaller.",
  429: "Wait a moment, then try again.",
  503: "The service is up but something below it is not. It recovers by itself; the board shows what it waits for.",
  504: "Try again in a moment.",
};

/** An answer that is not what was asked for (RFC 9457). */
export class Problem extends Error {
  constructor(status, document, headers) {
    const hint = HINTS[status] ?? (status >= 500 ? "Try again in a moment." : "");
    super([document?.detail ?? `The answer was ${status}.`, hint].filter(Boolean).join(" "));
    this.status = status;
    this.title = document?.title ?? "That did not work";
    this.code = document?.code ?? "";
    this.errors = document?.errors ?? [];
    this.etag = headers.get("ETag");
    this.retryAfterSeconds = Number(headers.get("Retry-After")) || null;
    this.traceId = traceOf(headers);
  }
}

/** No answer came at all. */
export class Unreachable extends Error {
  constructor(message = "The platform can not be reached from this device. What you do is kept here and sent later.", title = "Offline") {
    super(message);
    this.title = title;
    this.status = 0;
  }
}

export class Api {
  #user;
  #token = null;
  #onAnswer;
  #kept;
  /** How far this device's clock is behind the server's, in milliseconds. */
  clockSkew = 0;

  /** `onAnswer` is told the trace of each answer. */
  constructor(user, { onAnswer = () => {} } = {}) {
    this.#user = user;
    this.#onAnswer = onAnswer;
    this.#kept = new Kept(user);
  }

  /**
   * Asks; gives `{status, body, etag, traceId}`. Throws `Problem` and `Unreachable`.
   *
   * `accept` are statuses besides 2xx that are an answer too (304, 404 where that says something).
   */
  async ask(method, path, { json, body, headers = {}, accept = [], keepalive = false, signal } = {}) {
    const request = { method, headers: { ...headers }, keepalive, signal, cache: "no-store" };
    if (json !== undefined) {
      request.body = JSON.stringify(json);
      request.headers["Content-Type"] ??= "application/json";
    } else if (body !== undefined) {
      request.body = body;
    }
    let answer = await this.#send(path, request);
    if (answer.status === 401) {
      // A token is good for an hour, a page stays open for longer.
      this.#token = null;
      answer = await this.#send(path, request);
    }
    this.#learnClock(answer);
    const traceId = traceOf(answer.headers);
    if (traceId) this.#onAnswer(traceId);
    const isJson = answer.headers.get("Content-Type")?.includes("json");
    const document = isJson ? await answer.json() : null;
    if (!answer.ok && !accept.includes(answer.status)) {
      throw new Problem(answer.status, document, answer.headers);
    }
    return {
      status: answer.status,
      body: document,
      etag: answer.headers.get("ETag"),
      traceId,
    };
  }

  /** As `ask` by GET; where the platform can not be reached, what it said the last time (`isKept`). */
  async read(path, options) {
    const { body, isKept } = await this.keeping(path, async () => (await this.ask("GET", path, options)).body);
    return { body, isKept };
  }

  /** The same of anything that is made of answers, under a name. */
  async keeping(name, make) {
    try {
      const body = await make();
      this.#kept.put(name, body);
      return { body, isKept: false };
    } catch (error) {
      const body = error instanceof Unreachable ? await this.#kept.get(name) : null;
      if (body === null) throw error;
      return { body, isKept: true };
    }
  }

  /** The server's time as this device knows it, for what is recorded. */
  now() {
    return new Date(Date.now() + this.clockSkew);
  }

  async #send(path, request) {
    this.#token ??= accessToken(this.#user);
    try {
      request.headers.Authorization = `Bearer ${await this.#token}`;
      return await fetch(path, request);
    } catch (error) {
      this.#token = null;
      if (error.name === "AbortError" || error instanceof Problem) throw error;
      throw new Unreachable();
    }
  }

  #learnClock(answer) {
    const date = Date.parse(answer.headers.get("Date") ?? "");
    // The header has whole seconds: what is less than two of them is no difference.
    const skew = date - Date.now();
    if (!Number.isNaN(skew)) this.clockSkew = Math.abs(skew) < 2000 ? 0 : skew;
  }
}

/** The demo users. */
export async function session() {
  return (await plain("GET", "/-/session")).users;
}

async function accessToken(user) {
  return (await plain("POST", `/-/users/${user}/token`)).accessToken;
}

/** Asks the pages' own server. */
export async function plain(method, path, { signal, json } = {}) {
  const headers = json === undefined ? {} : { "Content-Type": "application/json" };
  const body = json === undefined ? undefined : JSON.stringify(json);
  let answer;
  try {
    answer = await fetch(path, { method, signal, headers, body, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  const document = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, document, answer.headers);
  return document;
}

function traceOf(headers) {
  return headers.get("X-Amzn-Trace-Id")?.match(/Root=(1-[0-9a-f]{8}-[0-9a-f]{24})/)?.[1] ?? null;
}
