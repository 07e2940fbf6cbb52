// The filter of a stream's reads, as it stands on the screen: for the list and for the exports alike.

import { h } from "./dom.js";
import { moment, zoneNow } from "./format.js";
import { field } from "./parts.js";
import { serverNow } from "./state.js";

/** Returns {node, wanted(), isSet(), setEpochs(epochs), choose(epoch)}; `changed` is called when the filter is another. */
export function readFilter(changed) {
  const epoch = h("select", { on: { change: changed } }, h("option", { value: "" }, "All epochs"));
  const tag = h("input", {
    type: "search",
    "data-filter": true,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 64,
    on: { input: changed },
  });
  const [since, until] = ["since", "until"].map(() =>
    h("input", { type: "datetime-local", step: 1, on: { change: changed } }),
  );
  const node = h(
    "div",
    { class: "filters" },
    field("Chip", tag),
    field("Epoch", epoch),
    field("Received since", since, { hint: inZone() }),
    field("Received until", until, { hint: inZone() }),
  );
  const wanted = () => ({
    tag_id: tag.value.trim(),
    epoch: epoch.value,
    since: moment(since.value),
    until: moment(until.value, { last: true }),
  });
  const isSet = () => Object.values(wanted()).some((each) => each !== "");
  const setEpochs = (epochs) => {
    const chosen = epoch.value;
    const options = epochs.map((each) =>
      h(
        "option",
        { value: each.epoch },
        each.name === null ? `Epoch ${each.epoch}` : `Epoch ${each.epoch} · ${each.name}`,
      ),
    );
    epoch.replaceChildren(epoch.firstElementChild, ...options.reverse());
    epoch.value = chosen;
  };
  const choose = (number) => {
    epoch.value = number;
    changed();
  };
  return { node, wanted, isSet, setEpochs, choose };
}

const inZone = () => zoneNow(serverNow()).said;
