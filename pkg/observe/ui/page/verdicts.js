// The view of verdicts as they are given. The agent filters, so that what is asked
// for is not washed away by what is not; the page filters what it has at once.

import { h, put, debounce } from "./dom.js";
import * as store from "./store.js";
import { get, lines, Refusal } from "./api.js";
import { clock, count, end, plural, service } from "./format.js";
import { List } from "./list.js";
import { badge, connection, endLink, facts, policyLink, traceOf, podLink } from "./links.js";

const kept = 5000; // events
const last = 1000; // of before, that are asked for
const again = 2000; // milliseconds until the stream is opened anew
const soon = 200; // milliseconds in which a new stream tells of what was before
const names = ["pod", "namespace", "verdict", "direction", "policy"];

export class VerdictsView {
  constructor() {
    this.events = []; // the newest first
    this.list = new List({
      label: "Verdicts, the newest first", name: "verdicts", newest: true, fixed: true, key: (e) => `${e.seq} ${e.time}`, open: (e) => this.open(e), rowClass: (e) => (e.verdict === "allowed" ? "" : "no"),
      columns: [
        { title: "Time", cell: (e) => clock(e.time), class: "mono" },
        { title: "Verdict", cell: (e) => badge(e.verdict) },
        { title: "From", cell: (e) => end(e.from), class: "strong" },
        { title: "To", cell: (e) => end(e.to), class: "strong" },
        { title: "Service", cell: (e) => service(e.protocol, e.port), class: "mono" },
        { title: "Side", cell: (e) => e.direction ?? "", class: "optional" },
        { title: "By", cell: (e) => (e.policies ?? []).join(", ") || e.reason, class: "optional" },
      ],
    });
    const restart = debounce(() => this.follow(), 250);
    const changed = () => {
      this.apply();
      restart();
    };
    const input = (name, text, placeholder) => h("label", { class: "field" }, h("span", null, text), h("input", { type: "search", name, placeholder, oninput: debounce(changed, 60), "data-filter": name === "pod" }));
    const choice = (name, text, values) => h("label", { class: "field" }, h("span", null, text), h("select", { name, onchange: changed }, values.map((v) => h("option", { value: v }, v || "any"))));
    this.form = h("form", { class: "toolbar", "aria-label": "Filter", onsubmit: (e) => e.preventDefault() },
      input("pod", "Pod", "namespace/name"), input("namespace", "Namespace", "of either end"), choice("verdict", "Verdict", ["", "denied", "allowed", "spoofed", "invalid"]),
      choice("direction", "Side", ["", "egress", "ingress"]), input("policy", "Policy", "namespace/name"),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "allows", onchange: changed }), "Allowed too"),
      this.pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.hold() }, "Pause"),
      h("button", { type: "button", onclick: () => this.forget() }, "Clear"),
      this.state = h("p", { class: "tally", role: "status" }));
    this.totals = h("p", { class: "totals dim" });
    this.aside = h("aside", { class: "panel detail", "aria-label": "The chosen verdict", hidden: true });
    this.element = h("div", { class: "view split" }, this.form, this.totals, h("div", { class: "columns" }, this.list.element, this.aside));
  }

  show({ query }) {
    if ([...query.keys()].length) for (const name of names) this.form.elements[name].value = query.get(name) ?? "";
    this.follow();
    this.apply();
  }

  hide() {
    this.stream?.abort();
    this.stream = undefined;
  }

  close() {
    this.aside.hidden = true;
    this.list.mark(undefined);
  }

  filter() { return Object.fromEntries(names.map((n) => [n, this.form.elements[n].value.trim()])); }

  // follow opens the stream for the filter, and again whenever it ends.
  async follow() {
    this.stream?.abort();
    const stream = (this.stream = new AbortController());
    const query = new URLSearchParams({ last });
    for (const [name, value] of Object.entries(this.filter())) if (value && whole(name, value, this.events)) query.set(name, value);
    if (this.form.elements.allows.checked || query.get("verdict") === "allowed") query.set("allows", "true");
    this.lost = 0;
    this.coming = [];
    while (!stream.signal.aborted) {
      try {
        this.say("Connecting…", "");
        await lines(`watch?${query}`, stream.signal, () => this.opened(stream), (batch) => {
          if (!stream.signal.aborted) this.take(batch);
        });
        this.say("The stream has ended, opening it again…", "wait");
      } catch (error) {
        if (stream.signal.aborted) return;
        if (error instanceof Refusal && error.status === 404) {
          this.say("A simulated node has no packets, and so no verdicts.", "");
          return;
        }
        this.say(error.message, "bad");
      }
      await new Promise((done) => setTimeout(done, again));
    }
  }

  // opened waits until a new stream has told of what was before, and then has that in
  // place of what the stream before it has told: rows of both do not go and come back.
  opened(stream) {
    this.say("Live", "good");
    setTimeout(() => {
      if (!this.coming || stream.signal.aborted) return;
      this.events = this.coming.reverse().slice(0, kept);
      this.coming = undefined;
      this.apply();
    }, soon);
  }

  say(text, how) {
    this.state.className = `tally ${how}`;
    put(this.state, how && h("span", { class: "dot" }), text);
    if (how === "good") this.tallied();
  }

  async tallied() {
    const stream = this.stream;
    while (stream && !stream.signal.aborted && this.tally !== stream) {
      this.tally = stream;
      while (!stream.signal.aborted) {
        try {
          const w = await get("watch/status", stream.signal);
          put(this.totals, w.problem || [`${plural(w.denied, "packet")} denied`, `${plural(w.allowed, "connection")} allowed`, `${count(w.sampled)} told`,
            w.missed ? `${count(w.missed)} too many to be told` : "", this.lost ? `${count(this.lost)} lost here` : "", "since the agent started"].filter(Boolean).join(" · "));
        } catch {
          put(this.totals, "");
        }
        await new Promise((done) => setTimeout(done, again));
      }
    }
  }

  // take enters lines of the stream. A page that reconnects is told some of them
  // twice.
  take(lines) {
    const batch = lines.filter((line) => line.event).map((line) => line.event);
    for (const line of lines) this.lost += line.lost ?? 0;
    if (this.coming) {
      this.coming.push(...batch.filter((e) => e.seq));
      return;
    }
    const newest = this.events[0]?.seq ?? 0;
    let fresh = batch.filter((e) => e.seq && e.seq > newest);
    // Another run of the agent counts from one again: what it tells is not what was told
    // with these numbers. Times do not say it, as clocks are set.
    const told = fresh.length < batch.length && new Map(this.events.map((e) => [e.seq, e.time]));
    if (told && batch.some((e) => e.seq <= newest && told.get(e.seq) !== e.time)) {
      this.events = [];
      fresh = batch;
    }
    this.events = [...fresh.reverse(), ...this.events].slice(0, kept);
    if (!this.held && !this.drawing) {
      this.drawing = requestAnimationFrame(() => {
        this.drawing = 0;
        this.apply();
      });
    }
  }

  apply() {
    const f = this.filter();
    const has = (text, part) => (text ?? "").toLowerCase().includes(part.toLowerCase());
    const rows = this.events.filter((e) =>
      (!f.verdict || e.verdict === f.verdict) && (!f.direction || e.direction === f.direction)
      && (!f.pod || has(e.from?.pod, f.pod) || has(e.to?.pod, f.pod))
      && (!f.namespace || [e.from, e.to].some((x) => (x?.pod ?? "").split("/")[0] === f.namespace))
      && (!f.policy || (e.policies ?? []).some((p) => has(p, f.policy))));
    this.list.set(rows, this.events.length ? "No verdict is like that." : "No verdict yet. Each new connection that is denied shows here.");
  }

  hold() {
    this.held = !this.held;
    this.pause.setAttribute("aria-pressed", String(this.held));
    put(this.pause, this.held ? "Go on" : "Pause");
    if (!this.held) this.apply();
  }

  forget() {
    this.form.reset();
    history.replaceState(null, "", "#/verdicts");
    this.events = [];
    this.follow();
    this.apply();
  }

  open(e) {
    this.aside.hidden = false;
    const rule = (r) => r && [`rule ${r.index} of `, policyLink(r.policy), `: ${r.text}`];
    put(this.aside, h("button", { class: "close", "aria-label": "Close", onclick: () => this.close() }, "×"),
      h("h2", null, badge(e.verdict)), h("p", null, h("strong", null, connection(e))), h("p", null, e.reason),
      facts([
        ["time", `${new Date(e.time).toLocaleString()}`], ["node", e.node], ["side", e.direction],
        ["from", [endLink(e.from), h("div", { class: "mono" }, `${e.from?.addr ?? ""}${e.sourcePort ? ` port ${e.sourcePort}` : ""}`)]],
        ["to", [endLink(e.to), h("div", { class: "mono" }, `${e.to?.addr ?? ""}${e.port ? ` port ${e.port}` : ""}`)]],
        ["policies", (e.policies ?? []).flatMap((p, i) => [i ? ", " : "", policyLink(p)])],
        ["egress allowed by", rule(e.egress)], ["ingress allowed by", rule(e.ingress)],
      ]),
      h("p", { class: "links" }, h("a", { class: "go", href: traceOf(e) }, "Trace it"), [e.from, e.to].filter((x) => x?.pod).map((x) => podLink(x.pod))));
  }
}

// whole tells whether a value is a whole name that the agent can filter by: it may be
// half typed, and then the page alone filters by it.
function whole(name, value, events) {
  const pods = () => [...(store.value("ports") ?? []).map((p) => p.pod), ...events.flatMap((e) => [e.from?.pod, e.to?.pod])];
  const policies = () => (store.value("policies") ?? []).map((p) => p.name);
  switch (name) {
    case "pod": return pods().includes(value);
    case "policy": return policies().includes(value);
    case "namespace": return [...pods(), ...policies()].some((n) => n?.startsWith(`${value}/`));
    default: return true;
  }
}
