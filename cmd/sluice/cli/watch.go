package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// follow simulates the folder and goes on as it changes, until it is
// interrupted, which is how it is meant to end.
func (s *simulation) follow(ctx context.Context) (err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	c, bed, err := s.startBed(ctx, s.problems)
	if err != nil {
		return late(ctx, err)
	}
	defer func() { err = errors.Join(err, bed.Close()) }()

	w := &watch{simulation: s, cluster: c}
	source := cluster.NewFolderSource(s.dir, cluster.FolderOptions{Node: simulatedNode})
	if err := source.Run(ctx, func(events []cluster.Event) { w.step(ctx, events) }); err != nil {
		return err
	}
	return s.orProblems(w.last)
}

// watch is a folder that is being followed.
type watch struct {
	*simulation
	cluster *simulate.Cluster
	before  *simulate.Matrix
	last    error // of the last step
}

// step enters changes of the folder and shows what comes of them. What goes
// wrong is said and may be right after the next change.
func (w *watch) step(ctx context.Context, events []cluster.Event) {
	err := w.cluster.Apply(ctx, events)
	if err == nil {
		err = w.show(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	w.last = err
	if message := messageOf(err); message != "" {
		fmt.Fprintf(w.streams.Err, "Error: %s\n", message)
	}
}

func (w *watch) show(ctx context.Context) error {
	if w.expect != "" {
		return w.compare(ctx, w.cluster)
	}
	m, err := w.matrix(ctx, w.cluster)
	if err != nil {
		return err
	}
	before := w.before
	w.before = m
	if before == nil {
		return w.printMatrix(m)
	}
	return w.printChanges(simulate.Changes(before, m))
}

// printChanges prints what is other than before, as one document.
func (w *watch) printChanges(changes []simulate.Change) error {
	if w.output == formatYAML {
		if _, err := io.WriteString(w.streams.Out, "---\n"); err != nil {
			return err
		}
	}
	return w.print(changes, func(out io.Writer, s render.Style) error {
		if _, err := fmt.Fprintf(out, "%s the folder has changed, and %d of the verdicts\n", time.Now().Format(time.TimeOnly), len(changes)); err != nil {
			return err
		}
		return render.Changes(out, s, changes)
	})
}
