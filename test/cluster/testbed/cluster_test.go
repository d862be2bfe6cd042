package testbed

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestDownOfNoClusterIsNoError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	if err := Down(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNone) {
		t.Errorf("opening it: %v, want %v", err, ErrNone)
	}
}

func TestDownLeavesAFolderOfSomethingElseAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), dir); !errors.Is(err, ErrNone) {
		t.Errorf("got %v, want %v", err, ErrNone)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

func TestDownFinishesWhatAnotherBegan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, optionsFile), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Down(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
	}
}

func TestOneAtATimeChangesACluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		unlock, err := lock(dir)
		if err == nil {
			unlock()
		}
		second <- err
	}()
	// The first takes the cluster away, and the second is not to hold a lock on a
	// file that is gone.
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-second:
		// It had not opened the lock when the folder went.
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	default:
		unlock()
		if err := <-second; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		t.Errorf("the second has locked something that is not there: %v", err)
	}
}
