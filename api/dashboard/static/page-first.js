// The first page: what needs a look, streams, flow, the latest reads, the cluster.

import { streamCards } from "./cards.js";
import { clusterFold } from "./cluster.js";
import { courseStrip } from "./course.js";
import { databaseCard } from "./database.js";
import { h, setText } from "./dom.js";
import { flowTable } from "./flow.js";
import { count, number } from "./format.js";
import { empty, section } from "./parts.js";
import { inTurns } from "./pieces.js";
import { state } from "./state.js";
import { liveTail } from "./tail.js";
import { alertList } from "./alerts.js";

/** Returns {title, node, update(), close()}. */
export function firstPage() {
  const parts = { alerts: alertList(), course: courseStrip(), flow: flowTable(), tail: liveTail(), cluster: clusterFold(), database: databaseCard() };
  const cards = streamCards();
  const many = streamCount();
  const none = noStreams();
  const node = h(
    "div",
    {},
    h("h1", { class: "unseen" }, "Race day"),
    section("Needs a look", { id: "alerts" }, parts.alerts.node),
    parts.course.node,
    section("Streams", { aside: many.node }, cards.node, none),
    section("Flow to receivers", {}, parts.flow.node),
    section("Latest reads", {}, parts.tail.node),
    section("Database", {}, parts.database.node),
    section("Cluster", {}, parts.cluster.node),
  );
  const showCards = () => {
    const all = [...state.streams.values()];
    cards.update(all);
    none.hidden = all.length > 0;
    cards.node.hidden = all.length === 0;
    many.update(all.length);
  };
  const update = inTurns([showCards, ...Object.values(parts).map((part) => part.update)]);
  const close = () => [parts.tail, parts.course].forEach((part) => part.close());
  return { title: "Race day", node, update, close };
}

/** Returns {node, update(shown)}: how many streams there are, and where those are that have no card. */
function streamCount() {
  const said = h("span");
  const rest = h("a", { href: "#/streams" }, "All streams");
  const node = h("span", { class: "aside" }, said, " ", rest);
  const update = (shown) => {
    const all = state.verdict?.streams ?? 0;
    const of = shown < all ? `${number(shown)} of ` : "";
    setText(said, shown ? `${of}${count(all, "stream")}, alerts first` : "");
    rest.hidden = shown === 0;
  };
  return { node, update };
}

const noStreams = () =>
  empty(
    "No streams yet.",
    h(
      "p",
      {},
      "A stream appears when a forwarder connects. ",
      h("a", { href: "#/devices" }, "Make a token for it"),
      ", or on the server:",
    ),
    h("pre", {}, "rt-server token create --type forwarder --id start-line"),
  );
