// The processes of the cluster, a line each, collapsed while all are green.

import { h, setText } from "./dom.js";
import { count, rate, secondsSince, duration } from "./format.js";
import { badge } from "./parts.js";
import { shownAs } from "./quiet.js";
import { rows } from "./rows.js";
import { serverNow, state } from "./state.js";

/** Returns {node, update()}. */
export function clusterFold() {
  const table = rows(COLUMNS, { label: "Processes", kind: "cluster", key: (process) => process.process_id });
  const word = h("span");
  const node = h("details", { class: "cluster" }, h("summary", {}, word), table.node);
  let worst = "good";
  const update = () => {
    const all = [...state.processes.values()].sort((a, b) => (a.role + a.host < b.role + b.host ? -1 : 1));
    table.update(all);
    const bad = all.filter((process) => process.level !== "good" && process.quiet === null);
    setText(
      word,
      bad.length
        ? `${count(bad.length, "process", "processes")} of  in trouble`
        : `${count(all.length, "process", "processes")}, all ready`,
    );
    const now = bad.length ? "bad" : "good";
    // It opens by itself when something goes wrong; whoever closes it then is not overruled.
    if (now !== worst) node.open = now === "bad";
    worst = now;
  };
  return { node, update };
}

function level() {
  const made = badge();
  return { node: made.node, update: (process) => made.update(...shownAs(process)) };
}

const COLUMNS = [
  { title: "State", kind: "tight", part: level },
  { title: "Role", kind: "strong", text: (process) => process.role },
  { title: "Host", text: (process) => `${process.host} ${process.address}` },
  { title: "Connections", kind: "right num", text: (process) => process.connections },
  { title: "Events/s", kind: "right num", text: (process) => rate(process.events_per_second) },
  { title: "Ready", text: (process) => (process.ready ? "ready" : "not ready") },
  {
    title: "Last seen",
    kind: "right num",
    text: (process) => `${duration(secondsSince(process.last_seen_at, serverNow()))} ago`,
  },
  { title: "Version", text: (process) => process.version },
];
