// The announcer, for those who run it: whether it is on, where people come in, the list as it stands, and the page that
// everybody may see.

import { announcerSetting } from "./announcer-setting.js";
import { toCopy } from "./copy.js";
import { h, setText } from "./dom.js";
import { finishes } from "./finishes.js";
import { NONE, learnNames, number, readerTime, received, streamName, time } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, askAgain, ifThere, path } from "./http.js";
import { badge, empty, fact, section } from "./parts.js";
import { rows } from "./rows.js";
import { isEntryOf, namesChanged, onEvent, racesChanged, serverNow, state } from "./state.js";
import { allStreams } from "./streams.js";

// Who comes in is told at once. What a telling has missed is in the state, which is up to 500 rows.
const AGAIN_EVERY_MS = 5000;
const FOR_MS = 24 * 3600 * 1000;

/** Returns {title, node, update(), close()}. */
export function announcerPage() {
  const address = new URL("announcer", document.baseURI).href;
  const head = nowHead(address);
  const setting = announcerSetting(address, again);
  const table = rows(COLUMNS, { label: "Who has come in", kind: "finishers", key: (row) => row.id });
  const none = empty("");
  const now = fresh(loadState, { everyMs: AGAIN_EVERY_MS });
  const choices = fresh(loadChoices);
  const body = h(
    "div",
    {},
    head.node,
    section("Who is announced", {}, setting.node),
    section("The list as it stands", { aside: head.shown }, table.node, none),
  );
  const node = h("div", {}, h("h1", {}, "Announcer"), now.said, choices.said, body);
  let [announcer, streams, courses] = [null, null, []];
  const known = new Map();
  body.hidden = true;

  async function loadState() {
    announcer = await ask("GET", "api/v1/announcer/state");
    show();
  }

  async function loadChoices() {
    // Of boxes that are still switched off, too: it is set before the first of them is there.
    const on = new Set([...state.streams.values()].map((card) => card.race_id).filter(Boolean));
    const [found, { races }] = await Promise.all([allStreams(), on.size ? ask("GET", "api/v1/races") : { races: [] }]);
    const points = await Promise.all(races.filter(({ race_id }) => on.has(race_id)).map(courseOf));
    learnNames(found);
    [streams, courses] = [found, points.filter(Boolean)];
    show();
  }

  // A race that is deleted at this moment has none.
  async function courseOf({ race_id, name }) {
    const found = await ifThere(askAgain(path(["races", race_id, "course"]), known.get(race_id)));
    known.set(race_id, found);
    return found && { race_id, name, points: found.json.points };
  }

  function came({ row, finisher_count }) {
    now.mark();
    if (finisher_count !== announcer?.finisher_count + 1) return;
    const shown = [row, ...announcer.rows].slice(0, announcer.max_list_size);
    announcer = { ...announcer, finisher_count, rows: shown };
    show();
  }

  function show() {
    if (announcer === null || streams === null) return;
    body.hidden = false;
    const became = { ...announcer, ...standing(announcer) };
    head.update(became);
    setting.update(became, streams, courses);
    const nameOf = new Map(streams.map((stream) => [stream.stream_id, streamName(stream)]));
    // Ids are counted in a run, and the newest has the number of them all.
    table.update(announcer.rows.map((row, at) => ({ ...row, id: announcer.finisher_count - at, stream: nameOf.get(row.stream_id) })));
    table.node.hidden = announcer.rows.length === 0;
    none.hidden = announcer.rows.length > 0;
    setText(none.firstChild, became.running ? "Nobody has come in since the list began." : "Nobody is announced at the moment.");
  }

  function again() {
    return now.again();
  }

  const follow = finishes({ came, anew: now.hurry });
  const stop = onEvent((event) => {
    if (racesChanged(event) || namesChanged(event)) choices.mark();
    if (isEntryOf(event, "announcer_")) now.hurry();
  });
  const update = () => {
    for (const each of [follow, now, choices]) each.refresh();
    // Its time may be over by now.
    show();
  };
  const close = () => [stop, follow.close].forEach((each) => each());
  return { title: "Announcer", node, update, close };
}

// What of it goes by the clock is no news that anybody sends.
function standing({ enabled, enabled_until, selected_stream_ids }) {
  const over = enabled && Date.parse(enabled_until) <= serverNow();
  const running = enabled && !over && selected_stream_ids.length > 0;
  if (running) return { running, level: "good", word: "on" };
  if (over) return { running, level: "silent", word: "its time is over" };
  return enabled ? { running, level: "watch", word: "on, without a stream" } : { running, level: "silent", word: "off" };
}

const SINCE = "Announces since";
const FACTS = {
  [SINCE]: ({ running, enabled_until }) => (running ? time(new Date(Date.parse(enabled_until) - FOR_MS).toISOString(), serverNow()) : NONE),
  Until: ({ enabled, enabled_until }) => (enabled ? time(enabled_until, serverNow()) : NONE),
  "Have come in": ({ running, finisher_count }) => (running ? number(finisher_count) : NONE),
  "Set last": ({ updated_at }) => time(updated_at, serverNow()),
};

function nowHead(address) {
  const level = badge();
  const facts = Object.entries(FACTS).map(([label, read]) => ({ ...fact(label), read }));
  const shown = h("span", { class: "aside num" });
  const node = h(
    "div",
    { class: "announcer-now" },
    level.node,
    h(
      "dl",
      { class: "facts many" },
      facts.map((each) => each.node),
    ),
    section(
      "The page for everybody",
      { level: "h2" },
      h(
        "p",
        { class: "lead" },
        "Whoever opens it sees, without a password, of those who have come in since the list began: the bib, the name, and the time of day that the reader showed. Not the chip, the stream or any other time, and nobody who has not come in. Names are personal data: while the announcer is off, and after 24 hours by itself, the page shows nobody.",
      ),
      toCopy("Address of the public page", address, h("a", { class: "button plain", href: "announcer", target: "_blank", rel: "noopener" }, "Open it")),
    ),
  );
  const update = (became) => {
    level.update(became.level, became.word);
    for (const each of facts) each.set(each.read(became));
    const { finisher_count, rows: found } = became;
    setText(shown, found.length ? `the newest ${number(found.length)} of ${number(finisher_count)}` : "");
  };
  return { node, shown, update };
}

const COLUMNS = [
  { title: "In", kind: "num", text: (row) => number(row.id) },
  { title: "Bib", kind: "num strong", text: (row) => row.bib ?? NONE },
  { title: "Name", kind: "strong plain", text: (row) => row.display_name },
  { title: "Reader time", kind: "num", text: (row) => readerTime(row, serverNow()) },
  { title: "Received", kind: "num", text: (row) => received(row.received_at, serverNow()) },
  { title: "Chip", kind: "mono", text: (row) => row.chip_id },
  { title: "Stream", kind: "plain", text: (row) => row.stream ?? NONE },
];
