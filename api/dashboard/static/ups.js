// A forwarder's battery in words. What is amber and red of it the server says.

import { NONE } from "./format.js";

const power = ({ power_plugged, charging }) => (power_plugged ? (charging ? "charging" : "on power") : "on battery");

/** 87 %, charging; 54 %, on battery; or what was known last. */
export function upsWords({ available, status }) {
  if (status === null) return available ? NONE : "no answer";
  const said = `${Math.min(100, status.battery_percent)}\u00a0%, ${power(status)}`;
  return available ? said : `no answer, was ${said}`;
}

/** Marks what needs a second look beside the number. */
export const upsLevel = ({ available, status }) => (status !== null && (!available || !status.power_plugged) ? "watch" : null);
