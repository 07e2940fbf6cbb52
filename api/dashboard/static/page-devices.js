// The devices: forwarders with their configuration, receivers with how far they are behind, tokens.

import { h } from "./dom.js";
import { flowTable } from "./flow.js";
import { forwarderList } from "./forwarders.js";
import { section } from "./parts.js";
import { tokenList } from "./tokens.js";

/** Returns {title, node, update(), close()}. */
export function devicesPage() {
  const [forwarders, receivers, tokens] = [forwarderList(), flowTable(), tokenList()];
  const node = h(
    "div",
    {},
    h("h1", {}, "Devices"),
    section("Forwarders", {}, forwarders.node),
    section("Receivers", {}, receivers.node),
    section("Tokens", {}, tokens.node),
  );
  const update = () => {
    forwarders.update();
    receivers.update();
    tokens.update();
  };
  const close = () => [forwarders, tokens].forEach((each) => each.close());
  return { title: "Devices", node, update, close };
}
