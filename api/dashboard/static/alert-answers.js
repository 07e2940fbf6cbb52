// What an operator says of an alert: that it is known, or that nobody wants to hear of it for a while; and takes back.

import { askFirst, say } from "./dialog.js";
import { h, setAttribute, setText } from "./dom.js";
import { time, withTimes } from "./format.js";
import { ask, path } from "./http.js";
import { button, failure, field } from "./parts.js";
import { answerWords, whom } from "./quiet.js";
import { serverNow, state } from "./state.js";

const REASON = 200;
// Minutes, and what they are called; a day is the most that the server takes.
const LENGTHS = { 15: "15 minutes", 60: "1 hour", 240: "4 hours", 1440: "24 hours" };

/** Returns {node, update(alert)}: what was said of an alert, and the buttons to say something. */
export function alertAnswers(first) {
  const words = h("p", { class: "answer" });
  const failed = h("div");
  let shown = first;
  const press = (label, act) =>
    button(label, async () => {
      failed.replaceChildren();
      try {
        await act(shown);
      } catch (error) {
        failed.replaceChildren(failure(error));
      }
    });
  const acknowledge = press("Acknowledge…", askToAcknowledge);
  const takeBack = press("Count again", takeBackAcknowledgement);
  const mute = press("Mute…", askToMute);
  const unmute = press("Unmute", unmuteAlert);
  const buttons = [acknowledge, takeBack, mute, unmute];
  const node = h("div", { class: "answers" }, words, failed);
  const update = (alert) => {
    shown = alert;
    setText(words, answerWords(alert));
    const name = `${withTimes(alert.reason, serverNow())} · ${alert.title}`;
    for (const each of buttons) setAttribute(each, "aria-label", `${each.textContent.replace("…", "")}: ${name}`);
    // What nobody could keep (number 0: the database takes nothing in), nobody can answer.
    const open = alert.ended_at === null && alert.trouble_id > 0;
    acknowledge.hidden = !open || alert.quiet !== null;
    takeBack.hidden = !open || alert.quiet !== "acknowledged";
    mute.hidden = !open || alert.muted !== null;
    unmute.hidden = !open || alert.muted === null;
  };
  return { node, buttons, update };
}

/** Returns the button that takes a mute back, whether anything is wrong at the moment or not. */
export const unmuteButton = (mute) =>
  button("Unmute", () => unmuteAlert({ trouble_id: mute.alert_id, title: mute.title }).catch((error) => say(error.message)), {
    "aria-label": `Unmute: ${mute.title}`,
  });

const alertPath = ({ trouble_id }, verb) => path(["alerts", trouble_id, verb]);
const now = ({ trouble_id }) => state.troubles.find((each) => each.trouble_id === trouble_id) ?? null;
const over = (alert) => now(alert)?.ended_at !== null;

async function askToAcknowledge(alert) {
  const answer = await askFirst(`Acknowledge: ${alert.title}`, {
    body: [
      h("p", {}, alert.reason),
      h("p", {}, "It stays in sight and counts no more, until it ends or gets worse. All operators see who said so."),
    ],
    controls: { reason: reasonField({ required: false }) },
    verb: "Acknowledge",
    gone: () => {
      const known = now(alert)?.acknowledged;
      return over(alert) ? "It is over already." : known ? `${whom(known.by)} has acknowledged it already.` : null;
    },
    act: ({ reason }) =>
      ask("POST", alertPath(alert, "acknowledge"), {
        body: { reason: reason.trim() || null, expected_level: alert.level },
      }),
  });
  if (answer !== undefined) say(`${alert.title}: acknowledged.`);
}

async function takeBackAcknowledgement(alert) {
  await ask("DELETE", alertPath(alert, "acknowledge"));
  say(`${alert.title}: it counts again.`);
}

async function askToMute(alert) {
  const lengths = h(
    "select",
    { name: "minutes" },
    Object.entries(LENGTHS).map(([minutes, label]) => h("option", { value: minutes, selected: minutes === "60" }, label)),
  );
  const answer = await askFirst(`Mute: ${alert.title}`, {
    body: [
      h("p", {}, alert.reason),
      h("p", {}, "Until then it does not count, however often it ends and begins anew. All operators see who said so."),
    ],
    controls: { reason: reasonField({ required: true }), minutes: field("For", lengths) },
    verb: "Mute",
    gone: () => {
      const known = now(alert)?.muted;
      return known ? `${whom(known.by)} has muted it already, until ${time(known.until, serverNow())}.` : null;
    },
    act: ({ reason, minutes }) =>
      ask("POST", alertPath(alert, "mute"), {
        body: { reason: reason.trim(), until: new Date(serverNow() + minutes * 60000).toISOString() },
      }),
  });
  if (answer) say(`${alert.title}: muted until ${time(answer.muted.until, serverNow())}.`);
}

async function unmuteAlert(alert) {
  await ask("DELETE", alertPath(alert, "mute"));
  say(`${alert.title}: it counts again.`);
}

const reasonField = ({ required }) =>
  field(
    required ? "Why" : "Why (may be left out)",
    h("input", { name: "reason", maxlength: REASON, required, autocomplete: "off" }),
  );
