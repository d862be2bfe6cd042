package testbed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// readyTimeout is how long nodes may take to be ready, and pods to be available.
const readyTimeout = 3 * time.Minute

// waitNodes waits until a condition holds for all nodes.
func (c *Cluster) waitNodes(given context.Context, what string, holds func(corev1.Node) bool) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(given, readyTimeout)
	defer cancel()
	var missing []string
	err = poll(ctx, func() (bool, error) {
		if err := c.checkDaemons(); err != nil {
			return false, err
		}
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		missing = nil
		for _, n := range c.Plan.Nodes {
			i := slices.IndexFunc(list.Items, func(o corev1.Node) bool { return o.Name == n.Name })
			if i < 0 || !holds(list.Items[i]) {
				missing = append(missing, n.Name)
			}
		}
		return len(missing) == 0, nil
	})
	switch {
	case given.Err() != nil: // interrupted: the logs are of no interest
		return fmt.Errorf("wait until nodes are %s: %w", what, context.Cause(given))
	case err == nil:
		return nil
	}
	err = fmt.Errorf("wait until nodes are %s: %w; not yet: %v", what, err, missing)
	if len(missing) > 0 { // one stands for all
		for _, log := range []string{missing[0], missing[0] + "-kubelet"} {
			err = fmt.Errorf("%w\nthe end of the log %s:\n%s", err, log, c.logTail(log))
		}
	}
	return err
}

// checkDaemons says which daemons have ended.
func (c *Cluster) checkDaemons() error {
	daemons, err := c.Daemons()
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range daemons {
		if !d.Running() {
			errs = append(errs, fmt.Errorf("%s has ended; the end of its log:\n%s", d.Name, c.logTail(d.Name)))
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) waitRegistered(ctx context.Context) error {
	return c.waitNodes(ctx, "registered", func(n corev1.Node) bool { return len(n.Spec.PodCIDRs) == len(c.Plan.Pods) })
}

func (c *Cluster) waitReady(ctx context.Context) error {
	return c.waitNodes(ctx, "ready", Ready)
}

// Ready tells whether a node is ready.
func Ready(n corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// waitAvailable waits until a deployment's pods are available.
func (c *Cluster) waitAvailable(ctx context.Context, client kubernetes.Interface, namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err := poll(ctx, func() (bool, error) {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= *d.Spec.Replicas, nil
	})
	if err == nil {
		return nil
	}
	// The pods' events say why.
	events, listErr := client.CoreV1().Events(namespace).List(context.WithoutCancel(ctx), metav1.ListOptions{})
	var text strings.Builder
	if listErr == nil {
		for _, e := range events.Items {
			if e.Type == corev1.EventTypeWarning {
				fmt.Fprintf(&text, "\n%s: %s", e.InvolvedObject.Name, e.Message)
			}
		}
	}
	return fmt.Errorf("wait for deployment %s/%s: %w%s", namespace, name, err, text.String())
}
