// What the agent has told, asked again only when it has changed.

import { get } from "./api.js";

const heard = new Map(); // name -> value
const listeners = new Map(); // name -> functions
const failures = new Map(); // name -> text

export const value = (name) => heard.get(name);
export const failure = (name) => failures.get(name);

// on calls fn whenever a value has come, and at once if it is there.
export function on(name, fn) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(fn);
  if (heard.has(name)) fn(heard.get(name));
}

function tell(name) {
  for (const fn of listeners.get(name) ?? []) fn(heard.get(name));
}

const asked = new Map(); // name -> promise under way

// refresh asks for a value. Whoever asks meanwhile waits for the same answer.
export function refresh(name) {
  if (asked.has(name)) return asked.get(name);
  const question = get(name).then((v) => {
    heard.set(name, v ?? []);
    failures.delete(name);
  }, (error) => {
    failures.set(name, error.message);
  }).then(() => {
    asked.delete(name);
    tell(name);
  });
  asked.set(name, question);
  return question;
}

// every asks again and again while the page is in sight and wanted() is true.
export function every(name, wait, wanted = () => true) {
  const turn = async () => {
    if (document.visibilityState === "visible" && wanted()) await refresh(name);
    setTimeout(turn, wait);
  };
  turn();
}

const statusWait = 2000; // milliseconds
const longest = 30000; // after which lists are asked for though nothing has changed

let seen = "";
let at = 0;

// follow keeps the lists as the agent has them: its status says whether it has
// written anything since.
export function follow() {
  on("status", (status) => {
    const now = failures.has("status") ? "" : `${status.node} ${status.bundles} ${status.ready}`;
    const failed = failures.has("ports") || failures.has("policies");
    if (!now || (now === seen && !failed && Date.now() - at < longest)) return;
    seen = now;
    at = Date.now();
    refresh("ports");
    refresh("policies");
  });
  every("status", statusWait);
}
