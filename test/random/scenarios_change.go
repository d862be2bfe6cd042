package random

import (
	"fmt"
	"strings"
)

// changeScripts are about what must change when the cluster does, and at once.
var changeScripts = []script{
	{"an address goes from a finished pod to a new one", []scriptStep{
		{what: "red/web is let in", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}`, want: `
		allow red/web > red/db tcp/1
		allow red/far > red/db tcp/1
		deny  red/api > red/db tcp/1`},
		{what: "red/far finishes", pods: `
- {metadata: {namespace: red, name: far, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c}]}, status: {phase: Succeeded, podIPs: [{ip: 10.64.1.2}, {ip: "fd00:64:0:1::2"}]}}`, want: `
		allow red/web > red/db tcp/1
		deny  10.64.1.2 > red/db tcp/1
		deny  fd00:64:0:1::2 > red/db/6 tcp/1`},
		{what: "blue/heir gets its address", pods: `
- {metadata: {namespace: blue, name: heir, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.64.1.2}, {ip: "fd00:64:0:1::2"}]}}`, want: `
		deny  blue/heir > red/db tcp/1`},
		{what: "and is let in for what it is", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}`, want: `
		allow blue/heir > red/db tcp/1
		allow blue/heir/6 > red/db/6 tcp/1`},
		{what: "the finished pod goes", gone: []string{"red/far"}, want: `
		allow blue/heir > red/db tcp/1`},
		{what: "the heir goes", gone: []string{"blue/heir"}, want: `
		deny  10.64.1.2 > red/db tcp/1`},
	}},
	{"a pod starts without an address", []scriptStep{
		{what: "its port is isolated, it is nobody's peer", pods: `
- {metadata: {namespace: red, name: new, labels: {app: web}, annotations: {sluice.test/addresses: "10.64.0.9,fd00:64::9"}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}, status: {phase: Pending}}`, policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: http}]}], egress: [{to: [{podSelector: {matchLabels: {app: api}}}]}, {to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}]}`, want: `
		allow red/new=10.64.0.9 > red/api tcp/80
		deny  red/new=10.64.0.9 > blue/api tcp/80
		deny  red/new=10.64.0.9 > red/db tcp/5432
		allow red/api > red/new=10.64.0.9 tcp/80
		deny  red/api > red/new=10.64.0.9 tcp/81
		deny  red/db > red/new=10.64.0.9 tcp/80
		allow 10.64.0.1 > red/new=10.64.0.9 tcp/99 own-node`},
		{what: "the API has its address", pods: `
- {metadata: {namespace: red, name: new, labels: {app: web}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.9}, {ip: "fd00:64::9"}]}}`, want: `
		allow red/new > red/db tcp/5432
		deny  red/new > red/db tcp/5433
		allow red/new/6 > red/db/6 tcp/5432
		allow red/api > red/new tcp/80`},
	}},
	{"a pod is relabelled and back", []scriptStep{
		{what: "red/web is a peer and no subject", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: api}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`, want: `
		allow red/web > red/db tcp/1
		deny  red/api > red/db tcp/1
		deny  red/api > blue/api tcp/80
		allow red/api > blue/api tcp/9090`},
		{what: "as an api it changes sides", pods: `
- {metadata: {namespace: red, name: web, labels: {app: api}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.2}, {ip: "fd00:64::2"}]}}`, want: `
		deny  red/web > red/db tcp/1
		deny  red/web > blue/api tcp/80
		allow red/web > blue/api tcp/9090`},
		{what: "as a web again", pods: `
- {metadata: {namespace: red, name: web, labels: {app: web}}, spec: {nodeName: node0, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}, status: {phase: Running, podIPs: [{ip: 10.64.0.2}, {ip: "fd00:64::2"}]}}`, want: `
		allow red/web > red/db tcp/1
		allow red/web > blue/api tcp/80`},
	}},
	{"a namespace is relabelled", []scriptStep{
		{what: "team b is let in", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: api}}}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [r]}]}}], ports: [{port: http}]}]}`, want: `
		allow blue/api > red/db tcp/1
		deny  blue/far > red/db tcp/1
		allow red/web > blue/api tcp/9090
		deny  red/web > red/api tcp/80`},
		{what: "blue joins team r", namespaces: `
- {metadata: {name: blue, labels: {kubernetes.io/metadata.name: blue, team: r}}}`, want: `
		deny  blue/api > red/db tcp/1
		deny  red/web > blue/api tcp/9090`},
		{what: "red leaves all teams", namespaces: `
