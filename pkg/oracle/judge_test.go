package oracle

import "testing"

// One case for each row of the project's table of NetworkPolicy semantics, with
// the verdicts worked out by hand.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct{ name, policies, want string }{
		{"no policy allows everything", ``, `
			allow shop/web > shop/api tcp/80
			allow shop/web > 203.0.113.1 icmp
			allow 203.0.113.1 > shop/web sctp/1`},
		{"both sides must allow", `
- {in: shop, name: out, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}]}
- {in: shop, name: into, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: 80}]}]}`, `
			allow shop/web > shop/api tcp/80
			deny  shop/web > shop/api tcp/81
			deny  shop/web > shop/db  tcp/80
			allow shop/db  > shop/api tcp/80`},
		{"policies add up", `
- {in: shop, name: none, podSelector: {}, ingress: []}
- {in: shop, name: web, podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
- {in: shop, name: db, podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}`, `
			allow shop/web > shop/api tcp/80
			allow shop/db  > shop/api tcp/80
			deny  bank/api > shop/api tcp/80
			deny  shop/web > shop/db  tcp/80`},
		{"policyTypes unset isolates for ingress", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}}`, `
			deny  shop/api > shop/web tcp/80
			allow shop/web > shop/api tcp/80`},
		{"policyTypes unset isolates for egress too if there are egress rules", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}`, `
			deny  shop/api > shop/web tcp/80
			allow shop/web > shop/db  tcp/80
			deny  shop/web > shop/api tcp/80`},
		{"policyTypes egress isolates for egress alone, whatever ingress says", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], ingress: [{ports: [{port: 1}]}]}`, `
			allow shop/api > shop/web tcp/80
			deny  shop/web > shop/api tcp/1`},
		{"policyTypes ingress leaves egress rules aside", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], egress: [{ports: [{port: 1}]}]}`, `
			allow shop/web > shop/api tcp/80
			deny  shop/api > shop/web tcp/1`},
		{"no ingress rule denies all", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, ingress: []}`, `
			deny shop/api > shop/web tcp/80
			deny shop/api > shop/web icmp
			deny 203.0.113.1 > shop/web udp/53`},
		{"an empty ingress rule allows all", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, ingress: [{}]}`, `
			allow shop/api > shop/web tcp/80
			allow shop/api > shop/web icmp
			allow 203.0.113.1 > shop/web sctp/5`},
		{"an empty podSelector is every pod of the policy's namespace", `
- {in: shop, name: p, podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`, `
			allow shop/web > shop/db  tcp/80
			deny  bank/api > shop/db  tcp/80
			deny  bank/api > shop/web tcp/80
			allow shop/web > bank/api tcp/80`},
		{"an empty namespaceSelector is every pod of every namespace, and no other address", `
- {in: shop, name: p, podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`, `
			allow shop/web > shop/db tcp/80
			allow bank/api > shop/db tcp/80
			deny  203.0.113.1 > shop/db tcp/80`},
		{"two selectors of a peer are joined by and", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: retail}}, podSelector: {matchLabels: {app: api}}}]}]}`, `
			allow shop/api > shop/db tcp/80
			deny  shop/web > shop/db tcp/80
			deny  bank/api > shop/db tcp/80`},
		{"two peers are joined by or", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: bank}}}, {podSelector: {matchLabels: {app: api}}}]}]}`, `
			allow shop/api > shop/db tcp/80
			deny  shop/web > shop/db tcp/80
			allow bank/api > shop/db tcp/80`},
		{"NotIn matches if the key is absent", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}}]}]}`, `
			allow shop/api > shop/db tcp/80
			deny  shop/web > shop/db tcp/80`},
		{"DoesNotExist matches if the key is absent", `
- {in: shop, name: p, podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}}`, `
			deny  shop/db > shop/api tcp/80
			allow shop/db > shop/web tcp/80`},
		{"In and Exists need the key", `
