package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"runtime"
	"slices"
	"sync"
	"unique"
	"weak"
)

// shape is what the replicas of a workload have in common, kept once for all of
// them: in a cluster of 100,000 pods labels are most of what there is to hold.
type shape struct {
	labels map[string]string
	ports  []NamedPort
	// strings are the keys and values, so that other shapes find them.
	strings interned
}

// interned keeps the canonical copies of strings alive for as long as it is held,
// so that equal strings elsewhere need no memory of their own.
type interned []unique.Handle[string]

// of returns the canonical copy of a string.
func (h *interned) of(text string) string {
	handle := unique.Make(text)
	if !slices.Contains(*h, handle) {
		*h = append(*h, handle)
	}
	return handle.Value()
}

// shapes finds the shape of a pod again for as long as some pod holds it. The
// zero value is ready for use.
type shapes struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]weak.Pointer[shape]
}

// share makes the pod use the labels and ports of an earlier pod that had equal
// ones. The caller keeps the shape as long as it keeps the pod.
func (t *shapes) share(pod *Pod) *shape {
	sum := shapeSum(pod)
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.known[sum].Value()
	if s == nil {
		s = newShape(pod)
		if t.known == nil {
			t.known = make(map[[sha256.Size]byte]weak.Pointer[shape])
		}
		t.known[sum] = weak.Make(s)
		runtime.AddCleanup(s, t.forget, sum)
	}
	pod.Labels, pod.Ports = s.labels, s.ports
	return s
}

// forget drops a shape no pod holds any more, unless an equal one took its place.
func (t *shapes) forget(sum [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known[sum].Value() == nil {
		delete(t.known, sum)
	}
}

func newShape(pod *Pod) *shape {
	s := &shape{}
	canonical := s.strings.of
	if pod.Labels != nil {
		s.labels = make(map[string]string, len(pod.Labels))
		for k, v := range pod.Labels {
			s.labels[canonical(k)] = canonical(v)
		}
	}
	s.ports = slices.Clone(pod.Ports)
	for i := range s.ports {
		p := &s.ports[i]
		p.Name, p.Protocol = canonical(p.Name), canonical(p.Protocol)
	}
	return s
}

// shapeSum is a digest of labels and ports. Every string is preceded by its
// length, so that no two shapes have the same text.
func shapeSum(pod *Pod) [sha256.Size]byte {
	var text []byte
	add := func(s string) {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	text = binary.AppendUvarint(text, uint64(len(pod.Labels)))
	for _, k := range slices.Sorted(maps.Keys(pod.Labels)) {
		add(k)
		add(pod.Labels[k])
	}
	for _, p := range pod.Ports {
		add(p.Name)
		add(p.Protocol)
		text = binary.BigEndian.AppendUint16(text, p.Port)
	}
	return sha256.Sum256(text)
}
