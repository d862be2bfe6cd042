package cluster

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sluice-cni/sluice/pkg/cluster/manifest"
)

// folderState is what a folder says, and what has been told of it. It is read
// again as a whole on every change: what depends on what (a namespace implied by
// a pod, an object that moves from file to file) then needs no bookkeeping.
type folderState struct {
	root    string
	options FolderOptions

	files   map[string]*file
	inForce map[identity]declaration
	objects map[identity]object

	told    map[string]bool // problems that stand
	ignored map[schema.GroupVersionKind]bool
	lost    bool // some folder could not be read
}

func newFolderState(root string, o FolderOptions) *folderState {
	return &folderState{root: root, options: o.withDefaults(), ignored: make(map[schema.GroupVersionKind]bool)}
}

// scan reads the folder and returns what has changed since the last scan:
// problems, then what is gone, then what is new or different.
func (s *folderState) scan(watch func(dir string) error) []Event {
	l := list(s.root, watch)
	s.lost = len(l.lost) > 0
	problems := l.problems
	if len(l.paths) > s.options.MaxFiles {
		return s.tell(append(problems, fmt.Errorf("%s: more than %d manifest files; the folder is not read until there are fewer",
			s.root, s.options.MaxFiles)))
	}
	s.files = s.read(l)
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		problems = append(problems, s.files[path].problems...)
		problems = append(problems, s.note(s.files[path].ignored)...)
	}
	next, more := s.assemble()
	events := append(s.tell(append(problems, more...)), difference(s.objects, next)...)
	s.objects = next
	return events
}

// read reads every file of the listing. A file whose content has not changed is
// not parsed again; one that is in a folder out of reach stays as it was.
func (s *folderState) read(l *listing) map[string]*file {
	files := make(map[string]*file, len(l.paths))
	for path, f := range s.files {
		if l.isLost(path) {
			files[path] = f
		}
	}
	for _, path := range l.paths {
		before := s.files[path]
		data, err := readFile(path, s.options.MaxFileBytes)
		if errors.Is(err, fs.ErrNotExist) && before != nil {
			continue // removed since it was listed
		}
		if err != nil {
			files[path] = before.unreadable(err)
			continue
		}
		sum := sha256.Sum256(data)
		if before == nil || before.sum != sum {
			before = parse(path, data, s.options.Node, before, s.inForce)
			before.sum = sum
		}
		files[path] = before
	}
	return files
}

// assemble puts together what all files say. Of an object declared twice the
// first in the order of paths counts; a declaration that only stands because its
// file is broken gives way to any other.
func (s *folderState) assemble() (map[identity]object, []error) {
	s.inForce = make(map[identity]declaration)
	var order []declaration
	var problems []error
	paths := slices.Sorted(maps.Keys(s.files))
	for _, path := range paths {
		for _, d := range s.files[path].declared {
			if first, ok := s.inForce[d.id]; ok {
				problems = append(problems, fmt.Errorf("%s: %s: declared already in %s, which counts", d.place, d.id, first.place))
				continue
			}
			s.inForce[d.id], order = d, append(order, d)
		}
	}
	for _, path := range paths {
		for _, d := range s.files[path].kept {
			if _, ok := s.inForce[d.id]; !ok {
				s.inForce[d.id], order = d, append(order, d)
			}
		}
	}
	objects := make(map[identity]object, len(order))
	for _, d := range order {
		if d.object != nil {
			objects[d.id] = d.object
		}
	}
	problems = append(problems, addWorkloads(objects, order)...)
	addNamespaces(objects)
	return objects, problems
}

// addWorkloads makes the pods of workloads, unless the folder has pods of theirs
// itself, as an export of a whole namespace does.
func addWorkloads(objects map[identity]object, order []declaration) (problems []error) {
	var declared []*Pod
	for _, o := range objects {
		if pod, ok := o.(*Pod); ok {
			declared = append(declared, pod)
		}
	}
	for _, d := range order {
		if d.workload == nil || slices.ContainsFunc(declared, d.workload.selects) {
			continue
		}
		for _, pod := range d.workload.pods() {
			id := identify(pod)
			if _, taken := objects[id]; taken {
				problems = append(problems, fmt.Errorf("%s: %s: its %s exists already and is not the workload's", d.place, d.id, id))
				continue
			}
			objects[id] = pod
		}
	}
	return problems
}

// addNamespaces adds the namespaces that are used but not declared.
func addNamespaces(objects map[identity]object) {
	for _, id := range slices.Collect(maps.Keys(objects)) {
		implied := identity{kindNamespace, Key{Name: id.Namespace}}
		if _, ok := objects[implied]; id.Namespace != "" && !ok {
			objects[implied] = TrimNamespace(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: id.Namespace}})
		}
	}
}

// note returns one problem for each kind that is met for the first time and not
// read.
func (s *folderState) note(ignored []manifest.Ignored) (problems []error) {
	for _, i := range ignored {
		if !s.ignored[i.Kind] {
			s.ignored[i.Kind] = true
			problems = append(problems, fmt.Errorf("%s: %s of %q is not read here, nor is any other; what is read: %s",
				i.Place, i.Kind.Kind, i.Kind.GroupVersion(), manifest.Kinds))
		}
	}
	return problems
}

// tell returns the problems that did not stand at the last scan.
func (s *folderState) tell(problems []error) (events []Event) {
	told := make(map[string]bool, len(problems))
	for _, p := range problems {
		if text := p.Error(); !told[text] {
			told[text] = true
			if !s.told[text] {
				events = append(events, Event{Problem: p})
			}
		}
	}
	s.told = told
	return events
}

// rank orders kinds such that what is referred to comes before what refers to it.
var rank = map[string]int{kindNamespace: 0, kindNode: 1, kindPolicy: 2, kindPod: 3, kindRange: 4, kindService: 5, kindSlice: 6}

// difference returns the events that lead from one set of objects to another, in
// an order that depends on nothing else.
func difference(from, to map[identity]object) (events []Event) {
	order := func(a, b identity) int {
		return cmp.Or(cmp.Compare(rank[a.kind], rank[b.kind]), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	gone := slices.SortedFunc(maps.Keys(from), order)
	slices.Reverse(gone)
	for _, id := range gone {
		if _, ok := to[id]; !ok {
			events = append(events, event(from[id], true))
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(to), order) {
		if old, ok := from[id]; ok {
			events = append(events, changes(old, to[id])...)
		} else {
			events = append(events, event(to[id], false))
		}
	}
	return events
}
