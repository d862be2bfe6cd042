package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
)

// A busy client soon uses each of its ports again, while the connection tracker
// still knows the connection before. That one must not be in the way.
func TestBusyClientUsesItsPortsAgain(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns, ports, times = "again", 20, 5
	n.namespace(t, ns, nil)
	client, server := n.pod(t, ns, "client", nil), n.pod(t, ns, "server", nil)
	tells(t, &server.Host)
	fronts := frontends(n.service(t, ns, "s", nil), 80)
	n.serves(t, ns, "s", &server.Host)
	err := client.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "40000 %d", 40000+ports-1), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range fronts {
		answered(t, &client.Host, "tcp", to, &server.Host)
		// The server closes first, so that no port is kept from the client.
		connect := func(ctx context.Context) error {
			c, err := client.Dial(ctx, "tcp", to)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, c)
			return errors.Join(err, c.Close())
		}
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for i := range times * ports / 4 {
					if err := connect(within(t)); err != nil {
						t.Errorf("connection %d to %s: %v", i, to, err)
						return
					}
				}
			})
		}
		workers.Wait()
	}
}
