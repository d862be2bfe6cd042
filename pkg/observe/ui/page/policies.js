// The view of policies: what they select, their rules, and what these have let
// through.

import { h, put, debounce } from "./dom.js";
import * as store from "./store.js";
import { count, plural } from "./format.js";
import { List } from "./list.js";
import { badge, facts, listed, podLink, policyHref, verdictsHref } from "./links.js";

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
  }

  show({ name, query }) {
    this.name = name;
    if (query.has("q")) this.filter.value = query.get("q");
    this.apply();
    store.refresh("policies"); // counters
  }

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
    this.list.reveal();
    const rules = policy.rules ?? [];
    put(this.aside, close, h("h2", null, policy.name),
      facts([
        ["applies to", policy.subjects], ["isolates", (policy.isolates ?? []).join(", ") || "nothing"],
        ["on this node", policy.active ? "yes" : "no pod of this node is selected"],
        ["problems", policy.problems?.length ? h("ul", { class: "names bad" }, policy.problems.map((p) => h("li", null, p))) : ""],
        ["denied by default", counted(policy)],
      ]),
      h("h3", null, plural(rules.length, "rule")),
      h("ol", { class: "rules" }, rules.slice(0, mostRules).map((r) => h("li", null, badge(`${r.direction} ${r.index}`, r.direction), " ", r.text, tallyOf(r)))),
      rules.length > mostRules && h("p", { class: "dim" }, `and ${count(rules.length - mostRules)} more: sluice get rules ${policy.name}`),
      h("h3", null, plural(policy.pods?.length ?? 0, "pod")), listed(policy.pods ?? [], podLink),
      h("p", { class: "links" }, h("a", { href: verdictsHref({ policy: policy.name }) }, "Verdicts")));
  }
}

// counters are what a rule or a policy may have counted, with what it is called.
const counters = [["connections", "connection"], ["denied", "connection"], ["packets", "packet"], ["bytes", "byte"]];

function counted(of) {
  const parts = counters.filter(([name]) => Number.isFinite(of[name])).map(([name, unit]) => plural(of[name], unit));
  return parts.join(", ");
}

const tallyOf = (rule) => (counted(rule) ? h("div", { class: "dim" }, counted(rule)) : "");

const texts = new WeakMap(); // what a policy is found by

function text(p) {
  if (!texts.has(p)) texts.set(p, [p.name, p.subjects, ...(p.problems ?? []), ...(p.rules ?? []).map((r) => `${r.direction} ${r.text}`)].join(" ").toLowerCase());
  return texts.get(p);
}
