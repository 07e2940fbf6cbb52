// The epochs of a stream, the newest first; each can be named, and its reads shown.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { NONE, number, received } from "./format.js";
import { fresh } from "./fresh.js";
import { ask, path } from "./http.js";
import { button, field } from "./parts.js";
import { rows } from "./rows.js";
import { isEntryOf, onEvent, serverNow } from "./state.js";

/**
 * Returns {node, update(card), close()}. choose(epoch): an epoch's reads are wanted. loaded(epochs): they were read.
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
  let epochs = [];
  let current = null;
  const list = fresh(async () => {
    epochs = await ask("GET", path(["streams", stream_id, "epochs"]));
    show();
    loaded(epochs);
  });
  const node = h("div", {}, list.said, table.node);

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

  const show = () => table.update([...epochs].reverse());

  async function name({ epoch, name: old }) {
    const now = () => epochs.find((each) => each.epoch === epoch)?.name ?? null;
    const input = h("input", { name: "name", maxlength: 200, autocomplete: "off", value: old ?? "" });
    const named = await askFirst(`Name epoch ${epoch}`, {
      controls: { name: field("Name", input, { hint: "What happened in it: Saturday 10 km, test, …" }) },
      verb: "Save",
      gone: () => (now() === old ? null : `Somebody else has named it: ${now() ?? "without a name"}.`),
      act: ({ name: text }) =>
        ask("PUT", path(["streams", stream_id, "epochs", epoch, "name"]), {
          body: { name: text.trim() || null, expected_name: old },
        }).catch((error) => {
          // The name that somebody else has given meanwhile must be seen, or this ends in the same refusal for ever.
          list.again();
          throw error;
        }),
    });
    if (!named) return;
    say(`Epoch ${epoch} is ${named.name ?? "without a name"} now.`);
    list.again();
  }

  // Of the current epoch the card tells another name; of an older one only the log does.
  const close = onEvent((event) => {
    const other = isEntryOf(event, "epoch_named") && event.entry.fields.stream_id === stream_id;
    if (other || event.type === "resync") list.mark();
  });

  // What the card knows anyway needs no request.
  const update = (card) => {
    if (current !== card.stream_epoch) list.mark();
    current = card.stream_epoch;
    list.refresh();
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
    show();
  };
  return { node, update, close };
}
