// One course: its outline with what is done, and one of its contents.

import { Unreachable } from "./api.js";
import { clockText, directionOf, h, problemBox } from "./dom.js";
import { markdown } from "./markdown.js";
import { Video } from "./video.js";

// Of a video that plays, the position is recorded that often.
const RECORDED_MS = 10_000;
// A video counts as seen without its last seconds.
const SEEN = 0.95;
// As another device of the same learner would: by asking now and then.
const LOOK_AGAIN_MS = 10_000;
const LARGEST_TEXT = 2 * 1024 * 1024;
const TEXT_WITHIN_MS = 15_000;
const KINDS = { video: "video", reading: "reading", quiz: "quiz", assignment: "assignment" };

/** Shows a course in `main`, and of it the content that the address names; see `showCatalog`. */
export function showCourse(main, app, query) {
  const aborting = new AbortController();
  const { signal } = aborting;
  const courseId = query.get("course");
  let course = null;
  let links = new Map();
  let close = () => {};

  async function load() {
    main.replaceChildren(h("h1", null, "Opening the course …"));
    try {
      const [opened] = await Promise.all([
        app.api.read(`/courses/${encodeURIComponent(courseId)}`, { signal }),
        // A course can be learnt without what was recorded of it before; that is looked up again.
        app.progress.load(courseId).catch(() => {}),
      ]);
      course = opened.body;
    } catch (error) {
      if (error.name !== "AbortError") main.replaceChildren(h("h1", null, "Course"), problemBox(error, load));
      return;
    }
    draw();
  }

  const percent = h("progress", { max: 100, value: 0 });
  const percentText = h("span", { class: "small", role: "status" });
  const goOn = h("a", { href: "#", "data-route": true });
  const content = h("section", { "aria-live": "off" });

  function draw() {
    document.title = `${course.title} · Lyceum`;
    const isAuthor = app.user.groups.includes("authors");
    percent.setAttribute("aria-label", `Done of ${course.title}`);
    main.replaceChildren(
      h("p", { class: "small" }, h("a", { href: "/", "data-route": true }, "All courses"),
        isAuthor && [" · ", h("a", { href: `/?edit=${course.id}`, "data-route": true }, "Edit this course")]),
      h("h1", { lang: course.language, dir: "auto", tabindex: -1 }, course.title),
      h("p", { class: "soft", lang: course.language, dir: "auto" }, course.shortDescription),
      h("div", { class: "row middle course-head" }, percent, percentText, goOn),
      h("div", { class: "course" }, content, outline()));
    showContent();
    update();
  }

  function outline() {
    links = new Map();
    return h("nav", { class: "card outline", "aria-label": "Outline" }, h("h2", null, "Outline"),
      course.outline.map((section) => h("section", { dir: directionOf(course.language) },
        h("h3", { lang: course.language, dir: "auto" }, section.title),
        h("ol", null, section.items.map((item) => {
          const mark = h("span", { class: "mark" });
          const link = h("a", { href: address(item.contentId), "data-route": true, "data-item": item.contentId },
            mark, h("span", { lang: course.language, dir: "auto" }, item.title),
            h("span", { class: "kind", dir: "ltr" }, kindOf(item)));
          links.set(item.contentId, { link, mark });
          return h("li", null, link);
        })))));
  }

  function address(contentId) {
    return `/?course=${courseId}&item=${contentId}`;
  }

  /** The content that the address names, or that one goes on with. */
  function showContent() {
    close();
    const wanted = new URLSearchParams(location.search).get("item");
    const all = course.outline.flatMap((section) => section.items);
    const { resume, done } = app.progress.of(course);
    const item = all.find((one) => one.contentId === wanted)
      ?? all.find((one) => one.contentId === resume?.contentId)
      ?? all.find((one) => !done.has(one.contentId)) ?? all[0];
    for (const [id, { link }] of links) {
      if (id === item?.contentId) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!item) {
      content.replaceChildren(h("p", { class: "notice" }, "This course has no content yet."));
      return;
    }
    close = showItem(content, app, course, item, signal);
  }

  function update() {
    if (!course) return;
    const standing = app.progress.of(course);
    const all = course.outline.flatMap((section) => section.items);
    percent.value = standing.percent;
    percentText.textContent = `${standing.percent} % done, ${standing.done.size} of ${all.length}`
      + (standing.isPending ? ", not all of it sent yet" : "");
    for (const item of all) {
      const isDone = standing.done.has(item.contentId);
      const { link, mark } = links.get(item.contentId);
      if (link.dataset.done === String(isDone)) continue;
      link.dataset.done = String(isDone);
      mark.replaceChildren(isDone ? "✓" : "", h("span", { class: "visually-hidden" }, isDone ? "Done: " : ""));
    }
    const resume = all.find((item) => item.contentId === standing.resume?.contentId);
    goOn.hidden = !resume;
    if (resume) {
      const at = standing.resume.positionSeconds;
      goOn.href = address(resume.contentId);
      goOn.textContent = `Go on with “${resume.title}”${at ? ` at ${clockText(at)}` : ""}`;
    }
  }

  const look = () => document.visibilityState === "visible" && navigator.onLine && course && app.progress.load(courseId).catch(() => {});
  const looking = setInterval(look, LOOK_AGAIN_MS);
  document.addEventListener("visibilitychange", look, { signal });
  addEventListener("focus", look, { signal });
  app.progress.addEventListener("change", update, { signal });
  load();

  return {
    end() {
      aborting.abort();
      clearInterval(looking);
      close();
    },
    /** Another content of the same course: the rest stays where it is. */
    follow(next) {
      if (next.get("course") !== courseId || !course) return false;
      showContent();
      return true;
    },
  };
}

