package channel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// Config says where to connect and how.
type Config struct {
	// Target is an OpenFlow endpoint: "unix:/run/openvswitch/br0.mgmt" or
	// "tcp:127.0.0.1:6653".
	Target string
	// Probe is how long the switch may be silent before it is asked whether it is
	// alive; zero means DefaultProbe. Silent for six times as long, it is lost: it
	// says nothing while it takes a large bundle.
	Probe time.Duration
	// Async gets the messages that answer no request, such as packet-ins. It is
	// called from the goroutine that reads and must not wait for an answer.
	Async func(ofp.Message)
}

// DefaultProbe is Config.Probe where none is given.
const DefaultProbe = 10 * time.Second

// probesLost is how many probes' time of silence mean that the switch is lost.
const probesLost = 6

// handshakeTimeout bounds connecting and finding out the version.
const handshakeTimeout = 10 * time.Second

// ErrVersion says that the bridge does not speak OpenFlow 1.5.
var ErrVersion = errors.New("bridge does not speak OpenFlow 1.5")

// Supported reports whether a target is one that Dial can connect to.
func Supported(target string) bool {
	_, _, err := endpoint(target)
	return err == nil
}

func endpoint(target string) (network, address string, err error) {
	network, address, _ = strings.Cut(target, ":")
	if network != "unix" && network != "tcp" || address == "" {
		return "", "", fmt.Errorf("target %q is neither unix:PATH nor tcp:HOST:PORT", target)
	}
	return network, address, nil
}

// Dial connects, and agrees with the bridge on OpenFlow 1.5.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	network, address, err := endpoint(cfg.Target)
	if err != nil {
		return nil, err
	}
	if cfg.Probe <= 0 {
		cfg.Probe = DefaultProbe
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, address)
	if errors.Is(err, context.DeadlineExceeded) {
		// The dialer looks at the clock and may see the deadline before ctx does.
		<-ctx.Done()
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(nc, 64<<10)
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	features, err := handshake(nc, r)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("handshake with %s: %w", cfg.Target, err)
	}
	return start(nc, r, cfg, features), nil
}

// handshake exchanges hellos and asks for the features.
func handshake(nc net.Conn, r *bufio.Reader) (ofp.Features, error) {
	const xid = 1
	out, err := ofp.Append(nil, xid, ofp.Hello{Versions: 1 << ofp.Version})
	if err == nil {
		_, err = nc.Write(out)
	}
	if err != nil {
		return ofp.Features{}, err
	}
	var buf []byte
	greeted := false
	for {
		if buf, err = ofp.Read(r, buf); err != nil {
			return ofp.Features{}, err
		}
		h, m, err := ofp.Parse(buf)
		switch m := m.(type) {
		case ofp.Hello:
			if !m.Speaks(h) {
				return ofp.Features{}, fmt.Errorf("%w (hello of version %d, bitmap %#x)", ErrVersion, h.Version, m.Versions)
			}
			if greeted {
				continue
			}
			greeted = true
			if out, err = ofp.Append(out[:0], xid, ofp.FeaturesRequest{}); err == nil {
				_, err = nc.Write(out)
			}
			if err != nil {
				return ofp.Features{}, err
			}
		case ofp.Features:
			return m, nil
		case *ofp.Error:
			if m.ErrType == 0 {
				return ofp.Features{}, fmt.Errorf("%w: %s %q", ErrVersion, m, m.Data)
			}
			return ofp.Features{}, m
		case ofp.EchoRequest:
			if out, err = ofp.Append(out[:0], h.XID, ofp.EchoReply(m)); err == nil {
				_, err = nc.Write(out)
			}
			if err != nil {
				return ofp.Features{}, err
			}
		case nil:
			if !greeted {
				return ofp.Features{}, err
			}
		}
	}
}
