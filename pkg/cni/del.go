package cni

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// parallelRemovals bounds how many attachments GC and Reconcile remove at a time.
const parallelRemovals = 8

// Del detaches a pod. What is gone already, it does not miss: not the network
// namespace, which it never looks at, nor the pair, the record or the flows. An
// error means that something may be left and that the same DEL has to be tried
// again.
func (s *Server) Del(ctx context.Context, req wire.Request) error {
	conf, err := wire.ParseConfig(req.Config)
	if err != nil {
		return err
	}
	id, err := identify(req)
	if err != nil {
		return err
	}
	ctx, cancel := limit(ctx, conf)
	defer cancel()
	unlock, err := s.attachments.lock(ctx, id.port)
	if err == nil {
		defer unlock()
		err = s.remove(ctx, id.port)
	}
	if err != nil {
		return cniError(fmt.Sprintf("detaching interface %s of container %s", id.ifName, id.containerID), types.ErrTryAgainLater, err)
	}
	klog.FromContext(ctx).Info("Detached a pod", "port", id.port, "containerID", id.containerID, "ifName", id.ifName)
	return nil
}

// remove takes the parts of an attachment away in the reverse order of ADD: a
// record, and with it its addresses, is given up only when no flow is left that
// refers to it. The pair is deleted in any case, which cuts the pod off, and
// makes Reconcile finish what failed here.
func (s *Server) remove(ctx context.Context, port string) error {
	err := s.cfg.Enforcer.DeletePort(ctx, port)
	if err == nil {
		err = s.cfg.Ports.DeletePort(ctx, port)
	}
	if err == nil {
		s.cfg.Pool.Free(port)
	}
	return errors.Join(err, podlink.Delete(port))
}

// GC detaches every attachment of the network that is not among the valid ones.
// It removes what it can and reports the rest.
func (s *Server) GC(ctx context.Context, req wire.Request) error {
	conf, err := wire.ParseConfig(req.Config)
	if err != nil {
		return err
	}
	if !conf.HasValid {
		// To take this for an empty list would cut off every pod of the node.
		return types.NewError(types.ErrInvalidNetworkConfig, "network configuration: cni.dev/valid-attachments: is missing", "")
	}
	if conf.Name != s.cfg.Network {
		return nil // Add has let nothing be attached to it
	}
	valid := make(map[string]bool, len(conf.Valid))
	for _, a := range conf.Valid {
		valid[wire.PortName(a.ContainerID, a.IfName)] = true
	}
	ctx, cancel := limit(ctx, conf)
	defer cancel()
	err = s.removeWhere(ctx, func(port string) (bool, error) { return !valid[port], nil })
	if err != nil {
		return cniError("collecting stale attachments", types.ErrTryAgainLater, err)
	}
	return nil
}

// Reconcile brings the node in line with the records: the pool learns which
// addresses are in use, and every attachment whose veth pair is gone is detached.
// Such are those of pods that were deleted while no agent ran, and all of them
// after a reboot.
//
// Call it when the agent starts, after Listen: the plugin counts on that (see its
// forwarder.del). It may be called at any time after.
func (s *Server) Reconcile(ctx context.Context) error {
	if err := s.syncPool(ctx); err != nil {
		return err
	}
	err := s.removeWhere(ctx, func(port string) (bool, error) {
		there, err := podlink.Exists(port)
		return !there, err
	})
	if err != nil {
		return fmt.Errorf("removing attachments without a link: %w", err)
	}
	return nil
}

func (s *Server) syncPool(ctx context.Context) error {
	err := s.cfg.Pool.Sync(func() ([]vsdb.Port, error) { return s.cfg.Ports.Ports(ctx) })
	if err != nil {
		return fmt.Errorf("finding the addresses in use: %w", err)
	}
	return nil
}

// removeWhere removes the attachments of all ports that are stale.
func (s *Server) removeWhere(ctx context.Context, stale func(port string) (bool, error)) error {
	ports, err := s.cfg.Ports.Ports(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(ports))
	var group errgroup.Group
	group.SetLimit(parallelRemovals)
	for i, port := range ports {
		if port.Bridge != s.cfg.Bridge {
			continue
		}
		group.Go(func() error {
			if err := s.removeIf(ctx, port.Name, stale); err != nil {
				errs[i] = fmt.Errorf("port %s of pod %s/%s: %w", port.Name, port.PodNamespace, port.PodName, err)
			}
			return nil // every other port is still to be removed
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// removeIf removes an attachment if it is stale when no other command works on it.
func (s *Server) removeIf(ctx context.Context, port string, stale func(string) (bool, error)) error {
	unlock, err := s.attachments.lock(ctx, port)
	if err != nil {
		return err
	}
	defer unlock()
	if remove, err := stale(port); !remove || err != nil {
		return err
	}
	if err := s.remove(ctx, port); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Removed a stale attachment", "port", port)
	return nil
}
