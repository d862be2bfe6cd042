package cluster

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/pkg/cluster/manifest"
)

// declaration is what an object of a manifest comes to: an object of the
// cluster, a workload that stands for some pods, or neither.
type declaration struct {
	id       identity // its kind is the manifest's
	place    manifest.Place
	object   object
	workload *workload
}

// declare reads a manifest's object. Unlike the API source it takes all or
// nothing: whoever writes the manifest can mend it.
func declare(in manifest.Object, node string) (declaration, error) {
	d := declaration{id: identityOf(in.ID), place: in.Place}
	var err error
	switch value := in.Value.(type) {
	case *corev1.Pod:
		var pod *Pod
		pod, err = TrimPod(value)
		if pod.Node == "" {
			pod.Node = node
		}
		d.object = pod
	case *corev1.Namespace:
		d.object = TrimNamespace(value)
	case *corev1.Node:
		d.object, err = TrimNode(value)
	case *networkingv1.NetworkPolicy:
		d.object = TrimPolicy(value)
	case *corev1.Service:
		if !othersProxy(value) {
			d.object, err = TrimService(value)
		}
	case *discoveryv1.EndpointSlice:
		if !othersProxy(value) && value.AddressType != discoveryv1.AddressTypeFQDN {
			d.object, err = TrimSlice(value)
		}
	case *networkingv1.ServiceCIDR:
		d.object, err = TrimServiceCIDR(value)
	default:
		d.workload, err = newWorkload(value)
		if d.workload != nil && d.workload.template.Node == "" {
			d.workload.template.Node = node
		}
	}
	return d, err
}

// identityOf names the object a manifest declares.
func identityOf(id manifest.ID) identity {
	return identity{kind: id.Kind, Key: Key{Namespace: id.Namespace, Name: id.Name}}
}

// file is what a manifest file says, and what is left of what it said.
type file struct {
	sum      [32]byte      // of the content, zero if it could not be read
	declared []declaration // what it says now
	// kept is the last good version of what it says in a way that can't be read.
	kept     []declaration
	problems []error
	ignored  []manifest.Ignored
}

// unreadable is the file after a failed reading: it keeps all it had.
func (f *file) unreadable(problem error) *file {
	next := &file{problems: []error{problem}}
	next.keep(f.all()...)
	return next
}

// all are the declarations, good and kept; none of a file not there before.
func (f *file) all() []declaration {
	if f == nil {
		return nil
	}
	return append(append([]declaration(nil), f.declared...), f.kept...)
}

// keep keeps declarations but for those the file makes anew.
func (f *file) keep(old ...declaration) {
	have := make(map[identity]bool)
	for _, d := range f.all() {
		have[d.id] = true
	}
	for _, d := range old {
		if !have[d.id] {
			have[d.id] = true
			f.kept = append(f.kept, d)
		}
	}
}

// parse reads a file. The last good version of a broken object is looked up in
// inForce, as it may have stood in another file; a document that does not even
// tell its object's name keeps everything that before said.
func parse(path string, data []byte, node string, before *file, inForce map[identity]declaration) *file {
	content := manifest.Parse(path, data)
	f := &file{ignored: content.Ignored}
	errs := content.Errors
	for _, o := range content.Objects {
		d, err := declare(o, node)
		if err != nil {
			errs = append(errs, &manifest.Error{Place: o.Place, ID: o.ID, Err: err})
			continue
		}
		f.declared = append(f.declared, d)
	}
	for _, e := range errs {
		f.problems = append(f.problems, e)
		if e.ID.Name == "" {
			f.keep(before.all()...)
		} else if d, ok := inForce[identityOf(e.ID)]; ok {
			f.keep(d)
		}
	}
	return f
}
