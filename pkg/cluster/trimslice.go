package cluster

import (
	"fmt"
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TrimSlice reduces an EndpointSlice to what balancing needs. As with TrimPod it
// is never nil, and the error names what was left out of it. One of host names
// (address type FQDN) belongs to no Service.
func TrimSlice(in *discoveryv1.EndpointSlice) (*EndpointSlice, error) {
	s := &EndpointSlice{Key: Key{Namespace: in.Namespace, Name: in.Name}}
	if in.AddressType == discoveryv1.AddressTypeFQDN {
		return s, nil
	}
	s.Service = in.Labels[discoveryv1.LabelServiceName]
	p := &serviceParser{}
	for i := range in.Ports {
		port, path := &in.Ports[i], field.NewPath("ports").Index(i)
		if port.Port == nil {
			continue // every port: of use to those that don't balance by port
		}
		out := EndpointPort{Protocol: p.protocol(port.Protocol, path), Port: p.port(*port.Port, path.Child("port"))}
		if port.Name != nil {
			out.Name = *port.Name
		}
		if out.Protocol != "" && out.Port != 0 {
			s.Ports = append(s.Ports, out)
		}
	}
	s.Endpoints = make([]Endpoint, 0, len(in.Endpoints))
	for i := range in.Endpoints {
		p.endpoint(s, in, i)
	}
	if len(p.errs) > 0 {
		return s, fmt.Errorf("EndpointSlice %s: %w", s.Key, p.errs.ToAggregate())
	}
	return s, nil
}

// endpoint adds an endpoint of a slice.
func (p *serviceParser) endpoint(s *EndpointSlice, slice *discoveryv1.EndpointSlice, i int) {
	in, path := &slice.Endpoints[i], field.NewPath("endpoints").Index(i).Child("addresses")
	if len(in.Addresses) == 0 {
		p.errs = append(p.errs, field.Required(path, ""))
		return
	}
	ip, err := parseAddr(in.Addresses[0])
	if err == nil {
		err = special(ip)
	}
	if err == nil && ip.Is4() != (slice.AddressType == discoveryv1.AddressTypeIPv4) {
		err = fmt.Errorf("is not of the slice's address type %s", slice.AddressType)
	}
	if err != nil {
		p.errs = append(p.errs, field.Invalid(path.Index(0), in.Addresses[0], err.Error()))
		return
	}
	isnt := func(condition *bool) bool { return condition != nil && !*condition }
	c := &in.Conditions
	out := Endpoint{Addr: ip, Ready: !isnt(c.Ready), Serving: !isnt(c.Serving), Terminating: c.Terminating != nil && *c.Terminating}
	if in.NodeName != nil {
		out.Node = *in.NodeName
	}
	if in.Hints != nil {
		for _, zone := range in.Hints.ForZones {
			out.ForZones = append(out.ForZones, zone.Name)
		}
		for _, node := range in.Hints.ForNodes {
			out.ForNodes = append(out.ForNodes, node.Name)
		}
	}
	// The endpoints of a zone have the same hints.
	if n := len(s.Endpoints); n > 0 {
		if last := &s.Endpoints[n-1]; slices.Equal(last.ForZones, out.ForZones) {
			out.ForZones = last.ForZones
		}
	}
	s.Endpoints = append(s.Endpoints, out)
}

// intern makes the slice use the strings of other slices that are equal to its
// own: names of nodes, zones, ports. The caller keeps what is returned as long as
// it keeps the slice.
func (s *EndpointSlice) intern() interned {
	var h interned
	s.Namespace, s.Service = h.of(s.Namespace), h.of(s.Service)
	for i := range s.Ports {
		s.Ports[i].Name = h.of(s.Ports[i].Name)
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Node = h.of(e.Node)
		for _, hints := range [][]string{e.ForZones, e.ForNodes} {
			for j := range hints {
				hints[j] = h.of(hints[j])
			}
		}
	}
	return h
}

// TrimServiceCIDR reduces a ServiceCIDR to its ranges. As with TrimPod it is
// never nil, and the error names what was left out of it.
func TrimServiceCIDR(in *networkingv1.ServiceCIDR) (*ServiceCIDR, error) {
	s := &ServiceCIDR{Name: in.Name}
	var errs field.ErrorList
	for i, text := range in.Spec.CIDRs {
		cidr, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, field.Invalid(field.NewPath("spec", "cidrs").Index(i), text, "not a CIDR"))
		} else if cidr = cidr.Masked(); !slices.Contains(s.CIDRs, cidr) {
			s.CIDRs = append(s.CIDRs, cidr)
		}
	}
	if len(errs) > 0 {
		return s, fmt.Errorf("ServiceCIDR %s: %w", s.Name, errs.ToAggregate())
	}
	return s, nil
}
