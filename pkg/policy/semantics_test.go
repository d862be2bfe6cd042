package policy

import "testing"

// policies maps "namespace/name" to a spec in YAML.
type policies map[string]string

// TestSemantics states what NetworkPolicies mean, case by case. All pods but
// play/far are on this node.
func TestSemantics(t *testing.T) {
	for _, c := range []struct {
		name     string
		policies policies
		allowed  []string
		denied   []string
	}{
		{
			name: "without policies everything is allowed",
			allowed: []string{"shop/web > shop/db tcp/5432", "play/far > shop/db icmp", "203.0.113.5 > shop/db sctp/1",
				"shop/db > 203.0.113.5 udp/9"},
		},
		{
			name:     "policyTypes unset without egress rules isolates ingress only",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}}`},
			denied:   []string{"shop/web > shop/db tcp/5432", "203.0.113.5 > shop/db tcp/5432"},
			allowed:  []string{"shop/db > shop/web tcp/1", "shop/db > 203.0.113.5 tcp/1"},
		},
		{
			name:     "policyTypes unset with egress rules isolates both directions",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, egress: [{ports: [{port: 53, protocol: UDP}]}]}`},
			denied:   []string{"shop/web > shop/db tcp/5432", "shop/db > shop/web tcp/1"},
			allowed:  []string{"shop/db > shop/web udp/53"},
		},
		{
			name:     "policyTypes Egress alone leaves ingress open",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}`},
			denied:   []string{"shop/db > shop/web tcp/1", "shop/db > 203.0.113.5 icmp"},
			allowed:  []string{"shop/web > shop/db tcp/5432"},
		},
		{
			name:     "rules of a direction that policyTypes leaves out are ignored",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], egress: [{ports: [{port: 53}]}]}`},
			denied:   []string{"shop/web > shop/db tcp/5432"},
			allowed:  []string{"shop/db > shop/web tcp/1"},
		},
		{
			name:     "an empty list of ingress rules denies all",
			policies: policies{"shop/p": `{podSelector: {}, ingress: []}`},
			denied:   []string{"shop/web > shop/db tcp/5432", "play/far > shop/web icmp"},
			allowed:  []string{"shop/web > play/web tcp/1"},
		},
		{
			name:     "an empty ingress rule allows all",
			policies: policies{"shop/p": `{podSelector: {}, ingress: [{}]}`},
			allowed:  []string{"shop/web > shop/db tcp/5432", "play/far > shop/web icmp", "203.0.113.5 > shop/db sctp/7"},
		},
		{
			name:     "an empty podSelector applies to all pods of the policy's namespace and no other",
			policies: policies{"shop/p": `{podSelector: {}}`},
			denied:   []string{"play/web > shop/web tcp/1", "play/web > shop/db tcp/1"},
			allowed:  []string{"shop/web > play/api tcp/1"},
		},
		{
			name:     "a peer podSelector without namespaceSelector means the policy's namespace",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/5432", "shop/web > shop/db icmp"},
			denied:   []string{"play/web > shop/db tcp/5432", "shop/api > shop/db tcp/5432"},
		},
		{
			name:     "an empty peer podSelector means all pods of the policy's namespace",
			policies: policies{"shop/p": `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/5432"},
			denied:   []string{"play/web > shop/db tcp/5432", "203.0.113.5 > shop/db tcp/5432"},
		},
		{
			name:     "an empty peer namespaceSelector means all pods of all namespaces and nothing else",
			policies: policies{"shop/p": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/5432", "play/far > shop/db icmp"},
			denied:   []string{"203.0.113.5 > shop/db tcp/5432"},
		},
		{
			name:     "a peer with both selectors asks for both",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: web}}}]}]}`},
			allowed:  []string{"play/web > shop/db tcp/1"},
			denied:   []string{"shop/web > shop/db tcp/1", "play/api > shop/db tcp/1"},
		},
		{
			name:     "separate items of a peer list are alternatives",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: web}}}]}]}`},
			allowed:  []string{"play/web > shop/db tcp/1", "play/api > shop/db tcp/1", "shop/web > shop/db tcp/1"},
			denied:   []string{"shop/api > shop/db tcp/1"},
		},
		{
			name:     "NotIn matches where the key is absent",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/1"},
			denied:   []string{"shop/api > shop/db tcp/1"},
		},
		{
			name:     "DoesNotExist matches where the key is absent",
			policies: policies{"shop/p": `{podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}`},
			denied:   []string{"shop/api > shop/web tcp/1"},
			allowed:  []string{"shop/web > shop/api tcp/1", "shop/web > shop/db tcp/1"},
		},
		{
			name:     "In and Exists need the key",
			policies: policies{"shop/p": `{podSelector: {matchExpressions: [{key: tier, operator: Exists}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [web, other]}]}}]}]}`},
			allowed:  []string{"shop/web > shop/api tcp/1", "shop/web > shop/db tcp/1", "shop/db > shop/web tcp/1"},
			denied:   []string{"shop/api > shop/db tcp/1"},
		},
		{
			name:     "a port without protocol is TCP",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5432}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/5432", "203.0.113.5 > shop/db tcp/5432"},
			denied:   []string{"shop/web > shop/db udp/5432", "shop/web > shop/db sctp/5432", "shop/web > shop/db tcp/5433"},
		},
		{
			name:     "a protocol without port is every port of that protocol",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{protocol: UDP}]}]}`},
			allowed:  []string{"shop/web > shop/db udp/1", "shop/web > shop/db udp/65535"},
			denied:   []string{"shop/web > shop/db tcp/1", "shop/web > shop/db icmp"},
		},
		{
			name:     "a port item that is empty is every TCP port",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/1"},
			denied:   []string{"shop/web > shop/db udp/1", "shop/web > shop/db icmp"},
		},
		{
			name:     "endPort is inclusive",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 100, endPort: 110}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/100", "shop/web > shop/db tcp/110"},
			denied:   []string{"shop/web > shop/db tcp/99", "shop/web > shop/db tcp/111"},
		},
		{
			name:     "ports are alternatives",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 1}, {port: 3}, {port: 53, protocol: UDP}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/1", "shop/web > shop/db tcp/3", "shop/web > shop/db udp/53"},
			denied:   []string{"shop/web > shop/db tcp/2", "shop/web > shop/db tcp/53"},
		},
		{
			name:     "a named port of ingress is each subject's own number",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {tier: back}}, ingress: [{ports: [{port: http}]}]}`},
			allowed:  []string{"shop/web > shop/api tcp/8080", "203.0.113.5 > shop/db tcp/9090"},
			denied:   []string{"shop/web > shop/api tcp/9090", "shop/web > shop/db tcp/8080"},
		},
		{
			name:     "a named port of ingress works with an ipBlock",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {tier: back}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: http}]}]}`},
			allowed:  []string{"203.0.113.5 > shop/db tcp/9090"},
			denied:   []string{"203.0.113.5 > shop/db tcp/8080", "198.51.100.1 > shop/db tcp/9090", "shop/web > shop/db tcp/9090"},
		},
		{
			name:     "a named port of egress is each destination's own number, never a cross product",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]}`},
			allowed:  []string{"shop/web > shop/api tcp/8080", "shop/web > play/api tcp/8081", "shop/web > play/far tcp/8082", "shop/web > shop/db tcp/9090"},
			denied:   []string{"shop/web > shop/api tcp/8081", "shop/web > play/api tcp/8080", "shop/web > play/web tcp/8080", "shop/web > 203.0.113.5 tcp/8080"},
		},
		{
			name:     "a named port of egress does not match in an ipBlock, not even for pods",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {podSelector: {matchLabels: {app: db}}}], ports: [{port: http}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/9090"},
			denied:   []string{"shop/web > shop/api tcp/8080", "shop/web > 203.0.113.5 tcp/8080"},
		},
		{
			name:     "a named port of egress without peers is looked up on any pod, and on nothing else",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`},
			allowed:  []string{"shop/web > shop/api tcp/8080", "shop/web > play/far tcp/8082"},
			denied:   []string{"shop/web > shop/api tcp/8082", "shop/web > 203.0.113.5 tcp/8080"},
		},
		{
			name:     "named and numbered ports of one rule are alternatives",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}, {ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: http}, {port: 443}]}]}`},
			allowed:  []string{"shop/web > shop/api tcp/8080", "shop/web > shop/api tcp/443", "shop/web > 203.0.113.5 tcp/443"},
			denied:   []string{"shop/web > 203.0.113.5 tcp/8080", "shop/web > play/api tcp/8081"},
		},
		{
			name:     "a named port that no pod has matches nothing, and the pod stays isolated",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: nosuch}]}]}`},
			denied:   []string{"shop/web > shop/db tcp/5432", "shop/web > shop/db tcp/9090", "203.0.113.5 > shop/db icmp"},
		},
		{
			name:     "a named port of another protocol matches nothing, and the pod stays isolated",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: dns}]}, {ports: [{port: http, protocol: UDP}]}]}`},
			denied:   []string{"shop/web > shop/db tcp/53", "shop/web > shop/db udp/53", "shop/web > shop/db tcp/9090", "shop/web > shop/db udp/9090"},
		},
		{
			name:     "a named port of the protocol asked for matches",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: dns, protocol: UDP}]}]}`},
			allowed:  []string{"shop/web > shop/db udp/53"},
			denied:   []string{"shop/web > shop/db tcp/53"},
		},
		{
			name:     "a rule of SCTP alone isolates and allows no TCP",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5432, protocol: SCTP}]}]}`},
			allowed:  []string{"shop/web > shop/db sctp/5432"},
			denied:   []string{"shop/web > shop/db tcp/5432", "shop/web > shop/db udp/5432"},
		},
		{
			name:     "an ipBlock matches pod addresses too",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24}}, {ipBlock: {cidr: "fd00::/16"}}]}]}`},
			allowed:  []string{"shop/web > shop/db tcp/1", "play/far > shop/db tcp/1", "10.0.0.99 > shop/db tcp/1"},
			denied:   []string{"203.0.113.5 > shop/db tcp/1"},
		},
		{
			name:     "an except takes away within its peer",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.0.0/8, except: [203.0.113.0/24]}}]}]}`},
			allowed:  []string{"shop/db > 203.0.112.1 tcp/1"},
			denied:   []string{"shop/db > 203.0.113.1 tcp/1", "shop/db > 204.0.0.1 tcp/1"},
		},
		{
			name: "what an except takes away another peer or rule may still allow",
			policies: policies{
				"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.0.0/8, except: [203.0.113.0/24]}}, {ipBlock: {cidr: 203.0.113.64/26}}]}]}`,
				"shop/q": `{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.5/32}}]}]}`,
			},
			allowed: []string{"203.0.112.1 > shop/db tcp/1", "203.0.113.65 > shop/db tcp/1", "203.0.113.5 > shop/db tcp/1"},
			denied:  []string{"203.0.113.6 > shop/db tcp/1"},
		},
		{
			name:     "an except may leave nothing",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.0/24]}}]}]}`},
			denied:   []string{"203.0.113.5 > shop/db tcp/1"},
		},
		{
			name: "policies add up",
			policies: policies{
				"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}]}]}`,
				"shop/q": `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 2}]}]}`,
			},
			allowed: []string{"shop/web > shop/db tcp/1", "shop/api > shop/db tcp/2", "shop/api > shop/web tcp/2"},
			denied:  []string{"shop/web > shop/db tcp/2", "shop/api > shop/db tcp/1"},
		},
		{
			name: "a connection needs egress of its source and ingress of its destination",
			policies: policies{
				"shop/in":  `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 1}, {port: 2}]}]}`,
				"shop/out": `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: 2}, {port: 3}]}]}`,
			},
			allowed: []string{"shop/web > shop/db tcp/2", "shop/api > shop/db tcp/1", "shop/web > shop/api tcp/3"},
			denied:  []string{"shop/web > shop/db tcp/1", "shop/web > shop/db tcp/3"},
		},
		{
			name:     "a rule with ports allows no ICMP, a rule without does",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}, {protocol: UDP}, {protocol: SCTP}]}, {from: [{podSelector: {matchLabels: {app: api}}}]}]}`},
			allowed:  []string{"shop/api > shop/db icmp"},
			denied:   []string{"shop/web > shop/db icmp"},
		},
		{
			name:     "a namespace is selected by its name label",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: play}}}]}]}`},
			allowed:  []string{"play/web > shop/db tcp/1"},
			denied:   []string{"shop/web > shop/db tcp/1"},
		},
		{
			name:     "IPv4-mapped blocks stand for IPv4",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: "::ffff:203.0.113.0/120", except: ["::ffff:203.0.113.128/121"]}}]}]}`},
			allowed:  []string{"203.0.113.5 > shop/db tcp/1"},
			denied:   []string{"203.0.113.200 > shop/db tcp/1"},
		},
		{
			name:     "bits of a CIDR beyond its length are ignored",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.77/24}}]}]}`},
			allowed:  []string{"203.0.113.5 > shop/db tcp/1"},
			denied:   []string{"203.0.114.5 > shop/db tcp/1"},
		},
		{
			name:     "all IPv4 is not all IPv6",
			policies: policies{"shop/p": `{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`},
			allowed:  []string{"203.0.113.5 > shop/db tcp/1"},
			denied:   []string{"2001:db8::1 > shop/db tcp/1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := shop(t)
			for name, spec := range c.policies {
				w.policy(name, spec)
			}
			w.allowed(c.allowed...)
			w.denied(c.denied...)
		})
	}
}
