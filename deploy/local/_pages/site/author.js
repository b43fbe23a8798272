// An author's page: edit a course beside other authors, upload what it is made of, publish it.

import { fill, h, isFocusLost, problemBox, redraw } from "./dom.js";
import { merge, same } from "./merge.js";
import { Upload, unfinished } from "./upload.js";

const FIELDS = {
  title: "Title", slug: "Address (slug)", shortDescription: "Short description", description: "Description",
  language: "Language", level: "Level", tags: "Tags, with commas", instructors: "Instructors, with commas", outline: "Outline",
};
const LEVELS = ["beginner", "intermediate", "advanced"];
const TYPES = ["video", "reading", "quiz", "assignment"];
const LISTS = new Set(["tags", "instructors"]);
const MERGE_PATCH = { "Content-Type": "application/merge-patch+json" };
const EMPTY = { title: "", slug: "", shortDescription: "", description: "", language: "en", level: "beginner", tags: [], instructors: [], outline: [] };

/** Shows a course for editing, or an empty one; see `showCatalog`. */
export function showAuthor(main, app, query) {
  const aborting = new AbortController();
  const { signal } = aborting;
  const uploads = new Set();
  const courseId = query.get("edit");
  const draftKey = `lyceum.draft ${courseId ?? "new"}`;
  let base = null; // what the service has, as far as this page knows
  let etag = null;
  let status = "draft";
  let values = null; // what the author has made of it

  const told = h("div", { class: "stack" });
  const form = h("form", { id: "course", class: "card stack", onsubmit: (event) => { event.preventDefault(); save(); } });
  const files = h("section", { class: "card stack", "aria-label": "Files" });
  const actions = h("div", { class: "row middle actions" });

  async function load() {
    main.replaceChildren(h("h1", null, "Opening the course …"));
    try {
      if (courseId) take(await app.api.ask("GET", `/courses/${encodeURIComponent(courseId)}`, { signal }));
      else base = structuredClone(EMPTY);
    } catch (error) {
      if (error.name !== "AbortError") main.replaceChildren(h("h1", null, "Edit a course"), problemBox(error, load));
      return;
    }
    values = structuredClone(base);
    const draft = JSON.parse(localStorage.getItem(draftKey) ?? "null");
    if (draft) {
      values = draft.values;
      tell("notice", "What you had changed and not saved is still here.", discardButton());
      // Made on another version than the one there is now: that is a conflict like any other.
      if (courseId && draft.etag !== etag) return resolve(draft.base);
    }
    draw();
  }

  function take({ body, etag: tag }) {
    etag = tag;
    status = body.status;
    base = Object.fromEntries(Object.keys(FIELDS).map((name) => [name, body[name]]));
  }

  function changed() {
    return Object.keys(FIELDS).filter((name) => !same(base[name], values[name]));
  }

  /** What is not saved outlives the page. */
  function keep() {
    if (changed().length) localStorage.setItem(draftKey, JSON.stringify({ etag, base, values }));
    else localStorage.removeItem(draftKey);
    drawActions();
  }

  function tell(kind, ...content) {
    told.replaceChildren(h("div", { class: kind, role: kind === "problem" ? "alert" : "status", tabindex: -1 }, h("p", null, ...content)));
    if (isFocusLost()) told.firstChild.focus();
  }

  function discardButton() {
    return h("button", { type: "button", onclick: () => { values = structuredClone(base); keep(); told.replaceChildren(); draw(); main.querySelector("h1").focus(); } }, "Discard my changes");
  }

  function draw() {
    redraw(main, drawAll);
  }

  function drawAll() {
    main.replaceChildren(h("div", { class: "stack" },
      h("p", { class: "small" }, courseId && [h("a", { href: `/?course=${courseId}`, "data-route": true }, "Open this course"), " · "], h("a", { href: "/", "data-route": true }, "All courses")),
      h("h1", { dir: "auto", tabindex: -1 }, courseId ? base.title : "A new course"),
      told, form, courseId && files, actions));
    drawForm();
    if (courseId) drawFiles();
    drawActions();
  }

  function drawForm() {
    form.replaceChildren(
      h("div", { class: "row" }, text("title", { required: true, maxlength: 200 }), text("slug", { required: true, maxlength: 100, pattern: "[a-z0-9]+(-[a-z0-9]+)*", title: "Small letters and digits, words joined by hyphens" })),
      text("shortDescription", { required: true, maxlength: 500 }),
      area("description"),
      h("div", { class: "row" }, text("language", { required: true, maxlength: 35 }), select("level", LEVELS), text("tags"), text("instructors")),
      h("h2", { id: "outline-title", tabindex: -1 }, "Outline"), h("div", { class: "stack", id: "outline" }));
    drawOutline();
  }

  function text(name, attributes = {}) {
    const list = LISTS.has(name);
    return field(name, h("input", { id: `f-${name}`, dir: "auto", value: list ? values[name].join(", ") : values[name], ...attributes,
      oninput: ({ target }) => { values[name] = list ? target.value.split(",").map((one) => one.trim()).filter(Boolean) : target.value; keep(); } }));
  }

  function area(name) {
    const element = h("textarea", { id: `f-${name}`, rows: 5, dir: "auto", required: true, maxlength: 50000, oninput: ({ target }) => { values[name] = target.value; keep(); } });
    element.value = values[name];
    return field(name, element);
  }

  function select(name, options) {
    return field(name, h("select", { id: `f-${name}`, onchange: ({ target }) => { values[name] = target.value; keep(); } },
      options.map((one) => h("option", { value: one, selected: one === values[name] }, one))));
  }

  function field(name, element) {
    return h("div", { class: "field grow" }, h("label", { for: `f-${name}` }, FIELDS[name]), element);
  }

  /** Where the focus was in it and what had it is gone, the first of `next` that can have it has it. */
  function drawOutline(next = []) {
    const place = document.getElementById("outline");
    if (!place) return;
    const isHere = place.contains(document.activeElement);
    redraw(place, () => fillOutline(place));
    if (!isHere) return;
    for (const id of [...next, "outline-title"]) {
      if (!isFocusLost()) return;
      document.getElementById(id)?.focus();
    }
  }

  function fillOutline(place) {
    const change = (edit, next) => () => { edit(); keep(); drawOutline(next); };
    // At the end of its way it can't go on in that direction: only back.
    const move = (list, at, by) => change(() => list.splice(at + by, 0, ...list.splice(at, 1)), [`up-${keyOf(list[at])}`, `down-${keyOf(list[at])}`]);
    const remove = (list, at, edit) => change(edit, [list[at + 1], list[at - 1]].filter(Boolean).map((one) => `remove-${keyOf(one)}`));
    const { outline } = values;
    place.replaceChildren(
      ...outline.map((section, at) => h("fieldset", { class: "section" },
        h("legend", null, `Section ${at + 1}`),
        h("div", { class: "row" },
          input("Title of the section", section),
          h("div", { class: "row tools" }, mover("section", outline, at, move),
            h("button", { type: "button", id: `remove-${keyOf(section)}`, class: "danger", "aria-label": `Remove the section “${section.title}”`, onclick: remove(outline, at, () => outline.splice(at, 1)) }, "Remove"))),
        h("ol", { class: "items" }, section.items.map((item, index) => h("li", { class: "row" },
          input(`Title of item ${index + 1}`, item),
          h("div", { class: "field" }, h("label", { for: `type-${keyOf(item)}` }, "Type"),
            h("select", { id: `type-${keyOf(item)}`, onchange: ({ target }) => { item.type = target.value; keep(); } },
              TYPES.map((type) => h("option", { value: type, selected: type === item.type }, type)))),
          h("label", { class: "check" }, h("input", { type: "checkbox", id: `required-${keyOf(item)}`, checked: item.required, onchange: ({ target }) => { item.required = target.checked; keep(); } }), "required"),
          h("div", { class: "row tools" }, mover("item", section.items, index, move),
            h("button", { type: "button", id: `remove-${keyOf(item)}`, class: "danger", "aria-label": `Remove ${item.title}`, onclick: remove(section.items, index, () => { section.items.splice(index, 1); if (!section.items.length) outline.splice(at, 1); }) }, "Remove"))))))),
      outline.length ? "" : h("p", { class: "soft" }, "Nothing yet. Upload a file below, and it becomes an item."));
  }

  function input(label, object) {
    const id = `title-${keyOf(object)}`;
    return h("div", { class: "field grow" }, h("label", { for: id }, label),
      h("input", { id, dir: "auto", value: object.title, required: true, maxlength: 200, oninput: ({ target }) => { object.title = target.value; keep(); } }));
  }

  function mover(what, list, at, move) {
    return [
      h("button", { type: "button", id: `up-${keyOf(list[at])}`, "aria-label": `Move the ${what} “${list[at].title}” up`, disabled: at === 0, onclick: move(list, at, -1) }, "↑"),
      h("button", { type: "button", id: `down-${keyOf(list[at])}`, "aria-label": `Move the ${what} “${list[at].title}” down`, disabled: at === list.length - 1, onclick: move(list, at, 1) }, "↓"),
    ];
  }

  function drawActions() {
    redraw(actions, fillActions);
  }

  function fillActions() {
    const isChanged = changed().length > 0;
    fill(actions,
      // Not disabled: who has just saved stays on it.
      h("button", { form: "course", id: "save", class: "main", "aria-disabled": String(!isChanged) }, courseId ? "Save" : "Create the course"),
      courseId && status !== "published" && h("button", { type: "button", id: "publish", disabled: isChanged, onclick: () => act("publish") }, "Publish"),
      courseId && status === "published" && h("button", { type: "button", id: "archive", disabled: isChanged, onclick: () => act("archive") }, "Archive"),
      h("span", { class: "soft small", role: "status" }, isChanged ? "Not saved yet; kept on this device." : courseId ? `Saved. It is ${status === "draft" ? "a draft" : status}.` : ""));
  }

  async function save() {
    const names = changed();
    if (!names.length) return;
    const patch = Object.fromEntries(names.map((name) => [name, values[name]]));
    try {
      if (!courseId) {
        const key = (sessionStorage["lyceum.new"] ??= crypto.randomUUID());
        const { body } = await app.api.ask("POST", "/courses", { json: values, headers: { "Idempotency-Key": key } });
        sessionStorage.removeItem("lyceum.new");
        localStorage.removeItem(draftKey);
        app.go(`/?edit=${body.id}`);
        return;
      }
      take(await app.api.ask("PATCH", `/courses/${courseId}`, { json: patch, headers: { ...MERGE_PATCH, "If-Match": etag } }));
      values = structuredClone(base);
      keep();
      draw();
      tell("notice saved", "Saved.");
    } catch (error) {
      if (error.status === 412) await meet();
      else if (error.name !== "AbortError") told.replaceChildren(problemBox(error));
      told.scrollIntoView({ block: "nearest" });
    }
  }

  /** Somebody else was faster: their version, and ours on top of it. */
  async function meet() {
    const before = base;
    try {
      take(await app.api.ask("GET", `/courses/${courseId}`, { signal }));
    } catch (error) {
      told.replaceChildren(problemBox(error, meet));
      return;
    }
    resolve(before);
  }

  /** What only one side has changed is taken from that side; the rest is for the author to decide. */
  function resolve(before) {
    const mine = values;
    const { merged, conflicts, theirs } = merge(before, mine, base, Object.keys(FIELDS));
    values = structuredClone(merged);
    keep();
    draw();
    const others = theirs.map((name) => FIELDS[name]).join(", ");
    if (!conflicts.length) {
      tell("notice", `Another author has changed this course meanwhile (${others || "nothing that you can see here"}). Their changes are in, yours are on top. Look it over and save again.`);
      return;
    }
    told.replaceChildren(h("div", { class: "problem", role: "alert", tabindex: -1 },
      h("p", null, h("strong", null, "You and another author have changed the same."), " Choose for each, then save again. Nothing of yours is lost."),
      h("ul", { class: "conflicts" }, conflicts.map((name) => h("li", null,
        h("fieldset", null, h("legend", null, FIELDS[name]),
          choice(name, "Mine", mine[name], true), choice(name, "Theirs", base[name], false)))))));
    // There is something to decide before anything else.
    told.firstChild.focus();
  }

  function choice(name, label, value, isChosen) {
    return h("label", { class: "check" },
      h("input", { type: "radio", name: `conflict-${name}`, checked: isChosen, onchange: () => { values[name] = structuredClone(value); keep(); drawForm(); } }),
      h("span", null, h("strong", null, label), ": ", h("span", { dir: "auto" }, shown(value))));
  }

  async function act(what) {
    try {
      take(await app.api.ask("POST", `/courses/${courseId}/${what}`, { headers: { "If-Match": etag } }));
      values = structuredClone(base);
      keep();
      draw();
      tell("notice saved", what === "publish" ? "Published: learners can open it now." : "Archived: who is in the middle of it can finish it.");
    } catch (error) {
      if (error.status === 412) await meet();
      else told.replaceChildren(problemBox(error));
    }
  }

  function drawFiles() {
    const list = h("ul", { class: "uploads" });
    const choose = h("input", { id: "file", type: "file", onchange: () => { if (choose.files[0]) begin(choose.files[0], { courseId, title: titleOf(choose.files[0]) }); choose.value = ""; } });
    files.replaceChildren(h("h2", null, "Files"),
      h("div", { class: "field" }, h("label", { for: "file" }, "Upload a video, a reading (Markdown) or a quiz (JSON)"), choose), list);
    for (const record of unfinished(courseId)) {
      if (![...uploads].some((upload) => upload.contentId && upload.contentId === record.contentId)) list.append(interrupted(record));
    }
    for (const upload of uploads) list.append(row(upload));

    function begin(file, record) {
      const upload = new Upload(app.api, file, record);
      uploads.add(upload);
      const item = row(upload);
      list.append(item);
      if (isFocusLost()) item.focus();
      upload.run();
    }

    function interrupted(record) {
      const again = h("input", { type: "file", "aria-label": `Choose ${record.name} again`, onchange: () => {
        const file = again.files[0];
        if (!file) return;
        if (file.name !== record.name || file.size !== record.size) {
          note.textContent = `That is another file. It was ${record.name}, with ${record.size} bytes.`;
          return;
        }
        item.remove();
        begin(file, record);
      } });
      const note = h("span", { class: "bad small", role: "status" });
      const item = h("li", { class: "notice" }, h("p", null, `The upload of ${record.name} was interrupted. What has arrived is kept; choose the file again to go on. `, again, note));
      return item;
    }
  }

  function row(upload) {
    const bar = h("progress", { max: upload.size, value: 0, "aria-label": `Upload of ${upload.title}` });
    const state = h("span", { class: "small", role: "status" });
    const pause = h("button", { type: "button", onclick: () => (upload.state === "paused" ? upload.run() : upload.pause()) });
    const abandon = h("button", { type: "button", class: "danger", onclick: () => upload.abandon() }, "Give up");
    const item = h("li", { "data-upload": upload.title, tabindex: -1 }, h("div", { class: "row middle" }, h("strong", null, upload.title), bar, state, pause, abandon));
    const hide = (button, isHidden) => {
      if (isHidden && document.activeElement === button) item.focus();
      button.hidden = isHidden;
    };
    let isAdded = false;
    const update = () => {
      bar.value = upload.state === "ready" ? upload.size : upload.sent;
      const percent = upload.size ? Math.floor((100 * upload.sent) / upload.size) : 100;
      state.textContent = { announcing: "Preparing …", sending: `${percent} % sent`, pausing: "Pausing …", paused: `Paused at ${percent} %`, verifying: "Being verified …", ready: "Ready", failed: "Given up" }[upload.state]
        + (upload.error ? `. ${upload.error.message}` : "");
      pause.textContent = upload.state === "paused" ? "Go on" : "Pause";
      hide(pause, !["sending", "pausing", "paused"].includes(upload.state));
      hide(abandon, ["ready", "failed"].includes(upload.state));
      if (upload.state === "ready" && !isAdded) {
        isAdded = true;
        addItem(upload);
      }
    };
    upload.addEventListener("change", update, { signal });
    update();
    return item;
  }

  /** What was uploaded becomes an item of the outline; the author saves it. */
  function addItem(upload) {
    const known = values.outline.some((section) => section.items.some((item) => item.contentId === upload.contentId));
    if (known) return;
    if (!values.outline.length) values.outline.push({ id: `section-${crypto.randomUUID().slice(0, 8)}`, title: "First section", items: [] });
    const type = upload.contentType.startsWith("video/") ? "video" : upload.contentType.startsWith("application/json") ? "quiz" : "reading";
    values.outline.at(-1).items.push({ contentId: upload.contentId, title: upload.title, type, durationSeconds: null, required: true, weight: 1 });
    keep();
    drawOutline();
  }

  load();
  return {
    end() {
      aborting.abort();
      for (const upload of uploads) upload.pause();
    },
  };
}

/** What a section or an item is known by, wherever it stands. */
function keyOf({ id, contentId }) {
  return id ? `section-${id}` : `item-${contentId}`;
}

function titleOf(file) {
  return file.name.replace(/\.[^.]+$/, "").replaceAll(/[-_]+/g, " ").trim() || file.name;
}

function shown(value) {
  if (!Array.isArray(value)) return value || "(empty)";
  if (typeof value[0] === "object") return value.map((section) => `${section.title}: ${section.items.map((item) => item.title).join(", ")}`).join("; ");
  return value.join(", ") || "(none)";
}
