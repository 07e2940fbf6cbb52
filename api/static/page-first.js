// The first page: streams, flow, what needs a look, the latest reads, the cluster.

import { streamCards } from "./cards.js";
import { clusterFold } from "./cluster.js";
import { h, setText } from "./dom.js";
import { flowTable } from "./flow.js";
import { count } from "./format.js";
import { empty, section } from "./parts.js";
import { state } from "./state.js";
import { liveTail } from "./tail.js";
import { troubleList } from "./troubles.js";

/** Returns {title, node, update(), close()}. */
export function firstPage() {
  const parts = { troubles: troubleList(), flow: flowTable(), tail: liveTail(), cluster: clusterFold() };
  const cards = streamCards();
  const many = h("span", { class: "aside" });
  const none = noStreams();
  const node = h(
    "div",
    {},
    h("h1", { class: "unseen" }, "Race day"),
    section("Streams", { aside: many }, cards.node, none),
    section("Flow to receivers", {}, parts.flow.node),
    section("Needs a look", { id: "troubles" }, parts.troubles.node),
    section("Latest reads", {}, parts.tail.node),
    section("Cluster", {}, parts.cluster.node),
  );
  const update = () => {
    const all = [...state.streams.values()];
    cards.update(all);
    none.hidden = all.length > 0;
    cards.node.hidden = all.length === 0;
    setText(many, all.length ? `${count(all.length, "stream")}, trouble first` : "");
    for (const part of Object.values(parts)) part.update();
  };
  return { title: "Race day", node, update, close: parts.tail.close };
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
