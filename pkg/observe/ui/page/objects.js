// What the objects of flows mean for a verdict.

// reasons says why the kinds of objects that drop packets do.
export const reasons = {
  spoof: "not from the pod's own addresses", invalid: "of no connection, and begins none",
  "egress-isolation": "isolated for egress, and no rule allows it", "ingress-isolation": "isolated for ingress, and no rule allows it",
  "egress-pending": "the source's policies are not known yet", "ingress-pending": "the destination's policies are not known yet",
  unroutable: "an address that nothing here has", encapsulated: "a pod's packet of the tunnel between nodes",
  "service-unserved": "to a Service that nobody here serves",
};

const kindOf = (step) => (step.object ?? "").split("/")[0];

// denies tells whether a step of a trace is a verdict against the packet, allows
// whether it is one for it.
export const denies = (step) => Object.hasOwn(reasons, kindOf(step));
export const allows = (step) => /^(egress|ingress)-rule$/.test(kindOf(step));
