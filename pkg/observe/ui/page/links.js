// Links between the views, and the small parts that they share.

import { h } from "./dom.js";
import { service, end } from "./format.js";

const segments = (name) => name.split("/").map(encodeURIComponent).join("/");

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, v]) => v)).toString();

export const podHref = (name) => `#/pods/${segments(name)}`;
export const policyHref = (name) => `#/policies/${segments(name)}`;
export const verdictsHref = (filter) => `#/verdicts?${query(filter)}`;
export const traceHref = (question) => `#/pipeline?${query(question)}`;

// traceOf is the question behind an event.
export const traceOf = (event) => traceHref({
  from: end(event.from), to: end(event.to), protocol: event.protocol === "icmpv6" ? "icmp" : event.protocol,
  port: event.port || "", family: (event.to?.addr ?? "").includes(":") ? 6 : "",
});

export const podLink = (name) => h("a", { href: podHref(name) }, name);
export const policyLink = (name) => h("a", { href: policyHref(name) }, name);

// endLink is one end of a connection, a link if it is a pod.
export const endLink = (e) => (e?.pod ? podLink(e.pod) : h("span", { class: "mono" }, e?.addr ?? ""));

export const badge = (text, kind = text) => h("span", { class: `badge ${/^[a-z]+$/.test(kind) ? kind : ""}` }, text);

export const connection = (e) => [endLink(e.from), " → ", endLink(e.to), " ", h("span", { class: "mono" }, service(e.protocol, e.port))];

// facts is a list of names and what they have; those that have nothing are left
// out.
export const facts = (pairs) => h("dl", null, pairs.filter(([, v]) => v !== undefined && v !== "" && !(Array.isArray(v) && !v.length))
  .map(([name, v]) => [h("dt", null, name), h("dd", null, v)]));

// listed is links one below the other, not all of them at once.
export function listed(names, link, most = 50) {
  const shown = names.slice(0, most).map((n) => h("li", null, link(n)));
  if (names.length > most) {
    const rest = h("li", null, h("button", { class: "plain", onclick: () => rest.replaceWith(...names.slice(most).map((n) => h("li", null, link(n)))) }, `${names.length - most} more`));
    shown.push(rest);
  }
  return h("ul", { class: "names" }, shown);
}
