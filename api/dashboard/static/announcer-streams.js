// Where people come in: the streams that are announced, chosen by the points of races that are on, or one by one.

import { h, keyed, setText } from "./dom.js";
import { streamName } from "./format.js";

/** Returns {node, update(streams, courses, chosen)}; chosen: a set of ids, which is changed here before `changed` is called. */
export function streamChoice(changed) {
  const node = h("div", { class: "choice" });
  let chosen = new Set();

  function choose(ids, on) {
    for (const id of ids) chosen[on ? "add" : "delete"](id);
    changed();
  }

  const show = keyed(node, { key: (group) => group.key, make: () => fieldset(choose, () => chosen) });
  const update = (streams, courses, now) => {
    chosen = now;
    show(groups(streams, courses));
  };
  return { node, update };
}

// Of each race its points in their order; what stands at none of them is a point by itself.
function groups(streams, courses) {
  const names = new Map(streams.map((stream) => [stream.stream_id, streamName(stream)]));
  const placed = courses.map(({ race_id, name, points }) => ({
    key: race_id,
    title: name,
    points: points.filter(hasStreams).map((point) => ({
      name: point.name,
      streams: point.streams.map(({ stream_id, title }) => ({ stream_id, title: names.get(stream_id) ?? title })),
    })),
  }));
  const shown = new Set(placed.flatMap(({ points }) => points.flatMap(idsOf)));
  const others = [...names]
    .filter(([stream_id]) => !shown.has(stream_id))
    .map(([stream_id, title]) => ({ name: title, streams: [{ stream_id, title }] }));
  const rest = { key: "", title: placed.length ? "Streams of no race" : "Streams", points: others };
  return [...placed, rest].filter(({ points }) => points.length);
}

const hasStreams = ({ streams }) => streams.length > 0;
const idsOf = (point) => point.streams.map(({ stream_id }) => stream_id);

function fieldset(choose, chosen) {
  const legend = h("legend");
  const list = h("div");
  const make = () => check(choose, chosen);
  const show = keyed(list, { key: (line) => line.key, make });
  const node = h("fieldset", { class: "checks" }, legend, list);
  const update = ({ title, points }) => {
    setText(legend, title);
    show(points.flatMap(linesOf));
  };
  return { node, update };
}

// Twins are chosen together; who wants but one of them has a line for each.
function linesOf(point) {
  const ids = idsOf(point);
  const [first] = point.streams;
  const whole = { key: ids.join(" "), ids, name: point.name, beside: ids.length > 1 || first.title === point.name ? "" : first.title };
  const each = ids.length > 1 ? point.streams : [];
  return [whole, ...each.map(({ stream_id, title }) => ({ key: `${stream_id} of ${whole.key}`, ids: [stream_id], name: title, beside: "", of: point.name }))];
}

function check(choose, chosen) {
  const box = h("input", { type: "checkbox", on: { change: () => choose(ids, box.checked) } });
  const name = h("span");
  const beside = h("span", { class: "aside" });
  const node = h("label", { class: "check" }, box, h("span", {}, name, " ", beside));
  let ids = [];
  const update = (line) => {
    ids = line.ids;
    const among = ids.filter((id) => chosen().has(id)).length;
    box.checked = among === ids.length;
    box.indeterminate = among > 0 && among < ids.length;
    setText(name, line.of ? `${line.of}: ${line.name}` : line.name);
    setText(beside, line.beside);
    node.classList.toggle("of-point", Boolean(line.of));
  };
  return { node, update };
}
