// Keeps the pages for when the platform does not answer: a reload without a network shows them again.
//
// Only what the pages' own server gives: the pages, their files, and who the demo users are. What the
// services answer passes by (kept.js keeps what a learner needs of that). The network comes first, so
// that nobody sees an old page while there is a new one; what is kept is of one version, so that none
// runs with the scripts of another.

const FILES = "/-/files";
const SESSION = "/-/session";
const ASSETS = "/-/assets/";
const PAGES = ["/", "/traces", "/board"];
// Whose page it is: the same address may be another program's later.
const OURS = "Lyceum-Page";
const VERSIONS = "lyceum.pages ";
const USERS = "lyceum.users";

addEventListener("install", (event) => event.waitUntil(keep().then(() => skipWaiting())));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  const isOfPages = request.mode === "navigate" ? PAGES.includes(pathname) : pathname.startsWith(ASSETS) || pathname === SESSION;
  if (isOfPages) event.respondWith(answer(event, pathname));
});

async function answer(event, path) {
  const found = await fetch(event.request).catch(() => null);
  if (event.request.mode === "navigate" && found?.ok) {
    event.waitUntil(found.headers.has(OURS) ? keep().catch(() => {}) : leave());
  }
  if (found && found.status < 500) return found;
  return (await caches.match(path)) ?? found ?? Response.error();
}

/** All files of the version that is served now; those of another are forgotten. */
async function keep() {
  const { version, files } = await asked(FILES);
  const name = VERSIONS + version;
  const cache = await caches.open(name);
  if (!(await cache.match(files[0]))) await cache.addAll(files);
  await (await caches.open(USERS)).add(SESSION);
  for (const other of await caches.keys()) if (other.startsWith(VERSIONS) && other !== name) await caches.delete(other);
}

async function asked(path) {
  const found = await fetch(path, { cache: "no-store" });
  if (!found.ok) throw new Error(`${path} answered ${found.status}`);
  return found.json();
}

async function leave() {
  await registration.unregister();
  for (const name of await caches.keys()) if (name.startsWith(VERSIONS) || name === USERS) await caches.delete(name);
}
