// The view of policies: what they select, their rules, and what these have let
// through.

import { h, put, renew, debounce } from "./dom.js";
import * as store from "./store.js";
import { count, plural, short } from "./format.js";
import { List } from "./list.js";
import { badge, facts, listed, podLink, policyHref, verdictsHref } from "./links.js";

const wait = 5000; // milliseconds between questions
const mostRules = 200; // that are shown at once

export class PoliciesView {
  constructor() {
    this.list = new List({
      label: "Policies", name: "policies", key: (p) => p.name, open: (p) => { location.hash = policyHref(p.name); },
      columns: [
        { title: "Policy", cell: (p) => p.name, class: "strong" },
        { title: "Isolates", cell: (p) => (p.isolates ?? []).join(", ") || "–" },
        { title: "Rules", cell: (p) => count(p.rules?.length), class: "number" },
        { title: "Pods", cell: (p) => count(p.pods?.length), class: "number" },
        { title: "Allowed", cell: (p) => (p.stats ? count(total(p.stats.allowed)) : "–"), class: "number" },
        { title: "Denied", cell: (p) => (p.stats ? count(total(p.stats.denied)) : "–"), class: "number" },
        { title: "On this node", cell: (p) => (p.active ? "yes" : "no"), class: "optional" },
        { title: "Applies to", cell: (p) => p.subjects, class: "optional" },
        { title: "Problems", cell: (p) => (p.problems?.length ? badge(count(p.problems.length), "pending") : "–"), class: "number" },
      ],
    });
    this.filter = h("input", { type: "search", name: "q", placeholder: "Name, pod selector, rule", "data-filter": true, oninput: debounce(() => this.apply(), 60) });
    this.tally = h("p", { class: "tally", role: "status" });
    this.aside = h("aside", { class: "panel detail", "aria-label": "The chosen policy", hidden: true });
    this.element = h("div", { class: "view split" },
      h("form", { class: "toolbar", onsubmit: (e) => e.preventDefault() }, h("label", { class: "field grow" }, h("span", null, "Filter"), this.filter), this.tally),
      h("div", { class: "columns" }, this.list.element, this.aside));
    store.on("policies", () => this.apply());
    store.every("policies", wait, () => this.shown); // for what they count
  }

  show({ name, query }) {
    this.name = name;
    if (query.has("q")) this.filter.value = query.get("q");
    this.apply();
    if (!this.shown) store.refresh("policies");
    this.shown = true;
  }

  hide() { this.shown = false; }

  close() { if (this.name) location.hash = "#/policies"; }

  apply() {
    const all = store.value("policies") ?? [];
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all.filter((p) => words.every((w) => text(p).includes(w)));
    this.list.set(rows, store.failure("policies") ?? (all.length ? "No policy is like that." : "The cluster has no NetworkPolicy."));
    put(this.tally, rows.length === all.length ? plural(all.length, "policy", "policies") : `${rows.length} of ${plural(all.length, "policy", "policies")}`);
    this.describe();
  }

  describe() {
    const policy = this.name && (store.value("policies") ?? []).find((p) => p.name === this.name);
    this.list.mark(policy ? policy.name : undefined);
    this.aside.hidden = !this.name;
    if (!this.name) return;
    const close = h("a", { class: "close", href: "#/policies", "aria-label": "Close" }, "×");
    if (!policy) {
      put(this.aside, close, h("h2", null, this.name), h("p", { class: "dim" }, "There is no such policy, or it is gone."));
      return;
    }
    if (this.revealed !== this.name) this.list.reveal();
    this.revealed = this.name;
    const rules = policy.rules ?? [];
    renew(this.aside, close, h("h2", null, policy.name),
      facts([
        ["applies to", policy.subjects], ["isolates", (policy.isolates ?? []).join(", ") || "nothing"],
        ["on this node", policy.active ? "yes" : "no pod of this node is selected"],
        ["problems", policy.problems?.length ? h("ul", { class: "names bad" }, policy.problems.map((p) => h("li", null, p))) : ""],
        ["so far", tallies(policy)],
      ]),
      h("h3", null, plural(rules.length, "rule")),
      h("ol", { class: "rules" }, rules.slice(0, mostRules).map((r) => h("li", null, badge(`${r.direction} ${r.index}`, r.direction), " ", r.text, tallyOf(r)))),
      rules.length > mostRules && h("p", { class: "dim" }, `and ${count(rules.length - mostRules)} more: sluice get rules ${policy.name}`),
      h("h3", null, plural(policy.pods?.length ?? 0, "pod")), listed(policy.pods ?? [], podLink),
      h("p", { class: "links" }, h("a", { href: verdictsHref({ policy: policy.name }) }, "Verdicts")));
  }
}

// tallies are what the rules of a policy have allowed, and its isolation denied.
function tallies(policy) {
  if (!policy.stats) return "";
  const of = (a) => [["egress", a?.egress], ["ingress", a?.ingress]].filter(([, n]) => n).map(([side, n]) => `${plural(n, "attempt")} at ${side}`).join(", ") || "nothing";
  return [h("div", null, `allowed ${of(policy.stats.allowed)}`), h("div", null, `denied ${of(policy.stats.denied)}`), traffic(policy.stats), since(policy.stats)];
}

// traffic is what connections carried, where the datapath counts that.
const traffic = ({ traffic: t }) => t && h("div", { class: "dim" }, `${plural(t.connections, "connection")}, ${short(t.packets)} packets, ${short(t.bytes)}B`);

const since = (stats) => h("div", { class: "dim" }, `since ${new Date(stats.since).toLocaleString()}`);

const tallyOf = (rule) => rule.stats && [h("span", { class: "dim tallied" }, plural(rule.stats.attempts, "attempt")), traffic(rule.stats)];

const total = (a) => (a ? a.egress + a.ingress : undefined);

const texts = new WeakMap(); // what a policy is found by

function text(p) {
  if (!texts.has(p)) texts.set(p, [p.name, p.subjects, ...(p.problems ?? []), ...(p.rules ?? []).map((r) => `${r.direction} ${r.text}`)].join(" ").toLowerCase());
  return texts.get(p);
}
