// The devices: forwarders with their configuration, receivers with how far they are behind, tokens.

import { h } from "./dom.js";
import { flowTable } from "./flow.js";
import { forwarderList } from "./forwarders.js";
import { lagPlot } from "./lag-plot.js";
import { section } from "./parts.js";
import { tokenList } from "./tokens.js";

/** Returns {title, node, update(), close()}. */
export function devicesPage() {
  const [forwarders, receivers, lags, tokens] = [forwarderList(), flowTable(), lagPlot(), tokenList()];
  const node = h(
    "div",
    {},
    h("h1", {}, "Devices"),
    section("Forwarders", {}, forwarders.node),
    section("Receivers", {}, receivers.node, section("Seconds behind", { level: "h3" }, lags.node)),
    section("Tokens", {}, tokens.node),
  );
  const update = () => {
    forwarders.update();
    receivers.update();
    lags.update();
    tokens.update();
  };
  const close = () => [forwarders, lags, tokens].forEach((each) => each.close());
  return { title: "Devices", node, update, close };
}
