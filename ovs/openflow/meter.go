package openflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/ovs/openflow/channel"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// ErrNoMeters says that the bridge has no meters to use: its datapath has none
// (Linux has them since 4.15), or has no room for them, or the bridge is spoken
// to by ovs-ofctl.
var ErrNoMeters = errors.New("no meters")

// Meter limits the packets that actions let through it: "meter:1" drops a packet
// that is too much, "controller(meter_id=1)" does not send it. The datapath
// itself counts.
type Meter struct {
	// ID is 1 to 0xffff0000.
	ID uint32
	// Rate is in packets a second, Burst how many packets may come at once.
	Rate, Burst uint32
}

// DumpMeters returns all meters of the bridge.
func (b *Bridge) DumpMeters(ctx context.Context) ([]Meter, error) {
	if b.native == nil {
		return nil, fmt.Errorf("dump meters of %s: %w without a native connection", b.target, ErrNoMeters)
	}
	var out []Meter
	err := b.native.channel.Use(ctx, func(c *channel.Conn) error {
		return c.Each(ctx, ofp.MeterRequest{Meter: ofp.AllMeters}, func(m ofp.Message) error {
			part, ok := m.(*ofp.MeterReply)
			if !ok {
				return fmt.Errorf("answer of type %T", m)
			}
			for _, c := range part.Meters {
				out = append(out, Meter(c))
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("dump meters of %s: %w", b.target, noMeters(err))
	}
	return out, nil
}

// ChangeMeters adds meters, gives others that stand a new rate, and deletes some.
// Unlike flows they are changed one by one: an error may leave some done. A switch
// deletes the flows that use a meter with it.
func (b *Bridge) ChangeMeters(ctx context.Context, add, modify []Meter, deletes []uint32) error {
	if b.native == nil {
		return fmt.Errorf("change meters of %s: %w without a native connection", b.target, ErrNoMeters)
	}
	var mods []ofp.Message
	for _, m := range add {
		mods = append(mods, ofp.MeterMod{Command: ofp.MeterAdd, MeterConfig: ofp.MeterConfig(m)})
	}
	for _, m := range modify {
		mods = append(mods, ofp.MeterMod{Command: ofp.MeterModify, MeterConfig: ofp.MeterConfig(m)})
	}
	for _, id := range deletes {
		mods = append(mods, ofp.MeterMod{Command: ofp.MeterDelete, MeterConfig: ofp.MeterConfig{ID: id}})
	}
	err := b.native.channel.Use(ctx, func(c *channel.Conn) error { return c.Do(ctx, mods...) })
	if err != nil {
		return fmt.Errorf("change meters of %s: %w", b.target, noMeters(err))
	}
	return nil
}

// noMeters adds ErrNoMeters to what the switch itself says no with.
func noMeters(err error) error {
	if _, ok := errors.AsType[*ofp.Error](err); ok || errors.Is(err, ofp.ErrUnknown) {
		return fmt.Errorf("%w: %w", ErrNoMeters, err)
	}
	return err
}

// PacketIn is a packet that a flow has sent to the controllers.
type PacketIn = ofp.PacketIn

// Listen calls fn for each packet that flows send to the controllers, until ctx
// ends; it connects again when the connection is lost. fn must not wait: the
// switch drops packets meanwhile. state is told of each connection (nil) and of
// each loss or failure to connect. Listen needs no Config.Native.
func (b *Bridge) Listen(ctx context.Context, fn func(*PacketIn), state func(error)) error {
	return channel.Listen(ctx, channel.Config{Target: b.target}, fn, state)
}
