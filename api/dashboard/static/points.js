// The points of races, as places where reads come from: a point is all the streams that stand there.

import { h, keyed, setAttribute, setText } from "./dom.js";
import { streamName } from "./format.js";
import { state } from "./state.js";

// As many as the server takes of one question.
const MOST_STREAMS = 50;

/** The courses of races that are on: of each {race_id, name, points}, the points with a place and a stream. */
export const coursesOn = () =>
  (state.verdict?.races ?? []).map(({ race_id, name }) => ({ race_id, name, points: placed(state.courses.get(race_id)?.points ?? []) }));

/** Points that have a place in their course and a stream, each with its place: two may be called the same. */
export const placed = (points) => points.map((point, at) => ({ ...point, at })).filter((point) => point.placed && point.streams.length > 0);

/** The ids of the streams of a point. */
export const idsOf = ({ streams }) => streams.map(({ stream_id }) => stream_id);

/** What the point is called where a read was, in the race whose read it is; "" where there is none. */
export function pointOf({ race_id, stream_id }, courses) {
  const course = courses.find((each) => each.race_id === race_id);
  return course?.points.find((point) => idsOf(point).includes(stream_id))?.name ?? "";
}

/**
 * Returns {node, update(courses, streams, all), chosen()}: a choice of a point, a stream or all. all: the ids of those where
 * they are not all that there are. chosen(): the `ids` that are meant, none for all; and `said`, as " at Finish". `changed` is
 * called when it is another, also because a point has other streams by now.
 */
export function whereChoice(changed) {
  const node = h("select", { on: { change: choose } });
  const show = keyed(node, { key: (each) => each.key, make: entry });
  let known = new Map();
  let meant = "";

  const chosen = () => known.get(node.value) ?? ALL;
  function choose() {
    meant = chosen().ids.join(" ");
    changed();
  }
  const update = (courses, streams, all = []) => {
    // A list that is open would jump under the finger.
    if (document.activeElement === node) return;
    const groups = [...courses.filter(({ points }) => points.length).map(ofCourse), ofStreams(streams)];
    // More than one question takes are asked for as all, and looked through here.
    const whole = { ...ALL, ids: all.length > MOST_STREAMS ? [] : all };
    known = new Map([whole, ...groups.flatMap(({ options }) => options)].map((each) => [each.key, each]));
    show([ALL, ...groups.filter(({ options }) => options.length)]);
    if (chosen().ids.join(" ") !== meant) choose();
  };
  return { node, update, chosen };
}

const ALL = { key: "", title: "All streams", ids: [], said: "" };

const ofCourse = ({ race_id, name, points }) => ({
  key: race_id,
  title: name,
  options: points.map((point) => ({
    key: `${race_id} ${point.at}`,
    title: point.name,
    ids: idsOf(point).slice(0, MOST_STREAMS),
    said: ` at ${point.name}`,
  })),
});

const ofStreams = (streams) => ({
  key: "streams",
  title: "Streams",
  options: streams.map((stream) => ({ key: stream.stream_id, title: streamName(stream), ids: [stream.stream_id], said: " of this stream" })),
});

// All of a group is one entry of the list; "All streams" is an option by itself.
const entry = (first) => (first.options ? group() : option());

function option() {
  const node = h("option");
  return { node, update: ({ key, title }) => (setAttribute(node, "value", key), setText(node, title)) };
}

function group() {
  const node = h("optgroup");
  const show = keyed(node, { key: (each) => each.key, make: option });
  return { node, update: ({ title, options }) => (setAttribute(node, "label", title), show(options)) };
}
