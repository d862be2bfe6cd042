package bed

import (
	"context"
	"errors"
	"fmt"
)

// Pod is a pod of the node: a network namespace with what a container runtime
// knows of it. As a Host its name is "namespace/name".
type Pod struct {
	Host
	Namespace, PodName, UID string
	// ContainerID is the id of the pod's sandbox.
	ContainerID string

	bed *Bed
}

// NewPod makes a pod's network namespace, in which nothing but loopback is yet.
// uid may be empty.
func (b *Bed) NewPod(namespace, name, uid string) (*Pod, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := fmt.Sprintf("%s%s-%s", b.prefix, namespace, name)
	netns, err := newNetns(id)
	if err != nil {
		return nil, err
	}
	p := &Pod{
		Host:      Host{Netns: netns, Name: namespace + "/" + name},
		Namespace: namespace, PodName: name, UID: uid, ContainerID: id, bed: b,
	}
	b.pods[p] = true
	return p, nil
}

// AddPod makes a pod and attaches it.
func (b *Bed) AddPod(ctx context.Context, namespace, name, uid string) (*Pod, error) {
	p, err := b.NewPod(namespace, name, uid)
	if err != nil {
		return nil, err
	}
	if err := p.Add(ctx); err != nil {
		return nil, errors.Join(err, p.Remove())
	}
	return p, nil
}

// DeletePod detaches a pod and removes its namespace.
func (b *Bed) DeletePod(ctx context.Context, p *Pod) error {
	return errors.Join(p.Del(ctx), p.Remove())
}

// Remove ends the pod's servers and removes its namespace, without a CNI call.
func (p *Pod) Remove() error {
	p.bed.mu.Lock()
	defer p.bed.mu.Unlock()
	delete(p.bed.pods, p)
	return p.release()
}
