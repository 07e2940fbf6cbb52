// What an alert's advice names and this page can do: a button or a link beside it. The server says which (api/alerts/actions.py).

import { closePoint, closeStream, closeStreams } from "./closing.js";
import { deleteCursors, restartForwarder, revokeTokens } from "./device-actions.js";
import { say } from "./dialog.js";
import { h, setAttribute } from "./dom.js";
import { ask, path } from "./http.js";
import { button } from "./parts.js";
import { state } from "./state.js";

const ACTIONS = {
  close_point: ({ subject_id, title }) => ["Close point…", () => closePoint({ subject_id, title })],
  close_stream: ({ stream_id, title }) => ["Close stream…", () => closeStream({ stream_id, title })],
  close_streams: ({ subject_id, title }) => ["Close its streams…", () => closeStreams({ forwarder_id: subject_id, title })],
  delete_cursors: ({ subject_id }) => ["Delete its cursors…", () => deleteCursors(subject_id)],
  restart_forwarder: (alert) => ["Restart forwarder…", async () => restartForwarder(await forwarderOf(alert))],
  revoke_tokens: ({ subject_id }) => ["Revoke its tokens…", () => revokeTokens(subject_id)],
  open_conflicts: () => ["See the conflicts", "#/conflicts"],
  open_log: ({ subject_kind, subject_id }) => [
    "See the log",
    subject_kind === "forwarder" ? `#/log/${encodeURIComponent(subject_id)}` : "#/log",
  ],
  open_stream: ({ stream_id }) => ["See the stream", `#/stream/${stream_id}`],
  open_streams: ({ title }) => ["See its streams", `#/streams/${encodeURIComponent(title)}`],
};

/** Returns {buttons, update(alert)}: the buttons and links of an alert, with its name for those who hear them. */
export function alertActions(first) {
  const made = first.actions.filter((kind) => Object.hasOwn(ACTIONS, kind)).map((kind) => action(kind, first));
  return { buttons: made.map((each) => each.node), update: (alert) => made.forEach((each) => each.update(alert)) };
}

function action(kind, first) {
  const [label, does] = ACTIONS[kind](first);
  const isLink = typeof does === "string";
  let shown = first;
  const act = () => ACTIONS[kind](shown)[1]().catch((error) => say(error.message));
  const node = isLink ? h("a", { class: "button" }, label) : button(label, act);
  setAttribute(node, "data-action", kind);
  const update = (alert) => {
    shown = alert;
    setAttribute(node, "aria-label", `${label.replace("…", "")}: ${alert.title}`);
    if (isLink) setAttribute(node, "href", ACTIONS[kind](alert)[1]);
  };
  return { node, update };
}

async function forwarderOf({ subject_kind, subject_id, stream_id }) {
  if (subject_kind === "forwarder") return subject_id;
  const card = state.streams.get(stream_id) ?? (await ask("GET", path(["streams", stream_id, "card"])));
  return card.forwarder_id;
}
