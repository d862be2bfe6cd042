package random

// meaningScripts are about what rules mean together, in a cluster that stands
// still.
var meaningScripts = []script{
	{"named ports of egress are pairs, not a product", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]}`, want: `
		allow red/db > red/web tcp/8080
		deny  red/db > red/web tcp/80
		deny  red/db > red/web tcp/9090
		allow red/db > red/api tcp/80
		deny  red/db > red/api tcp/8080
		allow red/db > blue/api tcp/9090
		deny  red/db > blue/api tcp/80
		allow red/db > blue/far tcp/80
		allow red/db/6 > blue/far/6 tcp/80
		deny  red/db > red/api icmp`}}},
	{"a rule with a name, a number and a range of ports lets each apply", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}, {ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: http}, {port: 443}, {port: 5000, endPort: 5009}]}]}`, want: `
		allow red/db > red/web tcp/8080
		deny  red/db > 203.0.113.5 tcp/8080
		allow red/db > 203.0.113.5 tcp/443
		allow red/db > red/api tcp/443
		allow red/db > 203.0.113.5 tcp/5009
		deny  red/db > 203.0.113.5 tcp/5010
		deny  red/db > blue/api tcp/443`}}},
	{"a name that egress finds by a selector is not opened by a block over the same pod", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: 10.64.0.0/16}}], ports: [{port: http}]}]}`, want: `
		allow red/db > red/web tcp/8080
		allow red/db > red/far tcp/8080
		deny  red/db > red/api tcp/80
		deny  red/db > blue/api tcp/9090`}}},
	{"a named port of egress without peers reaches pods only", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`, want: `
		allow red/db > blue/api tcp/9090
		allow red/db > red/web tcp/8080
		deny  red/db > red/web tcp/9090
		deny  red/db > 203.0.113.1 tcp/80`}}},
	{"a named port of ingress is each subject's own", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {}, ingress: [{from: [{namespaceSelector: {}}, {ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: http}]}]}`, want: `
		allow red/db > red/web tcp/8080
		deny  red/db > red/web tcp/80
		allow red/db > red/api tcp/80
		deny  red/db > red/api tcp/8080
		allow 203.0.113.9 > red/api tcp/80
		deny  203.0.113.9 > red/api tcp/8080
		deny  red/web > red/db tcp/80
		deny  red/web > red/db tcp/8080`}}},
	{"a name is looked up under its protocol", []scriptStep{{
		pods: `
- {metadata: {namespace: red, name: db, labels: {app: db}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: dns, containerPort: 53, protocol: UDP}]}, {name: d, ports: [{name: dns, containerPort: 5353}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.4}, {ip: "fd00:64::4"}]}}`,
		policies: `
- {in: red, name: in, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: dns}]}]}
- {in: red, name: out, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: dns}]}]}`, want: `
		allow red/web > red/db tcp/5353
		deny  red/api > red/db tcp/53
		deny  red/api > red/db udp/53
		deny  red/api > red/db udp/5353
		deny  red/web > red/api udp/53`}}},
	{"an except takes away within its own peer only", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.64.0.0/14, except: [10.64.0.0/16]}}, {ipBlock: {cidr: 10.64.0.2/31}}], ports: [{port: 1}]}, {from: [{podSelector: {}}], ports: [{port: 2}]}]}`, want: `
		allow red/web > red/db tcp/1
		allow red/api > red/db tcp/1
		deny  blue/api > red/db tcp/1
		deny  red/far > red/db tcp/1
		allow 10.65.0.1 > red/db tcp/1
		deny  10.68.0.1 > red/db tcp/1
		allow red/far > red/db tcp/2
		deny  blue/api > red/db tcp/2`}}},
	{"blocks and excepts nest to any depth", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.0.0/16, 203.0.113.0/24]}}]}, {from: [{ipBlock: {cidr: 203.0.113.0/25, except: [203.0.113.64/26, 203.0.113.64/27]}}]}, {from: [{ipBlock: {cidr: 203.0.113.80/32}}]}]}`, want: `
		allow 198.51.100.1 > red/db tcp/1
		deny  203.0.1.1 > red/db tcp/1
		allow 203.0.113.1 > red/db tcp/1
		deny  203.0.113.64 > red/db tcp/1
		deny  203.0.113.79 > red/db tcp/1
		allow 203.0.113.80 > red/db tcp/1
		deny  203.0.113.81 > red/db tcp/1
		deny  203.0.113.127 > red/db tcp/1
		deny  203.0.113.128 > red/db tcp/1
		allow red/web > red/db tcp/1
		deny  red/web/6 > red/db/6 tcp/1`}}},
	{"the same block with and without its except stand side by side", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}], ports: [{port: 1}]}, {from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 2}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.128/25}}]}]}`, want: `
		allow 203.0.113.1 > red/db tcp/1
		deny  203.0.113.129 > red/db tcp/1
		allow 203.0.113.129 > red/db tcp/2
		deny  red/web > 203.0.113.1 tcp/2
		allow red/web > 203.0.113.129 tcp/2`}}},
	{"a pod is met by a selector and by a block at once", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}]}, {from: [{ipBlock: {cidr: 10.64.0.0/24}}], ports: [{port: 2}]}]}`, want: `
		allow red/web > red/db tcp/1
		allow red/web > red/db tcp/2
		allow blue/api > red/db tcp/2
		deny  blue/api > red/db tcp/1
		allow red/far > red/db tcp/1
		deny  red/far > red/db tcp/2
		allow red/web/6 > red/db/6 tcp/1
		deny  red/web/6 > red/db/6 tcp/2`}}},
	{"rules do not lend each other their clauses", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}, {port: 3}]}, {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 2}, {port: 3}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 2}]}]}`, want: `
		allow red/web > red/db tcp/1
		deny  red/web > red/db tcp/2
		deny  red/api > red/db tcp/1
		allow red/api > red/db tcp/2
		allow red/web > red/db tcp/3
		allow red/api > red/db tcp/3
		allow red/web > red/api tcp/2
		deny  red/web > red/api tcp/1
		deny  red/db > red/api tcp/2`}}},
	{"ranges overlap, begin and end anywhere", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1000, endPort: 2001}]}, {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 1500}, {port: 1, endPort: 1}, {port: 65535, endPort: 65535}, {port: 7001, endPort: 7002}]}, {from: [{namespaceSelector: {matchLabels: {team: b}}}], ports: [{port: 1, endPort: 65535}]}]}`, want: `
		deny  red/web > red/db tcp/999
		allow red/web > red/db tcp/1000
		allow red/web > red/db tcp/1500
		allow red/web > red/db tcp/2001
		deny  red/web > red/db tcp/2002
		allow red/api > red/db tcp/1500
		deny  red/api > red/db tcp/1501
		allow red/api > red/db tcp/1
		deny  red/api > red/db tcp/2
		allow red/api > red/db tcp/65535
		deny  red/api > red/db tcp/7000
		allow red/api > red/db tcp/7001
		allow red/api > red/db tcp/7002
		deny  red/api > red/db tcp/7003
		allow blue/api > red/db tcp/1
		allow blue/api > red/db tcp/65535
		deny  blue/api > red/db udp/1
		deny  blue/api > red/db icmp`}}},
	{"protocols are kept apart, ICMP needs a rule without ports", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{protocol: SCTP, port: 80}, {protocol: UDP}]}, {from: [{podSelector: {matchLabels: {app: api}}}]}]}`, want: `
		allow red/web > red/db sctp/80
		deny  red/web > red/db sctp/81
		deny  red/web > red/db tcp/80
		allow red/web > red/db udp/1
		deny  red/web > red/db icmp
		deny  red/web/6 > red/db/6 icmp
		allow red/api > red/db icmp
		allow red/api/6 > red/db/6 icmp
		allow red/api/6 > red/db/6 sctp/1
		deny  red/far > red/db icmp`}}},
	{"a rule for everybody and a rule for everything", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 80}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: api}}, ingress: [{}]}
