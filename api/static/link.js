// The link to the server: an overview every few seconds, and the event stream, which starts where the overview ended.
// It says for itself when it is lost: what is on the screen then is old, and must look it.

import { ask } from "./http.js";
import { takeEvent, takeOverview } from "./state.js";

const OVERVIEW_EVERY_MS = 10000;
const OVERVIEW_WITHIN_MS = 8000;
const RETRY_MS = 2000;
// The server ticks every 5 s: two ticks that did not come.
const SILENT_MS = 12000;
// The browser opens a stream again by itself; that may take a moment.
const UNLINKED_MS = 4000;
// An overview may fail once, as when the process that answers is replaced.
const FAILING_MS = 8000;
const EVENTS = [
  "stream_created",
  "stream_updated",
  "metrics_updated",
  "receiver_updated",
  "process_updated",
  "verdict_updated",
  "log_entry",
  "resync",
  "tick",
];

let source = null;
let triedAt = 0;
let linkedAt = performance.now();
let heardAt = linkedAt;
let overviewAt = linkedAt;
let failingSince = null;
// What has come since the overview that is on its way was asked for; null when none is.
let meanwhile = null;
let missed = false;
let timer = null;

/** Returns {lost, ageMs}: whether the link is lost, and how old what is shown is. */
export function linkState() {
  const now = performance.now();
  const silent = now - heardAt > SILENT_MS;
  const unlinked = !isOpen() && now - linkedAt > UNLINKED_MS;
  const failing = failingSince !== null && now - failingSince > FAILING_MS;
  return {
    lost: silent || unlinked || failing,
    ageMs: now - (failing ? overviewAt : Math.max(heardAt, overviewAt)),
  };
}

/** Starts to follow the server; goes on for as long as the page is open. */
export function follow() {
  setInterval(watch, 1000);
  addEventListener("online", load);
  document.addEventListener("visibilitychange", () => document.hidden || load());
  load();
}

const isOpen = () => source?.readyState === EventSource.OPEN;

async function load() {
  if (meanwhile !== null) return;
  [meanwhile, missed] = [[], false];
  try {
    const overview = await ask("GET", "api/v1/overview", { withinMs: OVERVIEW_WITHIN_MS });
    overviewAt = performance.now();
    failingSince = null;
    takeOverview(overview, meanwhile);
    if (source === null || source.readyState === EventSource.CLOSED) open(overview.last_event_id);
  } catch (error) {
    failingSince ??= performance.now();
    console.info("no overview:", error.message);
  }
  meanwhile = null;
  loadIn(missed ? 0 : failingSince === null ? OVERVIEW_EVERY_MS : RETRY_MS);
}

function loadIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(load, ms);
}

function open(lastEventId) {
  triedAt = performance.now();
  source = new EventSource(`api/v1/events?last_event_id=${encodeURIComponent(lastEventId)}`);
  source.addEventListener("open", hear);
  source.addEventListener("error", () => source?.readyState === EventSource.CLOSED && loadIn(RETRY_MS));
  for (const name of EVENTS) source.addEventListener(name, hear);
}

function hear({ type, data }) {
  heardAt = linkedAt = performance.now();
  if (type === "open" || type === "tick") return;
  if (type === "resync") {
    missed = true;
    return load();
  }
  const event = JSON.parse(data);
  meanwhile?.push(event);
  takeEvent(event);
}

// A process that was stopped holds its connections for ever: give this one up, and the next goes to one that lives.
function watch() {
  const now = performance.now();
  if (isOpen()) linkedAt = now;
  if (source === null || now - Math.max(heardAt, triedAt) <= SILENT_MS) return;
  source.close();
  source = null;
  loadIn(0);
}
