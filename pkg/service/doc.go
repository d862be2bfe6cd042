// Package service compiles Services for one node: Services, EndpointSlices and
// Nodes of package cluster go in, changes of balancers (package flows) come out.
// What a Service means is what kube-proxy v1.34 makes of it.
//
// The Compiler is pure: it does no I/O, is owned by one goroutine, and what it
// tells after any history of events adds up to what it would tell of the cluster
// as it is now. A change of a Service or of one of its slices costs that Service,
// and the other claimants of its frontends where those go from one to another.
//
//	slices ──gather──> endpoints of a port ──select──> endpoints of each scope ──┐
//	Service ─────────> frontends ──────────claims────> those it has ─────────────┴─> flows.Balancer
//
// The rooms of the house:
//
//   - Endpoints (endpoints.go) of a port are gathered from all slices of the
//     Service, by the port's name and protocol, each address and port once.
//   - Selection (topology.go) picks from them who serves: all over the cluster, with
//     regard to topology hints, and on this node.
//   - Frontends (frontends.go) are what clients connect to. A claim (claims.go)
//     decides who has one that several want.
//   - Flush (flush.go) compiles what was touched and tells the difference.
//
// # Readings of the API
//
//   - There is a balancer for each port and each family that the Service has a
//     cluster address of. External addresses of another family lead nowhere.
//   - Pods and processes of this node reach all endpoints by an external frontend
//     whatever externalTrafficPolicy says, as if they had gone out and come back.
//   - ScopeCluster has endpoints if anybody serves at all, with any policy: where
//     it is empty the connection is to be refused; where only ScopeLocal is, it is
//     to be dropped, as another node may be meant.
//   - Ready endpoints serve; if there are none in a scope, those that terminate and
//     still serve do. publishNotReadyAddresses is in the conditions already.
//   - Of endpoints that several slices tell of, the one on this node counts, then a
//     ready one, then a serving one.
//   - trafficDistribution is in the hints already. Hints count only if every ready
//     endpoint has one, and one is for this node or zone. They never decide who
//     serves on this node, nor which terminating endpoints do.
//   - A client stays with its endpoint for at most 65535 seconds after its last new
//     connection, which is as long as a flow can last idle.
//   - A frontend that several Services want is its whose address it is by its kind:
//     a cluster address before that of a load balancer, as the cluster gives these
//     out, before spec.externalIPs, which anybody may write. Then the older Service
//     has it, then the first by name.
package service