- {in: shop, name: p, podSelector: {matchExpressions: [{key: tier, operator: Exists}, {key: app, operator: In, values: [db, api]}]}}`, `
			allow shop/db > shop/api tcp/80
			allow shop/db > shop/web tcp/80
			deny  shop/api > shop/db tcp/80`},
		{"an unset protocol is TCP", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: 53}]}]}`, `
			allow shop/web > shop/api tcp/53
			deny  shop/web > shop/api udp/53
			deny  shop/web > shop/api sctp/53`},
		{"an unset port is every port of the protocol", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{protocol: UDP}]}]}`, `
			allow shop/web > shop/api udp/1
			allow shop/web > shop/api udp/65535
			deny  shop/web > shop/api tcp/1`},
		{"an empty port is every port of TCP", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{}]}]}`, `
			allow shop/web > shop/api tcp/65535
			deny  shop/web > shop/api udp/1
			deny  shop/web > shop/api icmp`},
		{"endPort is inclusive", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: 1000, endPort: 1003}, {port: 65534, endPort: 65535}]}]}`, `
			deny  shop/web > shop/api tcp/999
			allow shop/web > shop/api tcp/1000
			allow shop/web > shop/api tcp/1003
			deny  shop/web > shop/api tcp/1004
			allow shop/web > shop/api tcp/65535`},
		{"endPort needs a number", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: http, endPort: 90}, {port: 1}]}, {ports: [{endPort: 9}]}, {ports: [{port: 7}]}]}`, `
			deny  shop/web > shop/api tcp/80
			deny  shop/web > shop/api tcp/1
			deny  shop/web > shop/api tcp/9
			allow shop/web > shop/api tcp/7`},
		{"a named port of ingress is each subject's own number", `
- {in: shop, name: p, podSelector: {}, ingress: [{ports: [{port: http}]}]}`, `
			allow shop/db > shop/web tcp/8080
			deny  shop/db > shop/web tcp/80
			allow shop/db > shop/api tcp/80
			deny  shop/db > shop/api tcp/8080
			deny  shop/web > shop/db tcp/80
			allow 203.0.113.1 > shop/api tcp/80`},
		{"a named port of ingress works with an ipBlock", `
- {in: shop, name: p, podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: http}]}]}`, `
			allow 203.0.113.1 > shop/api tcp/80
			deny  203.0.113.1 > shop/api tcp/8080`},
		{"a named port of egress is a pair of address and port", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]}`, `
			allow shop/db > shop/web tcp/8080
			deny  shop/db > shop/web tcp/80
			allow shop/db > shop/api tcp/80
			deny  shop/db > shop/api tcp/9090
			allow shop/db > bank/api tcp/9090
			deny  shop/db > 203.0.113.1 tcp/80`},
		{"a named port of egress without peers is looked up on any pod", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`, `
			allow shop/db > bank/api tcp/9090
			deny  shop/db > 203.0.113.1 tcp/9090`},
		{"a named port of egress matches nothing in an ipBlock, pod or not", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: http}, {port: 443}]}]}`, `
			deny  shop/db > shop/api tcp/80
			deny  shop/db > 203.0.113.1 tcp/80
			allow shop/db > shop/api tcp/443`},
		{"a name that is unresolved or of another protocol matches nothing and isolates", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: nothing}, {port: dns}, {port: http, protocol: UDP}]}]}`, `
			deny shop/web > shop/api tcp/53
			deny shop/web > shop/api udp/53
			deny shop/web > shop/api udp/80
			deny shop/web > shop/api tcp/80`},
		{"a name of a sidecar resolves, of an init container it does not", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{port: mesh}, {port: setup}]}]}`, `
			allow shop/web > shop/api tcp/15000
			deny  shop/web > shop/api tcp/7000`},
		{"an SCTP rule isolates and allows no TCP", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{ports: [{protocol: SCTP, port: 80}]}]}`, `
			allow shop/web > shop/api sctp/80
			deny  shop/web > shop/api tcp/80
			deny  shop/web > shop/api sctp/81`},
		{"an ipBlock matches pod addresses", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.1.0/24, except: [10.0.1.3/32]}}]}]}`, `
			allow shop/web > shop/db tcp/80
			deny  shop/api > shop/db tcp/80
			deny  bank/api > shop/db tcp/80`},
		{"except takes away within its own peer only", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.0.0/8, except: [203.0.113.0/24, 203.7.0.0/16]}}, {ipBlock: {cidr: 203.0.113.64/26}}]}]}
- {in: shop, name: q, podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.7.7.0/24}}]}]}`, `
			allow 203.0.1.1 > shop/db tcp/80
			deny  203.0.113.1 > shop/db tcp/80
			allow 203.0.113.65 > shop/db tcp/80
			deny  203.7.1.1 > shop/db tcp/80
			allow 203.7.7.7 > shop/db tcp/80`},
		{"a pod reaches its own address", `
- {in: shop, name: p, podSelector: {}, policyTypes: [Ingress, Egress]}`, `
			allow shop/web > shop/web tcp/80
			allow shop/web/6 > shop/web/6 icmp
			deny  shop/web > shop/api tcp/80`},
		{"a hostNetwork pod is no subject", `
- {in: bank, name: p, podSelector: {}, policyTypes: [Ingress, Egress]}`, `
			allow bank/host > shop/api tcp/80
			allow shop/api > bank/host tcp/80
			deny  shop/api > bank/api tcp/80`},
		{"a hostNetwork pod is no peer", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{from: [{namespaceSelector: {}}]}]}`, `
			deny  bank/host > shop/api tcp/80
			allow bank/api > shop/api tcp/80`},
		{"a pod's own node reaches it, another node does not", `
