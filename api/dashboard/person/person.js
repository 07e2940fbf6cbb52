// What was read of one person, to whoever has a link to that. The link is behind the #, which a browser tells nobody, and
// is sent in a body, so that no address that anybody keeps holds it.

import { h, setText } from "./dom.js";
import { time } from "./format.js";
import { ask } from "./http.js";
import { timeline } from "./timeline.js";

const EVERY_MS = 10000;

const [link, calm] = ["link", "calm"].map((id) => document.getElementById(id));
const until = h("p", { class: "until" });
const shown = timeline();
const told = h("div", { hidden: true }, until, shown.node);
calm.parentNode.after(told);
let lost = false;
let wake = () => {};

/** Asks for as long as the page is open, until the server says that the link is none, or none any more. */
async function follow() {
  for (;;) {
    const asked = location.hash.slice(1);
    try {
      show(await ask("POST", "api/v1/public/timeline", { body: { link: asked } }));
    } catch (error) {
      if (error.code === "NOT_FOUND" || error.code === "PAYLOAD_TOO_LARGE") return end(error);
      lose(error);
    }
    await rested(EVERY_MS * (1 + Math.random() / 4));
  }
}

/** Resolves when so long has passed, or earlier, when somebody looks again or the network is back. */
function rested(ms) {
  return new Promise((done) => {
    wake = done;
    setTimeout(done, ms);
  });
}

function show(answer) {
  [lost, link.hidden, calm.hidden, told.hidden] = [false, true, true, false];
  setText(until, `This page is valid until ${time(answer.expires_at, Date.now())}. It follows by itself.`);
  shown.show(answer);
}

// Once, and not with every try: it is read out.
function lose({ code, message }) {
  if (lost || !told.isConnected) return;
  lost = true;
  const why = code === "UNREACHABLE" ? "Link lost" : message;
  setText(link, `${new Date().toTimeString().slice(0, 8)}: ${why}. What is read from now on is not shown.`);
  link.hidden = false;
}

// What somebody may not see any more does not stay on her screen.
function end({ message, details }) {
  told.remove();
  link.hidden = true;
  calm.hidden = false;
  setText(calm, details?.expired_at ? `This link has expired at ${time(details.expired_at, Date.now())}. Ask for another.` : sentence(message));
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

addEventListener("hashchange", () => location.reload());
addEventListener("offline", () => lose({ code: "UNREACHABLE" }));
addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => document.hidden || wake());
follow();
