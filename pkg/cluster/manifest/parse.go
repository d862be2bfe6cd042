package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Parse reads the documents of a file. What is wrong with one object leaves the
// others of the file untouched. A name that ends in .json means a sequence of
// JSON values, any other YAML documents.
func Parse(file string, data []byte) *Content {
	p := &parser{content: &Content{}}
	next := yamlDocuments(data)
	if filepath.Ext(file) == ".json" {
		next = jsonDocuments(data)
	}
	for n := 1; ; n++ {
		place := Place{File: file, Document: n}
		document, err := next()
		if errors.Is(err, io.EOF) {
			return p.content
		}
		if err != nil {
			p.fail(place, ID{}, err)
			if document == nil {
				return p.content // nothing to go on with
			}
			continue
		}
		p.document(place, document)
	}
}

// yamlDocuments returns one document after the other, unread.
func yamlDocuments(data []byte) func() ([]byte, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	return reader.Read
}

// jsonDocuments is yamlDocuments for JSON: not every JSON text is YAML, as tabs
// may indent it.
func jsonDocuments(data []byte) func() ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	return func() ([]byte, error) {
		var document json.RawMessage
		if err := decoder.Decode(&document); err != nil {
			return nil, err
		}
		return document, nil
	}
}

type parser struct {
	content *Content
}

func (p *parser) fail(place Place, id ID, err error) {
	p.content.Errors = append(p.content.Errors, &Error{Place: place, ID: id, Err: err})
}

// document reads one YAML or JSON document.
func (p *parser) document(place Place, document []byte) {
	data := document
	if !json.Valid(document) {
		var err error
		if data, err = yaml.YAMLToJSONStrict(document); err != nil {
			// Not even the name can be trusted: it may be the key that stands twice.
			p.fail(place, ID{}, cleanYAML(err))
			return
		}
	}
	if string(bytes.TrimSpace(data)) != "null" {
		p.object(place, data, schema.GroupVersionKind{})
	}
}

// object reads an object or a list. Items of typed lists take their kind from
// the list.
func (p *parser) object(place Place, data []byte, implied schema.GroupVersionKind) {
	h := head(data)
	if h.Kind == "" {
		h.APIVersion, h.Kind = implied.GroupVersion().String(), implied.Kind
	}
	gvk := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
	namespaced, known := kinds[gvk]
	switch {
	case gvk.Kind == "":
		p.fail(place, ID{}, errors.New("kind: required"))
	case h.APIVersion == "":
		p.fail(place, h.id(), errors.New("apiVersion: required"))
	case isList(gvk) && place.Item == 0:
		p.list(place, data, gvk)
	case !known:
		p.content.Ignored = append(p.content.Ignored, Ignored{Place: place, Kind: gvk})
	default:
		value, _, err := decoder.Decode(data, &gvk, nil)
		if err == nil {
			err = validate(value, namespaced)
		}
		if err != nil {
			p.fail(place, h.id(), cleanDecode(err))
			return
		}
		p.content.Objects = append(p.content.Objects, Object{ID: h.id(), Place: place, Value: value})
	}
}

// list reads the items of a list.
func (p *parser) list(place Place, data []byte, gvk schema.GroupVersionKind) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		p.fail(place, ID{}, fmt.Errorf("%s: items: %w", gvk.Kind, err))
		return
	}
	implied := schema.GroupVersionKind{}
	if gvk.Kind != "List" {
		implied = gvk.GroupVersion().WithKind(strings.TrimSuffix(gvk.Kind, "List"))
	}
	for i, item := range list.Items {
		place.Item = i + 1
		p.object(place, item, implied)
	}
}

// header is what can be read of an object that may be wrong in every other way.
type header struct {
	APIVersion, Kind, Namespace, Name string
}

// head reads what it can; what is not there or not a string stays empty. An
// object whose namespace is not a string has no name either: it would be taken
// for another one.
func head(data []byte) header {
	var object map[string]any
	if json.Unmarshal(data, &object) != nil {
		return header{}
	}
	metadata, _ := object["metadata"].(map[string]any)
	text := func(m map[string]any, key string) string {
		s, _ := m[key].(string)
		return s
	}
	h := header{
		APIVersion: text(object, "apiVersion"), Kind: text(object, "kind"),
		Namespace: text(metadata, "namespace"), Name: text(metadata, "name"),
	}
	if metadata["namespace"] != nil && h.Namespace == "" {
		h.Name = ""
	}
	return h
}

// id names the object; its Name is empty if that is not known.
func (h header) id() ID {
	id := ID{Kind: h.Kind, Name: h.Name}
	if namespaced := kinds[schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)]; namespaced {
		if id.Namespace = h.Namespace; id.Namespace == "" {
			id.Namespace = metav1.NamespaceDefault
		}
	}
	return id
}

// validate checks the metadata as the API server would, and states the default
// namespace.
func validate(value runtime.Object, namespaced bool) error {
	o, err := meta.Accessor(value)
	if err != nil {
		return err
	}
	path := field.NewPath("metadata")
	var errs field.ErrorList
	check := func(path *field.Path, text string, valid func(string) []string) {
		for _, what := range valid(text) {
			errs = append(errs, field.Invalid(path, text, what))
		}
	}
	name := validation.IsDNS1123Subdomain
	if value.GetObjectKind().GroupVersionKind().Kind == "Namespace" {
		name = validation.IsDNS1123Label
	}
	if o.GetName() == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		check(path.Child("name"), o.GetName(), name)
	}
	switch {
	case namespaced && o.GetNamespace() == "":
		o.SetNamespace(metav1.NamespaceDefault)
	case namespaced:
		check(path.Child("namespace"), o.GetNamespace(), validation.IsDNS1123Label)
	case o.GetNamespace() != "":
		errs = append(errs, field.Forbidden(path.Child("namespace"), "not allowed on this kind"))
	}
	errs = append(errs, metavalidation.ValidateLabels(o.GetLabels(), path.Child("labels"))...)
	if len(errs) == 0 {
		return nil
	}
	return errs.ToAggregate()
}
