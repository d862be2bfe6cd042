package channel

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// peer listens and does what no switch of ours does. do gets each connection
// after the handshake, and what it reads.
func peer(t *testing.T, do func(nc net.Conn)) (target string) {
	t.Helper()
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "peer")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				do(nc)
			}()
		}
	}()
	return "unix:" + path
}

func send(nc net.Conn, xid uint32, m ofp.Message) {
	if b, err := ofp.Append(nil, xid, m); err == nil {
		nc.Write(b)
	}
}

// greet shakes hands as a switch does.
func greet(nc net.Conn) {
	send(nc, 1, ofp.Hello{Versions: 1 << ofp.Version})
	for range 2 {
		if _, err := ofp.Read(nc, nil); err != nil {
			return
		}
	}
	send(nc, 1, ofp.Features{DatapathID: 5})
}

func TestEchoIsAnsweredAndAsked(t *testing.T) {
	answers := make(chan ofp.Message, 10)
	target := peer(t, func(nc net.Conn) {
		greet(nc)
		send(nc, 77, ofp.EchoRequest{Data: []byte("abc")})
		for {
			b, err := ofp.Read(nc, nil)
			if err != nil {
				return
			}
			h, m, _ := ofp.Parse(b)
			if _, ok := m.(ofp.EchoRequest); ok {
				send(nc, h.XID, ofp.EchoReply{})
			}
			answers <- m
		}
	})
	c, err := Dial(testContext(t), Config{Target: target, Probe: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var asked, answered bool
	for !asked || !answered {
		select {
		case m := <-answers:
			switch m := m.(type) {
			case ofp.EchoReply:
				answered = string(m.Data) == "abc"
			case ofp.EchoRequest:
				asked = true
			}
		case <-testContext(t).Done():
			t.Fatalf("asked %v, answered %v", asked, answered)
		}
	}
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

func TestSilentSwitchIsLost(t *testing.T) {
	target := peer(t, func(nc net.Conn) {
		greet(nc)
		io.Copy(io.Discard, nc)
	})
	c, err := Dial(testContext(t), Config{Target: target, Probe: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Barrier(testContext(t)); !errors.Is(err, ErrLost) {
		t.Errorf("got %v", err)
	}
}

func TestSwitchThatDoesNotReadIsLeft(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	target := peer(t, func(nc net.Conn) {
		greet(nc)
		<-hold
	})
	c, err := Dial(testContext(t), Config{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err = c.Bundle(ctx, 100_000, func(i int) (ofp.Message, error) { return drop(i), nil })
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(c.Err(), ErrLost) {
		t.Errorf("got %v, connection %v", err, c.Err())
	}
}

func TestPeerThatTalksNonsenseIsNoSwitch(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":        "",
		"text":           "HTTP/1.1 400 Bad Request\r\n\r\n",
		"short message":  "\x06\x00\x00\x04\x00\x00\x00\x01",
		"other version":  "\x04\x00\x00\x08\x00\x00\x00\x01",
		"error first":    "\x06\x01\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00",
		"cut off":        "\x06\x00\x00\x10\x00\x00\x00\x01\x00",
		"not an opening": "\x06\x15\x00\x09\x00\x00\x00\x01\x00",
	} {
		target := peer(t, func(nc net.Conn) { io.WriteString(nc, text) })
		if c, err := Dial(testContext(t), Config{Target: target}); err == nil {
			c.Close()
			t.Errorf("%s: no error", name)
		}
	}
	for _, target := range []string{"", "br0", "unix:", "ssl:127.0.0.1:6653", "unix:/none/at/all"} {
		if c, err := Dial(testContext(t), Config{Target: target}); err == nil {
			c.Close()
			t.Errorf("Dial(%q): no error", target)
		}
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	target := peer(t, func(net.Conn) { <-hold })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, Config{Target: target}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