- {in: shop, name: p, podSelector: {}, policyTypes: [Ingress, Egress]}`, `
			allow 192.168.0.1 > shop/web tcp/80
			allow fd00:168::1 > shop/web/6 tcp/80
			deny  192.168.0.2 > shop/web tcp/80
			allow 192.168.0.2 > shop/db tcp/80
			allow 10.0.1.1 > shop/web tcp/80 own-node
			deny  10.0.1.1 > shop/web tcp/80
			deny  shop/web > 192.168.0.1 tcp/80`},
		{"another node is matched by an ipBlock", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 192.168.0.2/32}}]}]}`, `
			allow 192.168.0.2 > shop/web tcp/80
			deny  192.168.0.3 > shop/web tcp/80`},
		{"a client address that is kept is matched", `
- {in: shop, name: p, podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/25}}]}]}`, `
			allow 203.0.113.1 > shop/web tcp/8080
			deny  203.0.113.200 > shop/web tcp/8080`},
		{"a finished pod is no peer", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}`, `
			allow shop/api > shop/db tcp/80
			deny  10.0.1.9 > shop/db tcp/80
			deny  10.0.1.8 > shop/db tcp/80`},
		{"a finished pod is no subject", `
- {in: shop, name: p, podSelector: {}}`, `
			allow bank/api > 10.0.1.9 tcp/80
			deny  bank/api > shop/api tcp/80`},
		{"a pod with no address yet is no peer", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]}`, `
			deny shop/new=10.0.1.7 > shop/db tcp/80`},
		{"a pod with no address yet is a subject by its port", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}`, `
			allow shop/new=10.0.1.7 > shop/db tcp/80
			deny  shop/new=10.0.1.7 > shop/web tcp/80
			deny  shop/db > shop/new=10.0.1.7 tcp/80`},
		{"a pod the cluster does not know is closed, but for its own node", ``, `
			deny  shop/unheard-of=10.0.1.7 > shop/web tcp/80
			deny  shop/web > shop/unheard-of=10.0.1.7 tcp/80
			allow 10.0.1.1 > shop/unheard-of=10.0.1.7 tcp/80 own-node`},
		{"every address of a pod counts", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}}]}]}`, `
			allow shop/web > shop/api tcp/80
			allow shop/web/6 > shop/api/6 tcp/80
			allow 2001:db8::1 > shop/api/6 tcp/80
			deny  2001:db8:1::1 > shop/api/6 tcp/80
			deny  203.0.113.1 > shop/api tcp/80`},
		{"a block of one family holds no address of the other", `
- {in: shop, name: p, podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`, `
			allow shop/web > shop/api tcp/80
			deny  shop/web/6 > shop/api/6 tcp/80`},
		{"ICMP is allowed by a rule without ports only", `
- {in: shop, name: p, podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}, {from: [{podSelector: {matchLabels: {app: db}}}], ports: [{}, {protocol: UDP}, {protocol: SCTP}]}]}`, `
			allow shop/web > shop/api icmp
			allow shop/web/6 > shop/api/6 icmp
			deny  shop/db > shop/api icmp`},
		{"labels of a namespace are matched, its name among them", `
- {in: bank, name: p, podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [shop]}]}}]}]}`, `
			allow shop/web > bank/api tcp/80
			deny  203.0.113.1 > bank/api tcp/80`},
		{"an except outside its cidr closes its rule and no other", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.1.0/24, except: [10.0.9.0/28]}}, {podSelector: {}}], ports: [{port: 1}]}, {ports: [{port: 2}]}]}
