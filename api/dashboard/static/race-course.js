// The points of a race in course order, and where they are arranged: each stream gets a place and the name of its point;
// streams of one place are twins of one point.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { number } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty } from "./parts.js";
import { rows } from "./rows.js";

/** Returns {node, update(course)}; `changed` is called when the course is another. */
export function raceCourse(race_id, changed) {
  const columns = [
    { title: "Place", kind: "num", text: (point) => (point.placed ? String(point.place) : "none yet") },
    { title: "Point", kind: "strong", text: (point) => point.name },
    { title: "Came by", kind: "num", text: (point) => number(point.crossed) },
    { title: "Unknown chips", kind: "num", text: (point) => number(point.unknown_chips) },
    { title: "Streams", text: (point) => point.streams.map((each) => each.title).join(", ") || "gone" },
  ];
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
    arrange.hidden = !points.some((point) => point.streams.length);
    none.hidden = points.length > 0;
  };
  return { node, update };
}

function askToArrange(race_id, now) {
  const { points, arranged_at } = now();
  const chosen = points.flatMap((point, at) => point.streams.map((stream) => ({ stream, point, at: at + 1 })));
  const lines = chosen.map(({ stream, point, at }) => {
    const place = h("input", { type: "number", min: 1, max: 50, value: at, "aria-label": `Place of ${stream.title}` });
    const name = h("input", { maxlength: 255, autocomplete: "off", value: point.name, "aria-label": `Point of ${stream.title}` });
    return { stream, place, name, node: h("li", {}, h("span", {}, stream.title), place, name) };
  });
  return askFirst("Arrange the points", {
    gone: () => (now().arranged_at === arranged_at ? null : "Somebody else has arranged the points: look at them again."),
    body: [
      h("p", {}, "The place of each stream in course order, and what its point is called. Streams of one place are one point, such as two mats of a finish. Without a place a stream stands behind all."),
      h("ul", { class: "arrange" }, lines.map((line) => line.node)),
    ],
    verb: "Arrange",
    act: () =>
      ask("PUT", path(["races", race_id, "course"]), {
        body: { points: arranged(lines), expected_arranged_at: arranged_at },
      }),
  });
}

function arranged(lines) {
  const places = new Map();
  for (const { stream, place, name } of lines) {
    if (place.value === "") continue;
    const point = places.get(Number(place.value)) ?? { name: "", stream_ids: [] };
    point.name ||= name.value.trim() || stream.title;
    point.stream_ids.push(stream.stream_id);
    places.set(Number(place.value), point);
  }
  return [...places].sort(([a], [b]) => a - b).map(([, point]) => point);
}
