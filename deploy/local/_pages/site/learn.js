// The learner's page: who is learning, which view the address names, and what has not been sent yet.

import { Api, session } from "./api.js";
import { showAuthor } from "./author.js";
import { showCatalog } from "./catalog.js";
import { showCourse } from "./course.js";
import { deviceId } from "./device.js";
import { h, keepFocus, problemBox } from "./dom.js";
import { keepPages } from "./kept.js";
import { Progress } from "./progress.js";

const USER = "lyceum.user";
const main = document.getElementById("main");
const sync = document.getElementById("sync");
const choice = document.getElementById("user");
document.getElementById("device").textContent = deviceId;

let app = null;
let view = null;

async function begin() {
  let users;
  try {
    users = await session();
  } catch (error) {
    // Anew from the beginning: what the page may reach was said when it was loaded.
    main.replaceChildren(h("h1", null, "Lyceum"), problemBox(error, () => location.reload()));
    return;
  }
  choice.replaceChildren(...users.map((user) => h("option", { value: user.name }, user.name)));
  choice.onchange = () => {
    signIn(users.find((user) => user.name === choice.value));
    go("/");
  };
  const known = sessionStorage.getItem(USER) ?? localStorage.getItem(USER);
  signIn(users.find((user) => user.name === known) ?? users[0]);
  show();
}

function signIn(user) {
  app?.progress.stop();
  choice.value = user.name;
  // A tab keeps its user through a reload; a new tab begins with the last one chosen.
  sessionStorage.setItem(USER, user.name);
  localStorage.setItem(USER, user.name);
  const api = new Api(user.name, { onAnswer: showTrace });
  app = { api, user, progress: new Progress(api, user.name), go };
  app.progress.addEventListener("change", showSync);
  app.progress.addEventListener("refused", ({ detail }) => {
    main.prepend(h("p", { class: "notice", role: "alert" }, `An update was refused and is not kept: ${detail.detail ?? detail.message}`));
  });
  addEventListener("online", showSync);
  showSync();
  app.progress.flush();
}

function showSync() {
  const waiting = app.progress.waiting;
  const kept = `${waiting} update${waiting === 1 ? "" : "s"} kept on this device`;
  sync.dataset.state = waiting ? "waiting" : "saved";
  if (navigator.onLine) sync.textContent = waiting ? kept : "All is saved";
  else sync.textContent = waiting ? `Offline, ${kept}` : "Offline";
}

/** Where to see what became of the request that was answered last. */
function showTrace(traceId) {
  const link = document.getElementById("last");
  link.href = `/traces?id=${traceId}`;
  link.hidden = false;
}

function show({ isFollowing = false } = {}) {
  const query = new URLSearchParams(location.search);
  if (isFollowing && view?.follow?.(query)) return;
  view?.end?.();
  document.title = "Learn · Lyceum";
  if (query.has("edit") || query.has("new")) view = showAuthor(main, app, query);
  else if (query.has("course")) view = showCourse(main, app, query);
  else view = { end: showCatalog(main, app, query) };
}

/** Goes to a place of this page. */
function go(address) {
  history.pushState(null, "", address);
  show({ isFollowing: true });
  if (!new URLSearchParams(location.search).has("item")) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

addEventListener("popstate", () => show({ isFollowing: true }));
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-route]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});

keepPages();
keepFocus(main);
begin();