function kindOf(item) {
  const parts = [KINDS[item.type], item.durationSeconds ? clockText(item.durationSeconds) : null, item.required ? null : "optional"];
  return parts.filter(Boolean).join(", ");
}

/** Shows one content in `place`; gives a function that ends it. */
function showItem(place, app, course, item, courseSignal) {
  const aborting = new AbortController();
  const signal = AbortSignal.any([courseSignal, aborting.signal]);
  const id = item.contentId;
  const body = h("div");
  const done = h("button", { type: "button", class: "main", onclick: () => finish() });
  const nextLink = nextOf(course, item);
  let video = null;

  place.replaceChildren(
    h("h2", { lang: course.language, dir: "auto" }, item.title), body,
    h("div", { class: "row middle" }, done,
      nextLink && h("a", { href: `/?course=${course.id}&item=${nextLink.contentId}`, "data-route": true }, `Next: ${nextLink.title}`)));

  function showDone() {
    const isDone = app.progress.of(course).done.has(id);
    done.textContent = isDone ? "Done" : "Mark as done";
    done.disabled = isDone;
  }

  function finish() {
    app.progress.record(course.id, `done:${id}`, {
      items: { [id]: { completed: true } },
      ...(video ? {} : { resume: { contentId: id, positionSeconds: 0 } }),
    });
  }

  async function locate(rendition) {
    const query = rendition === "original" ? "" : `?rendition=${encodeURIComponent(rendition)}`;
    const { body: found } = await app.api.ask("GET", `/content/${id}${query}`, { signal });
    return { ...found, refreshInMs: Date.parse(found.refreshAfter) - app.api.now().getTime() };
  }

  async function open() {
    body.replaceChildren(item.type === "video" ? h("div", { class: "stage" }) : h("div", { class: "reading", "aria-busy": true }));
    try {
      if (item.type === "video") await openVideo();
      else await openText();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.code === "content_not_ready") error.title = "The author has not finished uploading this";
      body.replaceChildren(problemBox(error, open));
    }
  }

  async function openVideo() {
    const stage = body.firstChild;
    video = new Video(locate, stage);
    const held = h("div", { class: "held" });
    body.append(held);
    const at = app.progress.of(course).items.get(id)?.positionSeconds ?? 0;
    let recorded = performance.now();
    const record = (leaving = false) => {
      const element = video.element;
      if (!element?.duration) return;
      const positionSeconds = Math.round(element.currentTime * 1000) / 1000;
      const fraction = Math.min(1, Math.round((element.currentTime / element.duration) * 1e4) / 1e4);
      recorded = performance.now();
      app.progress.record(course.id, `position:${id}`, {
        resume: { contentId: id, positionSeconds },
        items: { [id]: { positionSeconds, fraction, ...(fraction >= SEEN ? { completed: true } : {}) } },
      }, { leaving });
    };
    video.addEventListener("progress", ({ detail }) => {
      const isDue = performance.now() - recorded >= RECORDED_MS;
      if (detail === "timeupdate" ? isDue && !video.element.paused : detail === "pause" || !video.element.paused) record();
    }, { signal });
    video.addEventListener("ended", () => record(), { signal });
    video.addEventListener("held", ({ detail }) => held.replaceChildren(waiting(detail, () => video.retry())), { signal });
    video.addEventListener("restored", () => {
      if (held.contains(document.activeElement)) video.element.focus();
      held.replaceChildren();
    }, { signal });
    addEventListener("pagehide", () => video.element && !video.element.paused && record(true), { signal });
    signal.addEventListener("abort", () => {
      if (video.element && !video.element.paused) record();
      video.close();
    });
    const source = await video.open(at);
    if (source.renditions.length > 1) {
      body.append(h("div", { class: "row middle" }, h("label", { for: "rendition" }, "Rendition"),
        h("select", { id: "rendition", onchange: (event) => video.choose(event.target.value) },
          source.renditions.map((one) => h("option", { value: one.name }, one.height ? `${one.name} (${one.width} × ${one.height})` : one.name)))));
    }
  }

  async function openText() {
    const { body: found } = await app.api.keeping(`/content/${id}`, text);
    if (!isShown(found)) {
      body.replaceChildren(h("p", null, h("a", { href: found.url, rel: "noreferrer" }, `Open “${item.title}”`), ` (${found.contentType})`));
      return;
    }
    const isQuiz = found.contentType.startsWith("application/json");
    body.replaceChildren(isQuiz ? quiz(found.text, course, finish) : h("div", { class: "reading card", lang: course.language, dir: "auto" }, markdown(found.text, item.title)));
  }

  /** The content's answer, and of a text what it says. */
  async function text() {
    const found = await locate("original");
    if (!isShown(found)) return found;
    try {
      const answer = await fetch(found.url, { signal: AbortSignal.any([signal, AbortSignal.timeout(TEXT_WITHIN_MS)]), credentials: "omit" });
      if (answer.ok) return { ...found, text: await answer.text() };
    } catch (error) {
      if (signal.aborted) throw error;
    }
    // Read before on this device, it is there all the same.
    throw new Unreachable("Its store does not give it out. Try again in a moment; nothing that you did is lost.", "The content is out of reach");
  }

  app.progress.addEventListener("change", showDone, { signal });
  showDone();
  open();
  return () => aborting.abort();
}

