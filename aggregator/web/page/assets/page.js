// Keeps what is shown up to date: nothing here is needed to read the page. When a finding appears, changes or ends, the
// page is asked for again, and only what differs is put in its place, so that focus, scroll and what is open stay.

const root = document.body.dataset.root;
const lost = document.getElementById("lost");
const news = document.getElementById("news");
const SETTLE_MS = 400; // events come together: one look for all of them
const REST_MS = 2000; // between two looks, however much happens
const TURN_MS = 15000; // clocks and figures move without any event
const RETRY_MS = 5000;

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id || "" : "");
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/** Make `have` like `want`, keeping every element that stands for the same thing. */
function become(have, want) {
  if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.data !== want.data) have.data = want.data;
    return;
  }
  for (const { name } of [...have.attributes]) {
    if (!want.hasAttribute(name) && !(name === "open" && have.nodeName === "DETAILS")) have.removeAttribute(name);
  }
  for (const { name, value } of want.attributes) {
    if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  const keyed = new Map();
  for (const child of have.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = have.firstChild;
  for (const next of [...want.childNodes]) {
    const known = keyOf(next) ? keyed.get(keyOf(next)) : at && !keyOf(at) ? at : null;
    if (known && alike(known, next)) {
      if (known === at) at = at.nextSibling;
      else have.insertBefore(known, at);
      become(known, next);
    } else {
      have.insertBefore(document.importNode(next, true), at);
    }
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

/** Put a page that came in the place of this one, part by part. */
function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const focused = document.activeElement;
  const before = document.getElementById("headline")?.textContent;
  for (const want of fresh.querySelectorAll("[data-live]")) {
    const have = document.getElementById(want.id);
    if (have) become(have, want);
    else missing(want, fresh);
  }
  for (const have of document.querySelectorAll("[data-live]")) if (!fresh.getElementById(have.id)) have.remove();
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  else if (focused && !focused.isConnected) document.getElementById("main").focus({ preventScroll: true });
  const after = document.getElementById("headline")?.textContent;
  if (before !== after) news.textContent = after ?? "";
  document.title = fresh.title;
}

/** A part that was not there before comes after the one that it follows. */
function missing(want, fresh) {
  const parts = [...fresh.querySelectorAll("[data-live]")];
  const previous = parts.slice(0, parts.indexOf(want)).reverse().find((each) => document.getElementById(each.id));
  if (previous) document.getElementById(previous.id).after(document.importNode(want, true));
}

let tag = "";
let last = 0;
let waiting = 0;
let since = null;

function told() {
  since = null;
  lost.hidden = true;
}

function silent() {
  since ??= new Date();
  const at = since.toISOString().slice(11, 19);
  lost.textContent = `Connection lost since ${at} UTC: what is shown is as it was then.`;
  lost.hidden = false;
}

async function look() {
  waiting = 0;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 401 || answer.status === 403 || answer.redirected) return location.reload();
    if (answer.ok) {
      tag = answer.headers.get("ETag") ?? "";
      show(await answer.text());
    }
    if (answer.ok || answer.status === 304 || answer.status === 404) told();
    else silent();
  } catch {
    silent();
  }
}

function soon() {
  if (!waiting) waiting = setTimeout(look, Math.max(SETTLE_MS, last + REST_MS - Date.now()));
}

function listen() {
  const source = new EventSource(`${root}api/v1/events?standing=no`);
  for (const kind of ["message", "standing", "appeared", "changed", "resolved", "synced"]) source.addEventListener(kind, soon);
  source.addEventListener("open", soon); // what happened before it was there
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
    soon(); // whether anybody is there, the page itself tells
  });
}

listen();
setInterval(() => document.visibilityState === "visible" && soon(), TURN_MS);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && soon());
