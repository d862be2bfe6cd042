package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// forwarder carries CNI commands to the agent. Its errors are *types.Error.
type forwarder struct{}

func (f forwarder) add(args *skel.CmdArgs) error {
	conf, err := wire.ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	result, err := call(conf, wire.Add, args)
	if err != nil {
		return explain(err, conf, types.ErrTryAgainLater)
	}
	if _, err := os.Stdout.Write(append(result, '\n')); err != nil {
		return types.NewError(types.ErrIOFailure, "writing the result to standard output", err.Error())
	}
	return nil
}

// del detaches through the agent. Without an agent it deletes the veth pair
// itself and succeeds, so that pods can be deleted while the agent is being
// upgraded, or is gone for good: an attachment without its link is dead, and the
// agent removes the port and frees the address of every one it finds so
// (cni.Server.Reconcile), at the latest when it starts.
//
// Asking a second time after the deletion closes the gap in which an agent
// starts: it opens its socket before it looks for dead attachments, so either it
// answers now, or it will see that the link is gone.
//
// Once a connection is made the agent's word counts: its errors go back to the
// runtime, which tries again.
func (f forwarder) del(args *skel.CmdArgs) error {
	conf, err := wire.ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	_, err = call(conf, wire.Del, args)
	if errors.Is(err, wire.ErrUnreachable) {
		port := wire.PortName(args.ContainerID, args.IfName)
		if linkErr := deleteLink(port); linkErr != nil {
			return types.NewError(types.ErrTryAgainLater,
				fmt.Sprintf("cannot reach sluice-agent at %s, nor delete interface %s without it", conf.Socket, port),
				linkErr.Error())
		}
		if _, err = call(conf, wire.Del, args); errors.Is(err, wire.ErrUnreachable) {
			return nil
		}
	}
	return explain(err, conf, types.ErrTryAgainLater)
}

func (f forwarder) check(args *skel.CmdArgs) error {
	return f.forward(wire.Check, args, types.ErrTryAgainLater)
}

func (f forwarder) gc(args *skel.CmdArgs) error {
	return f.forward(wire.GC, args, types.ErrTryAgainLater)
}

// status answers 50 when the agent does not: pods cannot be added, but those
// that are keep their connectivity and their policies, which live in Open
// vSwitch. The agent itself tells when that is in doubt (51).
func (f forwarder) status(args *skel.CmdArgs) error {
	return f.forward(wire.Status, args, types.ErrPluginNotAvailable)
}

func (f forwarder) forward(cmd wire.Command, args *skel.CmdArgs, silent uint) error {
	conf, err := wire.ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	_, err = call(conf, cmd, args)
	return explain(err, conf, silent)
}

func call(conf *wire.Config, cmd wire.Command, args *skel.CmdArgs) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), conf.Timeout)
	defer cancel()
	return wire.Call(ctx, conf.Socket, cmd, wire.Request{
		ContainerID: args.ContainerID,
		Netns:       args.Netns,
		IfName:      args.IfName,
		Args:        args.Args,
		Config:      args.StdinData,
	})
}

// explain makes a CNI error of what a call returned; silent is the code for an
// agent that gave no answer.
func explain(err error, conf *wire.Config, silent uint) error {
	var answered *types.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answered):
		return answered
	case errors.Is(err, wire.ErrUnreachable):
		return types.NewError(silent,
			fmt.Sprintf("cannot reach sluice-agent at %s: check that it runs on this node", conf.Socket),
			err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return types.NewError(silent,
			fmt.Sprintf("sluice-agent at %s gave no answer within %s: see its log", conf.Socket, conf.Timeout),
			err.Error())
	default:
		return types.NewError(silent, fmt.Sprintf("no usable answer from sluice-agent at %s", conf.Socket), err.Error())
	}
}
