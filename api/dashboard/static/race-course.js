// The points of a race in course order, and where they are arranged: each stream gets a place and the name of its point;
// streams of one place are twins of one point.

import { closePoint, closePointAt, openPoint } from "./closing.js";
import { askFirst, say } from "./dialog.js";
import { h, setAttribute } from "./dom.js";
import { number, time } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty } from "./parts.js";
import { whom } from "./quiet.js";
import { rows } from "./rows.js";
import { serverNow } from "./state.js";

// As many as the server takes.
const PLACES = 50;

/** Returns {node, update(course)}; `changed` is called when the course is another. */
export function raceCourse(race_id, changed) {
  const columns = [
    { title: "Place", kind: "num", text: (point) => (point.placed ? String(point.place) : "none yet") },
    { title: "Point", kind: "strong", text: (point) => point.name },
    { title: "Came by", kind: "num", text: (point) => number(point.crossed) },
    { title: "Unknown chips", kind: "num", text: (point) => number(point.unknown_chips) },
    { title: "Streams", text: (point) => point.streams.map((each) => each.title).join(", ") || "gone" },
    { title: "Expected", text: (point) => (point.placed ? openWords(point) : "") },
    { title: "Actions", kind: "acts", part: acts },
  ];

  // A point is closed by its place: only if nobody has arranged them since.
  function acts(first) {
    const of = (point) => ({
      subject_id: `${race_id}/${point.place}`,
      title: point.name,
      expected: { expected_arranged_at: course.arranged_at },
    });
    let shown = first;
    const act = (does) => async () => {
      await does(of(shown), shown.closes_at);
      changed();
    };
    const [close, open] = [button("Close…", act(closePoint)), button("Open", act(openPoint))];
    const at = button("Closes at…", act(closePointAt));
    const node = h("div", { class: "buttons" }, close, at, open);
    const update = (point) => {
      shown = point;
      node.hidden = !point.placed;
      close.hidden = at.hidden = point.is_closed;
      open.hidden = point.closed_at === null && !point.is_closed;
      for (const each of [close, at, open]) setAttribute(each, "aria-label", `${each.textContent} ${point.name}`);
    };
    return { node, update };
  }
  const table = rows(columns, { label: "Points", kind: "points", key: (point) => point.key });
  const none = empty("No point yet.", h("p", {}, "Give a forwarder to the race: each of its streams is a point."));
  const arrange = button("Arrange the points…", async () => {
    if (await askToArrange(race_id, () => course)) {
      say("The points stand in their order.");
      changed();
    }
  });
  const node = h("div", {}, table.node, none, h("div", { class: "buttons" }, arrange));
  let course = null;
  const update = (found) => {
    course = found;
    const { points } = course;
    const key = (point, at) => (point.placed ? `${at}` : point.streams[0].stream_id);
    table.update(points.map((point, at) => ({ ...point, place: at + 1, key: key(point, at) })));
    table.node.hidden = points.length === 0;
    arrange.hidden = points.length === 0;
    none.hidden = points.length > 0;
  };
  return { node, update };
}

function openWords({ is_closed, closed_at, closed_by, closes_at }) {
  if (closed_at !== null) return `nobody: closed by ${whom(closed_by, "somebody")}, ${time(closed_at, serverNow())}`;
  if (is_closed) return `nobody since ${time(closes_at, serverNow())}`;
  return closes_at === null ? "whoever is on the way" : `until ${time(closes_at, serverNow())}`;
}

function askToArrange(race_id, now) {
  const { points, arranged_at } = now();
  const lines = points.flatMap(linesOf);
  for (const { place, name } of lines) name.addEventListener("input", () => together(lines, place.value, name.value));
  return askFirst("Arrange the points", {
    gone: () => (now().arranged_at === arranged_at ? null : "Somebody else has arranged the points: look at them again."),
    body: [
      h("p", {}, "The place of each stream in course order, and what its point is called. Streams of one place are one point, such as two mats of a finish. Without a place a stream stands behind all, and a point without a stream is none."),
      h("p", { class: "arrange-heads hint", "aria-hidden": "true" }, h("span", {}, "Place"), h("span", {}, "Point")),
      h("ul", { class: "arrange" }, lines.map((line) => line.node)),
    ],
    verb: "Arrange",
    act: () =>
      ask("PUT", path(["races", race_id, "course"]), {
        body: { points: arranged(lines), expected_arranged_at: arranged_at },
      }),
  });
}

// A line for each stream of a point; one for a point whose streams are gone, which stays where it is until somebody says
// otherwise. Places that nobody has given are proposed, as far as there are any.
function linesOf(point, at) {
  const streams = point.streams.length ? point.streams : [null];
  return streams.map((stream) => {
    const title = stream?.title ?? `${point.name} (its streams are gone)`;
    const of = { "aria-label": `Place of ${title}` };
    const place = h("input", { type: "number", min: 1, max: PLACES, value: at < PLACES ? at + 1 : "", ...of });
    const name = h("input", { maxlength: 255, autocomplete: "off", value: point.name, "aria-label": `Point of ${title}` });
    return { stream, title, place, name, was: point, node: h("li", {}, h("span", {}, title), place, name) };
  });
}

// What is called otherwise at one stream of a point is so at all of them.
function together(lines, place, text) {
  if (place === "") return;
  for (const { place: its, name } of lines) if (its.value === place && name.value !== text) name.value = text;
}

function arranged(lines) {
  const places = new Map();
  for (const line of lines) {
    const place = Number(line.place.value);
    if (place) places.set(place, [...(places.get(place) ?? []), line]);
  }
  return [...places].sort(([a], [b]) => a - b).map(([place, of]) => pointOf(place, of));
}

function pointOf(place, lines) {
  const names = [...new Set(lines.filter(isNamed).map(({ name }) => name.value.trim()))];
  if (names.length > 1) throw new Error(`Place ${place} is called ${names.join(" and ")}: streams of one place are one point, with one name.`);
  const stream_ids = lines.map(({ stream }) => stream?.stream_id).filter(Boolean);
  return { name: names[0] ?? lines[0].was.name, stream_ids };
}

// Not what is proposed: the title of a stream that nobody has given a place yet.
const isNamed = ({ name, was }) => name.value.trim() !== "" && (was.placed || name.value !== was.name);