- {in: shop, name: q, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 3}]}]}`, `
			deny  shop/web > shop/db tcp/1
			allow shop/web > shop/db tcp/2
			allow shop/web > shop/db tcp/3`},
		{"an except wider than its cidr or of the other family closes its rule", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.0/16]}}, {podSelector: {}}]}, {from: [{ipBlock: {cidr: 10.0.1.0/24, except: ["fd00::/64"]}}]}]}`, `
			deny shop/web > shop/db tcp/1`},
		{"a number that is no port closes its rule", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 0}, {port: 1}]}, {ports: [{port: 65536}, {port: 2}]}, {ports: [{port: 7, endPort: 65536}, {port: 3}]}, {ports: [{port: 4}]}]}`, `
			deny  shop/web > shop/db tcp/1
			deny  shop/web > shop/db tcp/2
			deny  shop/web > shop/db tcp/3
			deny  shop/web > shop/db tcp/7
			allow shop/web > shop/db tcp/4`},
		{"an endPort before its port closes its rule", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 9, endPort: 8}, {port: 1}]}, {ports: [{port: 2}]}]}`, `
			deny  shop/web > shop/db tcp/1
			deny  shop/web > shop/db tcp/9
			allow shop/web > shop/db tcp/2`},
		{"an unknown protocol closes its rule", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{protocol: ICMP}, {port: 1}]}, {ports: [{protocol: tcp, port: 3}]}, {ports: [{port: 2}]}]}`, `
			deny  shop/web > shop/db icmp
			deny  shop/web > shop/db tcp/1
			deny  shop/web > shop/db tcp/3
			allow shop/web > shop/db tcp/2`},
		{"a peer that is nothing, or two things, closes its rule", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{}, {podSelector: {}}]}, {from: [{podSelector: {}, ipBlock: {cidr: 0.0.0.0/0}}]}, {from: [{ipBlock: {cidr: everywhere}}]}]}`, `
			deny shop/web > shop/db tcp/1`},
		{"a selector that can't be read closes its rule, or the pods of its policy", `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: Like}]}}, {namespaceSelector: {}}]}, {from: [{namespaceSelector: {matchExpressions: [{key: team, operator: In}]}}, {podSelector: {}}]}, {ports: [{port: 2}]}]}
- {in: shop, name: q, podSelector: {matchExpressions: [{key: app, operator: Like}]}, ingress: [{}]}`, `
			deny  shop/web > shop/db tcp/1
			deny  shop/db > shop/web tcp/1
			allow shop/web > shop/db tcp/2`},
	} {
		t.Run(tt.name, func(t *testing.T) { expect(t, fixture(t, tt.policies), tt.want) })
	}
}
