package manifest

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// cleanDecode drops the decoder's own words from a strict decoding error and
// keeps it on one line: what remains names the fields.
func cleanDecode(err error) error {
	strict, ok := runtime.AsStrictDecodingError(err)
	if !ok {
		return err
	}
	var texts []string
	for _, err := range strict.Errors() {
		texts = append(texts, err.Error())
	}
	return errors.New(strings.Join(texts, "; "))
}

// cleanYAML keeps a syntax error on one line, without the steps of conversion.
func cleanYAML(err error) error {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	text = strings.Replace(text, "yaml: unmarshal errors:\n  ", "yaml: ", 1)
	return errors.New(strings.ReplaceAll(text, "\n  ", "; "))
}
