// Questions to the agent. The page lies in ui/, the questions beside it in v1/,
// so that all works under any prefix.

const base = new URL("../v1/", location.href.replace(/[?#].*$/, ""));

// Refusal is an answer of the agent that is an error, in its own words.
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(what, options) {
  let response;
  try {
    response = await fetch(new URL(what, base), { credentials: "omit", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The agent does not answer. Is sluice ui still running?");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = `${response.status} ${response.statusText}`;
  try {
    message = JSON.parse(text).error || message;
  } catch { /* not an answer of the agent */ }
  throw new Refusal(message, response.status);
}

export const get = async (what, signal) => (await ask(what, { signal })).json();

export const trace = async (question, signal) =>
  (await ask("trace", {
    method: "POST", signal, body: JSON.stringify(question), headers: { "Content-Type": "application/json" },
  })).json();

// maxLine bounds a line of a stream, in characters.
const maxLine = 1 << 20;

// lines calls fn with batches of what a stream of JSON lines holds, until it ends.
export async function lines(what, signal, opened, fn) {
  const response = await ask(what, { signal });
  opened();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    if (rest.length > maxLine) throw new Error("The agent sends a line without end.");
    const batch = parts.filter(Boolean).map((line) => JSON.parse(line));
    if (batch.length) fn(batch);
  }
}
