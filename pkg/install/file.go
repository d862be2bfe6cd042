// Package install puts Sluice's files on a node, and takes Sluice off it.
package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// place makes a file hold data, and reports whether it did not before. Whoever
// reads or runs the file meanwhile has the old one or the new one, whole, also
// after a power failure. A program that is running can't be written to, but can be
// replaced like this.
func place(path string, data []byte, mode fs.FileMode) (changed bool, err error) {
	if same(path, data, mode) {
		return false, nil
	}
	dir := filepath.Dir(path)
	// A name that starts with a dot and has no known suffix is nothing to a runtime
	// that looks through the folder.
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*")
	if err != nil {
		return false, fmt.Errorf("place %s: %w", path, err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Chmod(mode)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return false, fmt.Errorf("place %s: %w", path, err)
	}
	return true, nil
}

// same reports whether a regular file with these contents is there.
func same(path string, data []byte, mode fs.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode || info.Size() != int64(len(data)) {
		return false
	}
	old, err := os.ReadFile(path)
	return err == nil && bytes.Equal(old, data)
}

// syncDir makes a rename in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// remove removes a file and reports whether there was one.
func remove(path string) (bool, error) {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