/** What a video waits for, and what can be done: nothing has to be. */
function waiting(error, again) {
  return h("div", { class: "problem", role: "alert" },
    h("p", null, h("strong", null, "The video waits for its store"), `. ${error.message} It is asked again and again, and the video goes on here by itself; where you are is kept.`),
    h("p", null, h("button", { type: "button", onclick: again }, "Ask again now")));
}

function isShown({ sizeBytes, contentType }) {
  return sizeBytes <= LARGEST_TEXT && /^(text\/|application\/json)/.test(contentType);
}

function nextOf(course, item) {
  const all = course.outline.flatMap((section) => section.items);
  return all[all.findIndex((one) => one.contentId === item.contentId) + 1] ?? null;
}

/** The questions of a quiz; all of them right, and it is done. */
function quiz(text, course, finish) {
  let questions;
  try {
    ({ questions } = JSON.parse(text));
    questions.every((question) => question.choices.length);
  } catch {
    return h("pre", { class: "reading card", tabindex: 0 }, text);
  }
  const verdict = h("p", { role: "status" });
  const check = (event) => {
    event.preventDefault();
    const answers = new FormData(event.target);
    const right = questions.filter((question, index) => answers.get(`q${index}`) === String(question.answer)).length;
    verdict.textContent = right === questions.length ? "All right." : `${right} of ${questions.length} right. Look again.`;
    if (right === questions.length) finish();
  };
  return h("form", { class: "quiz card reading", onsubmit: check },
    questions.map((question, index) => h("fieldset", null,
      h("legend", { lang: course.language, dir: "auto" }, question.prompt),
      question.choices.map((choice, number) => h("label", { lang: course.language, dir: "auto" },
        h("input", { type: "radio", name: `q${index}`, value: number, required: true }), choice)))),
    h("button", null, "Check the answers"), verdict);
}
