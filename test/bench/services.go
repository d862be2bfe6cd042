package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Standing Services, and how many endpoints each has.
const (
	standingServices = 1000
	standingEach     = 10
)

// moreEndpoint is an endpoint that the i-th Service gets beside the standing ones,
// for i below 254.
func moreEndpoint(i int) string { return fmt.Sprintf("10.200.0.%d", 1+i) }

// endpointFlow is the flow that commits connections to an endpoint that came
// beside the standing ones.
var endpointFlow = watched{
	event: regexp.MustCompile(`event=(ADDED|DELETED) .*nat\(dst=10\.200\.0\.([0-9]+):`), options: "watch:!initial",
	object: func(last int) int { return last - 1 },
}

func serviceOf(i int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: fmt.Sprintf("s%d", i)},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

// sliceOf are the endpoints of the i-th Service, and more.
func sliceOf(i int, more ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: benchNamespace, Name: fmt.Sprintf("s%d", i), Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprintf("s%d", i)},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To(""), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To[int32](8080)}},
	}
	var addrs []string
	for e := range standingEach {
		addrs = append(addrs, address("10.100.0.0", i*standingEach+e).String())
	}
	for _, a := range slices.Concat(addrs, more) {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// benchServices times the way of an EndpointSlice from the call of the API to the
// bridge, and on the same write the way to a bare client that watches.
func (n *node) benchServices(ctx context.Context, r *report) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	objects := n.kube.DiscoveryV1().EndpointSlices(benchNamespace)
	var all errgroup.Group
	all.SetLimit(8)
	started := time.Now()
	for i := range standingServices {
		all.Go(func() error {
			if _, err := n.kube.CoreV1().Services(benchNamespace).Create(ctx, serviceOf(i), metav1.CreateOptions{}); err != nil {
				return err
			}
			_, err := objects.Create(ctx, sliceOf(i), metav1.CreateOptions{})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	r.figure(fmt.Sprintf("%d Services of %d endpoints written by 8 clients", standingServices, standingEach), seconds(time.Since(started)))

	flowsSeen, eventsSeen := newSightings(), newSightings()
	if err := n.watchFlows(ctx, flowsSeen, endpointFlow); err != nil {
		return err
	}
	from, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	w, err := objects.Watch(ctx, metav1.ListOptions{ResourceVersion: from.ResourceVersion})
	if err != nil {
		return err
	}
	go func() {
		for e := range w.ResultChan() {
			if s, ok := e.Object.(*discoveryv1.EndpointSlice); ok {
				if i, err := strconv.Atoi(strings.TrimPrefix(s.Name, "s")); err == nil {
					eventsSeen.see(sighting{i, len(s.Endpoints) > standingEach})
				}
			}
		}
	}()
	const writes = 200
	var onBridge, offBridge, heard, unheard times
	for i := range writes {
		if err := timeWrite(ctx, sighting{i, true}, func() error {
			_, err := objects.Update(ctx, sliceOf(i, moreEndpoint(i)), metav1.UpdateOptions{})
			return err
		}, flowsSeen, &onBridge, eventsSeen, &heard); err != nil {
			return err
		}
		if err := timeWrite(ctx, sighting{i, false}, func() error {
			_, err := objects.Update(ctx, sliceOf(i), metav1.UpdateOptions{})
			return err
		}, flowsSeen, &offBridge, eventsSeen, &unheard); err != nil {
			return err
		}
	}
	const of = "API call to the event at a bare watch"
	r.latencies(fmt.Sprintf("API call to one endpoint more on the bridge, %d Services of %d endpoints standing", standingServices, standingEach), onBridge, heard, of)
	r.latencies("API call to one endpoint less on the bridge", offBridge, unheard, of)
	return nil
}
