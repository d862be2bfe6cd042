package bed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BinEnv is the environment variable that names the folder of built binaries:
// sluice-agent and sluice-cni.
const BinEnv = "SLUICE_BIN"

// commands are the binaries that a bed runs.
var commands = []string{"sluice-agent", "sluice-cni"}

// Build builds the binaries that a bed runs into a folder. It takes the sources
// of the module of the working folder.
func Build(ctx context.Context, dir string) error {
	args := []string{"build", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	for _, name := range commands {
		args = append(args, "github.com/sluice-cni/sluice/cmd/"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %v: %w\n%s", commands, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// findBinaries returns the folder of the binaries: the given one, else that of
// the environment, else dir after they have been built into it.
func findBinaries(ctx context.Context, given, dir string) (string, error) {
	if given == "" {
		given = os.Getenv(BinEnv)
	}
	if given == "" {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		return dir, Build(ctx, dir)
	}
	given, err := filepath.Abs(given)
	if err != nil {
		return "", err
	}
	for _, name := range commands {
		if _, err := exec.LookPath(filepath.Join(given, name)); err != nil {
			return "", fmt.Errorf("find %s: %w (run: make build)", name, err)
		}
	}
	return given, nil
}