- {in: red, name: r, podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], egress: [{}]}`, want: `
		allow 203.0.113.1 > red/db tcp/80
		deny  203.0.113.1 > red/db tcp/81
		deny  blue/api > red/db icmp
		allow 203.0.113.1 > red/api icmp
		allow 2001:db8::1 > red/api/6 udp/1
		allow red/web > 203.0.113.1 sctp/7
		deny  red/api > red/web tcp/80
		allow red/web > red/db tcp/80
		deny  red/web > red/db tcp/81`}}},
	{"both sides are asked, each of its own policies", []scriptStep{{policies: `
- {in: red, name: out, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 1, endPort: 5}]}]}
- {in: red, name: in, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5, endPort: 9}]}]}`, want: `
		deny  red/web > red/db tcp/4
		allow red/web > red/db tcp/5
		deny  red/web > red/db tcp/6
		allow red/far > red/db tcp/6
		deny  red/web > red/api tcp/5
		allow red/db > red/web tcp/1`}}},
	{"a node reaches its own pods, other nodes and hostNetwork pods are just addresses", []scriptStep{{
		pods: `
- {metadata: {namespace: red, name: host, labels: {app: web}}, spec: {nodeName: node1, hostNetwork: true, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 192.168.77.2}, {ip: "fd00:77::2"}]}}`,
		policies: `
- {in: red, name: p, podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}], ports: [{port: 1}]}, {from: [{ipBlock: {cidr: 192.168.77.2/32}}], ports: [{port: 2}]}], egress: [{to: [{namespaceSelector: {}}]}]}`, want: `
		allow 192.168.77.1 > red/db tcp/9
		allow fd00:77::1 > red/db/6 icmp
		allow 10.64.0.1 > red/db tcp/9 own-node
		allow fd00:64::1 > red/db/6 tcp/9 own-node
		deny  192.168.77.2 > red/db tcp/1
		allow 192.168.77.2 > red/db tcp/2
		deny  fd00:77::2 > red/db/6 tcp/2
		deny  red/db > 192.168.77.2 tcp/1
		deny  red/db > 192.168.77.1 tcp/1
		allow red/db > blue/api tcp/1`}}},
	{"a bad rule is closed and its neighbours are not", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 5, endPort: 4}, {port: 1}]}, {ports: [{port: 2}]}, {from: [{ipBlock: {cidr: 10.64.0.0/16, except: [10.65.0.0/24]}}, {podSelector: {}}], ports: [{port: 3}]}, {ports: [{protocol: GRE}, {port: 4}]}, {from: [{}]}, {ports: [{port: 6}]}]}`, want: `
		deny  red/web > red/db tcp/1
		allow red/web > red/db tcp/2
		deny  red/web > red/db tcp/3
		deny  red/web > red/db tcp/4
		deny  red/web > red/db tcp/5
		allow red/web > red/db tcp/6
		deny  red/web > red/db icmp`}}},
	{"policies of one name in two namespaces are two policies", []scriptStep{{policies: `
- {in: red, name: p, podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
- {in: blue, name: p, podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`, want: `
		allow red/web > red/api tcp/80
		deny  red/api > blue/api tcp/80
		deny  blue/api > red/api tcp/80
		allow blue/far > blue/api tcp/80`}}},
}
