// Who comes in, as it happens, for everybody. The stream of events is opened first and what there is is loaded then, so
// that nothing falls in between: what is told meanwhile waits, and what is told twice is known by its announcement_id.
// The stream is read by hand: its comments are the only sign that a silent link lives, and an EventSource hides them.

const STATE = "api/v1/public/announcer/state";
const EVENTS = "api/v1/public/announcer/events";
const WITHIN_MS = 10000;
const RETRY_MS = 2000;
// The server says something every 15 s: two of these that did not come.
const SILENT_MS = 35000;
const UNKNOWN = "Unknown";

const [count, link, calm, list] = ["count", "link", "calm", "list"].map((id) => document.getElementById(id));

// Of each that is shown the element, by announcement_id.
const shown = new Map();
let state = null;
// What has been told since the state that is on its way was asked for; null when none is.
let meanwhile = null;
let loads = 0;
let connection = null;
let heardAt = performance.now();
let lostAt = null;

/** Follows for as long as the page is open, however often the link is lost. */
async function follow() {
  for (;;) {
    connection = new AbortController();
    try {
      await listen(connection.signal);
    } catch (error) {
      console.info("the link is lost:", error.message);
    }
    // What is under way for this connection is of no use any more.
    loads += 1;
    connection.abort();
    lostAt ??= new Date();
    showLink();
    // A thousand screens do not all come back in the same moment.
    await new Promise((done) => setTimeout(done, RETRY_MS * (1 + Math.random())));
  }
}

async function listen(signal) {
  heardAt = performance.now();
  const answer = await fetch(EVENTS, { signal, cache: "no-store" });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  load();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the server has ended it");
    heardAt = performance.now();
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    events.forEach(take);
  }
}

function take(text) {
  const fields = new Map(text.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
  if (fields.get("event") === "resync") load();
  if (fields.get("event") !== "announcer_update") return;
  const update = JSON.parse(fields.get("data"));
  if (meanwhile) meanwhile.push(update);
  else add(update);
}

/** Loads all that there is, in place of what is shown. */
async function load() {
  const mine = (loads += 1);
  const through = connection;
  meanwhile = [];
  const late = setTimeout(() => through.abort(new Error("the list does not come")), WITHIN_MS);
  try {
    const answer = await fetch(STATE, { signal: through.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const loaded = await answer.json();
    // Another was asked for meanwhile, and is at least as new.
    if (mine !== loads) return;
    state = loaded;
  } catch (error) {
    if (mine === loads) through.abort(error);
    return;
  } finally {
    clearTimeout(late);
  }
  const told = meanwhile;
  meanwhile = null;
  lostAt = null;
  for (const node of shown.values()) node.remove();
  shown.clear();
  [...state.rows].reverse().forEach(put);
  told.every(add);
  show();
}

/** Adds who has just come in; false where something is missing before that, and all is loaded anew. */
function add({ row, finisher_count }) {
  if (row.announcement_id <= state.finisher_count) {
    // It is of what was loaded, and may be younger: the name can be another by now.
    const node = shown.get(row.announcement_id);
    if (node) fill(node, row);
    return true;
  }
  if (row.announcement_id !== state.finisher_count + 1) {
    load();
    return false;
  }
  state.finisher_count = finisher_count;
  put(row);
  show();
  return true;
}

function put(row) {
  const node = document.createElement("li");
  fill(node, row);
  shown.set(row.announcement_id, node);
  list.prepend(node);
  while (shown.size > state.max_list_size) {
    const [oldest, old] = shown.entries().next().value;
    old.remove();
    shown.delete(oldest);
  }
}

function fill(node, row) {
  node.replaceChildren(part("bib", row.bib ?? "–"), part("time", timeOf(row.reader_timestamp)), part("name", nameOf(row)));
}

function part(name, text) {
  const node = document.createElement("span");
  node.className = name;
  node.textContent = text;
  return node;
}

// What one calls out where the name is not known.
const nameOf = (row) => (row.display_name === UNKNOWN && row.bib !== null ? `No. ${row.bib}` : row.display_name);
// The reader's own clock, as it shows it.
const timeOf = (timestamp) => /T(\d\d:\d\d:\d\d)/.exec(timestamp ?? "")?.[1] ?? "";

function show() {
  list.hidden = shown.size === 0;
  calm.hidden = shown.size > 0;
  calm.textContent = state.public_enabled ? "Waiting for the first to come in" : "Nobody is announced at the moment";
  count.textContent = state.finisher_count ? `${state.finisher_count.toLocaleString("en")} in` : "";
  showLink();
}

function showLink() {
  document.body.toggleAttribute("data-lost", lostAt !== null);
  link.hidden = lostAt === null;
  // Once, and not with every second that passes: it is read out.
  if (lostAt !== null) link.textContent = `Link lost at ${lostAt.toTimeString().slice(0, 8)}: who comes in now is not shown`;
}

setInterval(() => {
  if (performance.now() - heardAt > SILENT_MS) connection.abort(new Error("it is silent"));
}, 1000);
addEventListener("offline", () => connection.abort(new Error("there is no network")));
follow();
