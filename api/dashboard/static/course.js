// The course of each race that is on: its points in the order in which runners come by, and who has. On a phone it is a
// list. What it says is asked for again when something was read, twice a minute at the most: it is shown all day, on
// phones too. When a race or its points are others it is asked for at once.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { NONE, count, number, raceClock, secondsSince, shortDuration, time } from "./format.js";
import { fresh } from "./fresh.js";
import { askAgain, ifThere, path } from "./http.js";
import { badge, section } from "./parts.js";
import { pointPlot } from "./plots.js";
import { shownAs } from "./quiet.js";
import { onEvent, racesChanged, serverNow, state } from "./state.js";

const EVERY_MS = 30000;
// Streams that nobody has placed are hardly a course; the page of the race has all.
const UNPLACED = 12;
const RANK = { act: 3, watch: 2, good: 1, silent: 1, quiet: 0 };

/** Returns {node, update(), close()}. */
export function courseStrip() {
  const strips = h("div");
  const show = keyed(strips, { key: (race) => race.race_id, make: (race) => strip(race, () => flows.get(race.race_id)?.json) });
  const list = fresh(load, { everyMs: EVERY_MS });
  const node = section("Course", {}, list.said, strips);
  let asked = "";
  let known = new Map();
  let flows = new Map();

  const races = () => state.verdict?.races ?? [];
  const ids = () => races().map((race) => race.race_id).join(" ");

  async function load() {
    asked = ids();
    const asked_of = races();
    const [found, flown] = await Promise.all([
      Promise.all(asked_of.map(({ race_id }) => courseOf(race_id, known.get(race_id)))),
      Promise.all(asked_of.map(({ race_id }) => flowOf(race_id, flows.get(race_id)))),
    ]);
    flows = new Map(flown.filter(Boolean).map((each) => [each.json.race_id, each]));
    known = new Map(found.filter(Boolean).map((each) => [each.json.race_id, each]));
    state.courses = new Map([...known].map(([race_id, { json }]) => [race_id, json]));
  }

  const stop = onEvent((event) => {
    if (racesChanged(event)) list.hurry();
    else if (event.streams || event.reads) list.mark();
  });
  const update = () => {
    if (ids() !== asked) list.hurry();
    if (races().length) list.refresh();
    const shown = races().filter(({ race_id }) => state.courses.get(race_id)?.points.length);
    node.hidden = shown.length === 0;
    show(shown);
  };
  // Who does not ask any more does not know.
  const close = () => {
    stop();
    state.courses = new Map();
  };
  return { node, update, close };
}

// A race that is deleted at this moment has none.
const courseOf = (race_id, before) => ifThere(askAgain(path(["races", race_id, "course"], { unplaced: UNPLACED }), before));
const flowOf = (race_id, before) => ifThere(askAgain(path(["races", race_id, "flow"]), before));

function strip({ race_id }, flow) {
  const link = h("a", { href: `#/race/${race_id}` });
  const clock = h("span", { class: "num clock" });
  const list = h("ol", { class: "course" });
  const show = keyed(list, { key: (each) => each.key, make: pointColumn });
  const others = h("a", { href: `#/race/${race_id}` });
  const rest = h("p", { class: "course-rest" }, others);
  const node = h("div", {}, h("div", { class: "course-head" }, h("h3", {}, link), clock), list, rest);
  const update = (race) => {
    setText(link, race.name);
    setText(clock, raceClock(race.gun_at, serverNow()));
    const { points, left_out } = state.courses.get(race_id);
    setText(others, `${count(left_out, "more stream")} without a place`);
    rest.hidden = left_out === 0;
    // Two points may be called the same.
    show(points.map((point, at) => ({ ...point, flow: flow(), key: point.placed ? `${at}` : point.streams[0].stream_id })));
  };
  return { node, update };
}

function pointColumn() {
  const level = badge();
  const name = h("p", { class: "point-name" });
  const crossed = h("span", { class: "crossed num" });
  const came = h("span", { class: "aside" }, "came by");
  const last = h("p", { class: "num" });
  const due = h("p", { class: "num" });
  const unknown = h("p", { class: "unknown" });
  const plot = pointPlot();
  const where = h("ul", { class: "where" });
  const showWhere = keyed(where, { key: (each) => each.stream_id, make: mat });
  const node = h(
    "li",
    { class: "point" },
    h("div", { class: "point-top" }, name, level.node),
    h("p", { class: "came" }, crossed, " ", came),
    last,
    due,
    unknown,
    plot.node,
    where,
  );
  const update = (point) => {
    const { name: called, streams, crossed: bibs, unknown_chips, last_received_at, flow } = point;
    const cards = streams.map(({ stream_id }) => state.streams.get(stream_id)).filter(Boolean);
    level.node.hidden = cards.length === 0 && !point.is_closed;
    const [as, word] = levelOf(point, cards);
    level.update(as, word);
    setAttribute(node, "data-level", as);
    setText(name, called);
    setText(crossed, number(bibs));
    setText(last, lastRead(cards, last_received_at));
    setText(due, dueWords(point));
    setText(unknown, unknown_chips ? count(unknown_chips, "unknown chip") : "");
    unknown.hidden = unknown_chips === 0;
    const of = flow?.points.find(({ stream_ids }) => streams.some(({ stream_id }) => stream_ids.includes(stream_id)));
    // Its place is there before it: nothing jumps.
    plot.update(flow, of ?? { name: called, counts: [], crossed: 0 });
    // Twins, a thin row each: with what each has seen.
    setAttribute(where, "data-twins", streams.length > 1 ? "" : null);
    showWhere(streams);
  };
  return { node, update };
}

// Nobody is expected at a closed point: whatever its streams say, nothing is amber there.
function levelOf({ is_closed }, cards) {
  if (is_closed) return ["quiet", "closed"];
  return cards.map(shownAs).sort((a, b) => RANK[b[0]] - RANK[a[0]])[0] ?? ["silent", null];
}

function dueWords({ is_closed, closes_at, due_per_minute }) {
  if (is_closed) return "nobody is expected";
  const closes = closes_at === null ? "" : `closes ${time(closes_at, serverNow())}`;
  const due = due_per_minute === null ? "" : `${due_per_minute < 1 ? "hardly anybody" : `${number(Math.round(due_per_minute))} a minute`} due now`;
  return [due, closes].filter(Boolean).join(" · ");
}

// The cards know of reads that came since it was asked.
function lastRead(cards, last_received_at) {
  const times = [last_received_at, ...cards.map((card) => card.last_received_at)].filter(Boolean);
  if (!times.length) return "no read yet";
  const age = Math.min(...times.map((at) => secondsSince(at, serverNow())));
  return `last read ${shortDuration(age).join(" ")} ago`;
}

function mat({ stream_id }) {
  const link = h("a", { href: `#/stream/${stream_id}` });
  const seen = h("span", { class: "num aside" });
  const update = ({ title, seen: its, of_chips }) => {
    setText(link, title || NONE);
    setText(seen, of_chips ? `saw ${number(its)} of the last ${number(of_chips)}` : "");
  };
  return { node: h("li", {}, link, seen), update };
}
