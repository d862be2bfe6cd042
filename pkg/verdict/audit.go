package verdict

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// AuditLog says where events are kept.
type AuditLog struct {
	// Path is the file, made with mode 0600. Older ones are beside it, with a time in
	// their names.
	Path string
	// MaxSize is the size in megabytes at which a new file is begun, MaxFiles how many
	// older ones are kept.
	MaxSize, MaxFiles int
	// Allowed keeps what is allowed too.
	Allowed bool
}

// auditLoss is a line of the file that stands for events without one.
type auditLoss struct {
	Time time.Time `json:"time"`
	Lost uint64    `json:"lost"`
}

// Audit writes events to a file, one of JSON on each line, until ctx is done or the
// stream ends. It returns an error if the file can't be written at the beginning.
// A disk that is full later costs the events of that time, which are counted in
// the log when it goes on.
func (s *Stream) Audit(ctx context.Context, a AuditLog) error {
	if err := private(a.Path); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	file := &lumberjack.Logger{Filename: a.Path, MaxSize: a.MaxSize, MaxBackups: a.MaxFiles}
	defer file.Close()
	reader := s.Read(api.WatchFilter{Allows: a.Allowed}, 0)
	defer reader.Close()
	var failed uint64
	for {
		events, lost, err := reader.Next(ctx)
		if err != nil {
			return nil
		}
		lines := make([]any, 0, len(events)+1)
		if lost += failed; lost > 0 {
			lines = append(lines, auditLoss{time.Now(), lost})
		}
		for _, e := range events {
			lines = append(lines, e)
		}
		switch err := writeLines(file, lines); {
		case err == nil:
			failed = 0
		default:
			if failed == 0 {
				klog.FromContext(ctx).Error(err, "Could not write the audit log", "path", a.Path)
			}
			failed = lost + uint64(len(events))
		}
	}
}

// writeLines writes line by line, so that a file ends with a whole one.
func writeLines(file *lumberjack.Logger, lines []any) error {
	for _, line := range lines {
		data, err := json.Marshal(line)
		if err == nil {
			_, err = file.Write(append(data, '\n'))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// private makes sure that a file can be written, and that only its owner reads it.
// Files that are begun later have the mode of the one before.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	return f.Chmod(0o600)
}