- {metadata: {name: red, labels: {kubernetes.io/metadata.name: red}}}`, want: `
		allow red/web > red/api tcp/80
		deny  red/web > blue/api tcp/9090`},
	}},
	{"rules of a policy move up and change in place", []scriptStep{
		{what: "three rules", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}]}, {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 2}]}, {from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 3}]}]}`, want: `
		allow red/web > red/db tcp/1
		allow red/api > red/db tcp/2
		allow 203.0.113.1 > red/db tcp/3
		deny  203.0.113.1 > red/db tcp/1`},
		{what: "the first is taken out", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 2}]}, {from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 3}]}]}`, want: `
		deny  red/web > red/db tcp/1
		allow red/api > red/db tcp/2
		allow 203.0.113.1 > red/db tcp/3`},
		{what: "peers are swapped", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.7/32]}}], ports: [{port: 2}]}, {from: [{podSelector: {matchLabels: {app: api}}}], ports: [{port: 3}]}]}`, want: `
		deny  red/api > red/db tcp/2
		allow red/api > red/db tcp/3
		allow 203.0.113.1 > red/db tcp/2
		deny  203.0.113.7 > red/db tcp/2
		deny  203.0.113.1 > red/db tcp/3`},
		{what: "all rules go, isolation stays", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}}`, want: `
		deny  red/api > red/db tcp/3
		deny  203.0.113.1 > red/db tcp/2`},
		{what: "the policy speaks of egress instead", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}`, want: `
		allow red/api > red/db tcp/3
		deny  red/db > red/api tcp/3`},
		{what: "the policy selects another pod", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: api}}, policyTypes: [Egress]}`, want: `
		allow red/db > red/api tcp/3
		deny  red/api > red/db tcp/3`},
		{what: "the policy goes, as good as", policies: `
- {in: blue, name: other, podSelector: {}}`, want: `
		allow red/api > red/db tcp/3
		deny  red/api > blue/api tcp/3`},
	}},
	{"a pod comes back under its name on another node", []scriptStep{
		{what: "red/web is here", policies: `
- {in: red, name: p, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
- {in: red, name: q, podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]}`, want: `
		allow red/web > red/db tcp/1
		deny  red/web > red/api tcp/1`},
		{what: "red/web is there, where other rules are enforced", pods: `
- {metadata: {namespace: red, name: web, uid: another, labels: {app: web}}, spec: {nodeName: node1, containers: [{name: c}]}, status: {phase: Running, podIPs: [{ip: 10.64.1.9}, {ip: "fd00:64:0:1::9"}]}}`, want: `
		allow red/web > red/db tcp/1
		allow red/db > red/web tcp/1
		allow red/web > red/api tcp/1
		deny  10.64.0.2 > red/db tcp/1`},
	}},
}

// scaleScripts are about limits that only numbers reach: a pod under more rules
// than the compiler keeps together.
func scaleScripts() []script {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "\n- {in: red, name: p%d, podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: %s}}}], ports: [{port: %d}]}]}",
			i, []string{"web", "api"}[i%2], 1000+i)
	}
	// The last rule is for other subjects too, and beside the many.
	many.WriteString(`
- {in: red, name: all, podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 1150}]}]}`)
	want := `
		allow red/web > red/db tcp/1000
		deny  red/api > red/db tcp/1000
		allow red/api > red/db tcp/1001
		allow red/web > red/db tcp/1150
		deny  red/api > red/db tcp/1150
		allow 203.0.113.1 > red/db tcp/1150
		allow 203.0.113.1 > red/api tcp/1150
		deny  203.0.113.1 > red/db tcp/1151
		allow red/api > red/db tcp/1299
		deny  red/web > red/db tcp/1299
		deny  red/web > red/db tcp/1300
		deny  red/web > red/api tcp/1000`
	few := "\n" + strings.Join(strings.Split(many.String(), "\n")[290:], "\n")
	return []script{{"three hundred rules over one pod, then a dozen", []scriptStep{
		{what: "many", policies: many.String(), want: want},
		{what: "few", policies: few, want: `
		deny  red/web > red/db tcp/1000
		deny  red/web > red/db tcp/1150
		allow 203.0.113.1 > red/db tcp/1150
		allow red/api > red/db tcp/1299
		allow 203.0.113.1 > red/api tcp/1150`},
	}}}
}
