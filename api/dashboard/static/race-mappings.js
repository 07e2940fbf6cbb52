// Which forwarders are of a race, and which epochs are whatever race their forwarder is of.

import { askFirst, say } from "./dialog.js";
import { h } from "./dom.js";
import { NONE, forwarderName, streamName } from "./format.js";
import { ask, path } from "./http.js";
import { button, empty, field } from "./parts.js";
import { rows } from "./rows.js";
import { state } from "./state.js";
import { allStreams } from "./streams.js";

/**
 * Returns {node, update(race, assignments, streams), refresh()}; `changed` is called when a forwarder was given or taken.
 * streams: those that the page may have no cards of.
 */
export function raceForwarders(race_id, changed) {
  const columns = [
    { title: "Forwarder", kind: "strong", text: (each) => each.name },
    { title: "State", text: (each) => (each.online ? "online" : "offline") },
    { title: "Race", text: (each) => (each.race_id === race_id ? "this race" : each.race_id ? "another race" : NONE) },
    { title: "Actions", kind: "acts", part: acts },
  ];
  const table = rows(columns, { label: "Forwarders", kind: "of-race", key: (each) => each.forwarder_id });
  const none = empty("No forwarder yet.");
  const node = h(
    "div",
    {},
    h("p", { class: "hint" }, "A forwarder's race counts for those of its epochs that have none of their own."),
    table.node,
    none,
  );
  let assigned = new Map();
  let beyond = [];

  function acts({ forwarder_id }) {
    const own = () => assigned.get(forwarder_id) === race_id;
    const act = button("", () => give(forwarder_id, own() ? null : race_id, assigned.get(forwarder_id), changed));
    const update = ({ name }) => {
      act.textContent = own() ? "Take it out" : "Give it to this race";
      act.setAttribute("aria-label", `${act.textContent}: ${name}`);
    };
    return { node: act, update };
  }

  function refresh() {
    const known = new Map([...assigned.keys()].map((id) => [id, { forwarder_id: id, name: id, online: false }]));
    for (const card of [...beyond, ...state.streams.values()]) {
      known.set(card.forwarder_id, { forwarder_id: card.forwarder_id, name: forwarderName(card), online: card.online });
    }
    const found = [...known.values()].map((each) => ({ ...each, race_id: assigned.get(each.forwarder_id) ?? null }));
    table.update(found.sort((a, b) => a.name.localeCompare(b.name)));
    table.node.hidden = found.length === 0;
    none.hidden = found.length > 0;
  }

  const update = (_race, assignments, streams) => {
    beyond = streams;
    assigned = new Map(assignments.map((each) => [each.forwarder_id, each.race_id]));
    refresh();
  };
  return { node, update, refresh };
}

async function give(forwarder_id, race_id, before, changed) {
  const body = { race_id, expected_race_id: before ?? null };
  const act = () => ask("PUT", path(["forwarders", forwarder_id, "race"]), { body });
  const sure =
    race_id && before
      ? await askFirst(`Take ${forwarder_id} from another race`, {
          body: h("p", {}, "Epochs of the other race's own stay with it."),
          verb: "Give it to this race",
          act,
        })
      : await act().catch((error) => say(error.message));
  if (sure !== undefined) changed();
}

/** Returns {node, update(race, mappings)}; `changed` is called when an epoch was given or taken. */
export function raceEpochs(race_id, changed) {
  const columns = [
    { title: "Stream", kind: "strong", text: (each) => nameOf(each) },
    { title: "Epoch", kind: "num", text: (each) => String(each.stream_epoch) },
    { title: "State", text: stateOf },
    { title: "Actions", kind: "acts", part: acts },
  ];
  const key = (each) => `${each.stream_id} ${each.stream_epoch}`;
  const table = rows(columns, { label: "Epochs", kind: "of-race", key });
  const none = empty("None.", h("p", {}, "Begin race makes one of each stream."));
  let asking = false;
  const add = button("Give it an epoch…", async () => {
    if (asking) return;
    asking = true;
    const streams = await allStreams().catch((error) => say(error.message));
    asking = false;
    if (streams) giveEpoch(race_id, streams, changed);
  });
  const node = h(
    "div",
    {},
    h("p", { class: "hint" }, "These are of this race, whatever race their forwarder is of."),
    table.node,
    none,
    h("div", { class: "buttons" }, add),
  );
  let shown = [];

  function acts(each) {
    const body = { race_id: null, expected_race_id: race_id };
    const take = () => mapEpoch(each.stream_id, each.stream_epoch, body).then(changed, (error) => say(error.message));
    return { node: button("Take it out", take, { "aria-label": `Take out epoch ${each.stream_epoch} of ${nameOf(each)}` }) };
  }

  const refresh = () => table.update(shown);
  const update = (_race, mappings) => {
    shown = mappings;
    table.node.hidden = shown.length === 0;
    none.hidden = shown.length > 0;
    refresh();
  };
  return { node, update, refresh };
}

const nameOf = ({ stream_id, forwarder_id, reader_ip }) => {
  const card = state.streams.get(stream_id);
  return card ? streamName(card) : `${forwarder_id} · ${reader_ip}`;
};

function stateOf({ stream_id, stream_epoch }) {
  const now = state.streams.get(stream_id)?.stream_epoch;
  if (now === undefined) return NONE;
  return stream_epoch === now ? "current" : stream_epoch < now ? "over" : "not begun";
}

const mapEpoch = (stream_id, epoch, body) =>
  ask("PUT", path(["streams", stream_id, "epochs", epoch, "race"]), { body });

async function giveEpoch(race_id, streams, changed) {
  if (!streams.length) return say("There is no stream yet.");
  const stream = h(
    "select",
    { name: "stream_id" },
    streams.map((each) => h("option", { value: each.stream_id }, streamName(each))),
  );
  const epoch = h("input", { name: "epoch", type: "number", min: 1, max: 2 ** 31 - 1, required: true });
  const current = () => (epoch.value = streams.find((each) => each.stream_id === stream.value).stream_epoch);
  stream.addEventListener("change", current);
  current();
  const given = await askFirst("Give the race an epoch", {
    controls: { stream: field("Stream", stream), epoch: field("Epoch", epoch, { hint: "Begun or not." }) },
    verb: "Give it",
    act: giving(race_id),
  });
  if (given) changed();
}

// As far as the page knows an epoch has no race of its own. Who is told that it is another's has seen that, and takes it from
// there when it is given once more.
function giving(race_id) {
  const seen = new Map();
  return async ({ stream_id, epoch }) => {
    const key = `${stream_id} ${epoch}`;
    try {
      return await mapEpoch(stream_id, epoch, { race_id, expected_race_id: seen.get(key) ?? null });
    } catch (error) {
      if (error.code !== "CONFLICT" || !error.details) throw error;
      seen.set(key, error.details.race_id);
      throw new Error(`Epoch ${epoch} is ${await ownerName(error.details.race_id)} now. Give it once more to change that.`);
    }
  };
}

const ownerName = async (race_id) =>
  race_id === null ? "of no race of its own" : `of the race ${(await ask("GET", path(["races", race_id]))).name}`;
