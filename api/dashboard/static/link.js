// The link to the server: how things stand at first, then all of the overview, then the event stream, which starts where
// the overview ended and carries what changes: what differs from what the very process has told that the stream comes
// from. An overview of another one is no ground for it; the stream gives its own then. It says for itself when it is lost, or when the server is there and its
// database is not: what is on the screen then is old, and must look it.

import { ask } from "./http.js";
import { takeEvent, takeOverview, takeVerdict } from "./state.js";

// Events say all that changes. It is asked for anew all the same, for clocks that drift in the course of days.
const OVERVIEW_EVERY_MS = 600000;
const WITHIN_MS = 20000;
const RETRY_MS = 2000;
// The server ticks every 5 s: two ticks that did not come.
const SILENT_MS = 12000;
// The browser opens a stream again by itself; that may take a moment.
const UNLINKED_MS = 4000;
// An overview may fail once, as when the process that answers is replaced.
const FAILING_MS = 8000;
const EVENTS = ["changed", "log_entry", "overview", "resync", "stalled", "tick"];

let source = null;
// Which process's events they are: what their ids begin with.
let ring = null;
let triedAt = 0;
let linkedAt = performance.now();
let heardAt = linkedAt;
// When what is shown was true to the last.
let trueAt = linkedAt;
let failingSince = null;
let stalled = false;
// What has come since the overview that is on its way was asked for; null when none is.
let meanwhile = null;
let missed = false;
let timer = null;

/**
 * Returns {lost, stalled, ageMs}: whether the link is lost, whether the server says that its database does not answer,
 * and how old what is shown is.
 */
export function linkState() {
  const now = performance.now();
  const silent = now - heardAt > SILENT_MS;
  const unlinked = source?.readyState === EventSource.CONNECTING && now - linkedAt > UNLINKED_MS;
  const failing = failingSince !== null && now - failingSince > FAILING_MS;
  return { lost: silent || unlinked || failing, stalled, ageMs: now - trueAt };
}

/** Starts to follow the server, for as long as the page is open; done when the first words have come, or have not. */
export async function follow() {
  setInterval(watch, 1000);
  addEventListener("online", load);
  document.addEventListener("visibilitychange", () => document.hidden || isFresh() || load());
  try {
    takeVerdict(await ask("GET", "api/v1/verdict", { withinMs: WITHIN_MS }));
    know();
  } catch (error) {
    blame(error);
  }
  load();
}

/** Loads the page anew when a part of it did not come, and the link is there: a browser keeps a module's failure. */
export function loadAgain(error) {
  console.info("a part of the page did not come:", error.message);
  const again = () => (linkState().lost ? setTimeout(again, RETRY_MS) : location.reload());
  setTimeout(again, RETRY_MS);
}

const isOpen = () => source?.readyState === EventSource.OPEN;
const isFresh = () => isOpen() && performance.now() - heardAt < SILENT_MS / 2;

function know() {
  heardAt = trueAt = performance.now();
  stalled = false;
}

// The server itself may say that it has no database; anything else that fails is the link's fault, or the server's.
function blame(error) {
  if (error.details?.cause === "database") {
    stalled = true;
    heardAt = performance.now();
    failingSince = null;
  } else failingSince ??= performance.now();
}

async function load() {
  if (meanwhile !== null) return;
  [meanwhile, missed] = [[], false];
  let failed = null;
  try {
    const overview = await ask("GET", "api/v1/overview", { withinMs: WITHIN_MS });
    know();
    failingSince = null;
    const goesOn = isOf(overview.last_event_id);
    takeOverview(overview, goesOn ? meanwhile : []);
    if (!goesOn) open(overview.last_event_id);
  } catch (error) {
    failed = error;
    blame(error);
    console.info("no overview:", error.message);
  }
  meanwhile = null;
  loadIn(failed ? RETRY_MS : missed ? 0 : OVERVIEW_EVERY_MS);
}

function loadIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(load, ms);
}

const ringOf = (eventId) => eventId.split("-")[0];
const isOf = (eventId) =>
  source !== null && source.readyState !== EventSource.CLOSED && ring === ringOf(eventId);

function open(lastEventId) {
  source?.close();
  ring = ringOf(lastEventId);
  linkedAt = triedAt = performance.now();
  source = new EventSource(`api/v1/events?form=changed&last_event_id=${encodeURIComponent(lastEventId)}`);
  source.addEventListener("open", receive);
  source.addEventListener("error", () => source?.readyState === EventSource.CLOSED && loadIn(RETRY_MS));
  for (const name of EVENTS) source.addEventListener(name, receive);
  // What was told since the last stream of events has ended is in the overview, but for reads and entries of the log.
  takeEvent({ type: "resync" });
}

function receive({ type, data, lastEventId, target }) {
  // What a stream that was given up had still to say.
  if (target !== source) return;
  heardAt = linkedAt = performance.now();
  if (type === "open") return;
  ring = ringOf(lastEventId);
  if (type === "stalled") {
    stalled = true;
    return;
  }
  know();
  if (type === "tick") return;
  const event = JSON.parse(data);
  if (type === "resync") {
    takeEvent({ type });
    if (event.overview_follows) return;
    missed = true;
    return load();
  }
  if (type === "overview") {
    // One that is on its way is of before, or of another process.
    if (meanwhile !== null) missed = true;
    return takeOverview(event.overview, []);
  }
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
