// The epochs of a stream, the newest first; each can be named, and its reads shown.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { NONE, number, received } from "./format.js";
import { ask, path } from "./http.js";
import { button, failure, field } from "./parts.js";
import { rows } from "./rows.js";
import { serverNow } from "./state.js";

/**
 * Returns {node, load(), update(card)}. choose(epoch): an epoch's reads are wanted. loaded(epochs): they were read.
 */
export function epochList(stream_id, { choose, loaded }) {
  const columns = [
    {
      title: "Epoch",
      kind: "num strong",
      text: (each) => (each.is_current ? `${each.epoch}, current` : each.epoch),
    },
    { title: "Name", kind: "grow", text: (each) => each.name ?? NONE },
    { title: "Reads", kind: "right num", text: (each) => number(each.event_count) },
    { title: "Missing", kind: "right num", text: (each) => number(each.missing_count) },
    { title: "First received", kind: "num", text: (each) => received(each.first_event_at, serverNow()) },
    { title: "Last received", kind: "num", text: (each) => received(each.last_event_at, serverNow()) },
    { title: "Actions", kind: "acts", part: acts },
  ];
  const table = rows(columns, { label: "Epochs", kind: "epochs", key: (each) => each.epoch });
  const said = h("div");
  const node = h("div", {}, said, table.node);
  let epochs = [];

  function acts({ epoch }) {
    const named = () => epochs.find((each) => each.epoch === epoch);
    return {
      node: h(
        "span",
        { class: "buttons" },
        button("Show reads", () => choose(epoch), { "aria-label": `Show the reads of epoch ${epoch}` }),
        button("Name…", () => name(named()), { "aria-label": `Name epoch ${epoch}` }),
      ),
    };
  }

  async function name({ epoch, name: old }) {
    const input = h("input", { name: "name", maxlength: 200, autocomplete: "off", value: old ?? "" });
    const named = await askFirst(`Name epoch ${epoch}`, {
      controls: { name: field("Name", input, { hint: "What happened in it: Saturday 10 km, test, …" }) },
      verb: "Save",
      act: ({ name: text }) =>
        ask("PUT", path(["streams", stream_id, "epochs", epoch, "name"]), {
          body: { name: text.trim() || null, expected_name: old },
        }),
    });
    if (!named) return;
    say(`Epoch ${epoch} is ${named.name ?? "without a name"} now.`);
    load();
  }

  async function load() {
    try {
      epochs = await ask("GET", path(["streams", stream_id, "epochs"]));
      said.replaceChildren();
      table.update([...epochs].reverse());
      loaded(epochs);
    } catch (error) {
      said.replaceChildren(failure(error));
    }
  }

  // What the card knows anyway needs no request.
  const update = (card) => {
    epochs = epochs.map((each) =>
      each.epoch === card.stream_epoch
        ? {
            ...each,
            event_count: card.epoch_reads,
            missing_count: card.missing_count,
            last_event_at: card.last_received_at,
            name: card.epoch_name,
          }
        : each,
    );
    table.update([...epochs].reverse());
  };
  return { node, load, update };
}
