package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
)

// What the initramfs holds.
const (
	initPath    = "init"
	modulesList = "modules" // names of the files under modulesDir, one on each line, in order
	modulesDir  = "ko"
)

// bootModules let the init mount this machine's files and talk to it.
var bootModules = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}

// writeInitramfs writes an initramfs of this program, as init, and the modules
// it needs.
func writeInitramfs(path string, l *linux) error {
	self, err := staticSelf()
	if err != nil {
		return err
	}
	modules, err := l.moduleFiles(bootModules...)
	if err != nil {
		return err
	}
	var archive cpio
	archive.file(initPath, 0o755, self)
	archive.dir(modulesDir)
	var list bytes.Buffer
	for _, file := range modules {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintln(&list, filepath.Base(file))
		archive.file(filepath.Join(modulesDir, filepath.Base(file)), 0o644, content)
	}
	archive.file(modulesList, 0o644, list.Bytes())
	return os.WriteFile(path, archive.bytes(), 0o600)
}

// staticSelf returns this program, which must not need libraries.
func staticSelf() ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	binary, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for _, part := range binary.Progs {
		if part.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is linked dynamically and can't be an init: build it with CGO_ENABLED=0", path)
		}
	}
	return content, nil
}

// cpio is an archive in the "newc" format, as the kernel unpacks it
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	buf   bytes.Buffer
	inode int
}

func (c *cpio) file(name string, mode uint32, content []byte) { c.add(name, 0o100000|mode, content) }

func (c *cpio) dir(name string) { c.add(name, 0o040755, nil) }

func (c *cpio) add(name string, mode uint32, content []byte) {
	c.inode++
	const links = 1
	fmt.Fprintf(&c.buf, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	c.pad()
	c.buf.Write(content)
	c.pad()
}

func (c *cpio) pad() {
	for c.buf.Len()%4 != 0 {
		c.buf.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (c *cpio) bytes() []byte {
	c.add("TRAILER!!!", 0, nil)
	return c.buf.Bytes()
}
