// The cluster's activity log, the newest first, live, with a filter. Above it stands what processes say of themselves at
// the moment: while nothing can be written, that is in no entry. So does what people were told of alerts.

import { h, keyed, setText } from "./dom.js";
import { time, withTimes } from "./format.js";
import { fresh } from "./fresh.js";
import { ask } from "./http.js";
import { noticeList } from "./notices.js";
import { badge, empty, field } from "./parts.js";
import { shownAs } from "./quiet.js";
import { rows } from "./rows.js";
import { onEvent, serverNow, state } from "./state.js";

const KEPT = 500;

/** Returns {title, node, update(), close()}. find: what to look for from the beginning. */
export function logPage(find = "") {
  const text = h("input", {
    type: "search",
    value: find,
    "data-filter": true,
    autocomplete: "off",
    spellcheck: "false",
    on: { input: show },
  });
  const table = rows(COLUMNS, { label: "Log", kind: "log", key: (entry) => entry.activity_id });
  const none = empty("Nothing in the log.");
  const log = fresh(load);
  const notices = noticeList();
  const problems = h("ul", { class: "alerts", "aria-label": "What processes say" });
  const showProblems = keyed(problems, { key: (process) => process.process_id, make: problem });
  const node = h(
    "div",
    {},
    h("h1", {}, "Log"),
    problems,
    notices.node,
    h("div", { class: "filters" }, field("Find", text)),
    log.said,
    table.node,
    none,
  );
  none.hidden = true;
  let entries = [];
  // What is told while the log is on its way may be younger than that.
  let meanwhile = [];

  function show() {
    const wanted = text.value.trim().toLowerCase();
    const found = entries.filter((entry) => wanted === "" || words(entry).toLowerCase().includes(wanted));
    table.update(found);
    table.node.hidden = found.length === 0;
    none.hidden = found.length > 0;
    setText(none.firstChild, entries.length ? "No entry says that." : "Nothing in the log.");
  }

  async function load() {
    meanwhile = [];
    const answer = await ask("GET", "api/v1/logs");
    entries = merged(answer.entries, meanwhile);
    show();
  }

  const close = onEvent(({ type, entry }) => {
    if (type === "resync") log.again();
    if (type !== "log_entry") return;
    meanwhile = merged(meanwhile, [entry]);
    entries = merged(entries, [entry]);
    show();
  });
  const update = () => {
    const saying = [...state.processes.values()].filter((process) => process.problem !== null);
    showProblems(saying);
    problems.hidden = saying.length === 0;
    log.refresh();
    notices.update();
  };
  update();
  return { title: "Log", node, update, close };
}

function problem() {
  const level = badge();
  const said = h("p", { class: "what" });
  const where = h("p", { class: "advice" });
  const update = (process) => {
    level.update(...shownAs(process));
    setText(said, withTimes(process.problem, serverNow()));
    setText(where, `${process.role} ${process.host}, ${process.ready ? "ready" : "not ready"}`);
  };
  return { node: h("li", { class: "alert" }, level.node, h("div", {}, said, where)), update };
}

// Each once, the newest first, at most as many as the server keeps for us.
function merged(some, more) {
  const all = new Map([...some, ...more].map((entry) => [entry.activity_id, entry]));
  return [...all.values()].sort((a, b) => b.activity_id - a.activity_id).slice(0, KEPT);
}

const LEVELS = { warn: "watch", error: "act" };
const isId = (value) => /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(value);
const words = (entry) => `${entry.level} ${entry.event} ${fields(entry)} ${source(entry)}`;
const fields = (entry) =>
  withTimes(
    Object.entries(entry.fields)
      // Names first: an id says something to a program only.
      .sort(([, a], [, b]) => isId(a) - isId(b))
      .map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`)
      .join(" · "),
    serverNow(),
  );
const source = ({ process_id }) => {
  const process = state.processes.get(process_id);
  return process ? `${process.role} ${process.host}` : "";
};

// What is as it should be needs no colour.
function level(entry) {
  if (!(entry.level in LEVELS)) return { node: h("span", { class: "quiet" }, entry.level) };
  const made = badge({ watch: entry.level, act: entry.level });
  made.update(LEVELS[entry.level]);
  return { node: made.node };
}

const COLUMNS = [
  { title: "At", kind: "num plain", text: (entry) => time(entry.at, serverNow()) },
  { title: "Level", kind: "tight", part: level },
  { title: "What", kind: "strong", text: (entry) => entry.event.replaceAll("_", " ") },
  { title: "With", kind: "grow plain", text: fields },
  { title: "Where", kind: "plain", text: source },
];
