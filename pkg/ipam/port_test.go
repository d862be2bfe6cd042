package ipam

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/vsdb"
)

func TestTheDatabaseIsTheSourceOfTruth(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Dummy)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	open := func() *vsdb.DB {
		db, err := vsdb.Dial(ctx, vsdb.Config{Endpoint: s.Endpoint()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		return db
	}
	db := open()
	if err := db.EnsureBridge(ctx, vsdb.Bridge{Name: "br-sluice", Gateway: "sluice0", DatapathType: sandbox.Dummy}); err != nil {
		t.Fatal(err)
	}

	// Two agents that know nothing of each other, as for a moment during an update,
	// share 12 addresses.
	pools := []*Pool{pool(t, []string{"10.1.0.0/28", "fd00::/64"}), pool(t, []string{"10.1.0.0/28", "fd00::/64"})}
	dbs := []*vsdb.DB{db, open()}
	var adds errgroup.Group
	for n := range 12 {
		adds.Go(func() error {
			_, err := addPort(ctx, pools[n%2], dbs[n%2], spec(n))
			return err
		})
	}
	if err := adds.Wait(); err != nil {
		t.Fatal(err)
	}
	ports, err := db.Ports(ctx)
	if err != nil || len(ports) != 12 {
		t.Fatalf("ports are %+v, %v", ports, err)
	}
	var v4 []netip.Addr
	for _, port := range ports {
		v4 = append(v4, port.Addrs[0])
		if !slices.Equal(port.MAC, mac(port.Addrs)) {
			t.Errorf("port %+v has not the MAC of its address", port)
		}
	}
	slices.SortFunc(v4, netip.Addr.Compare)
	if len(slices.Compact(v4)) != 12 {
		t.Errorf("addresses were given twice: %v", v4)
	}

	restarted := pool(t, []string{"10.1.0.0/28", "fd00::/64"})
	if err := restarted.Sync(func() ([]vsdb.Port, error) { return db.Ports(ctx) }); err != nil {
		t.Fatal(err)
	}
	_, err = addPort(ctx, restarted, db, spec(20))
	var full *ExhaustedError
	if !errors.As(err, &full) || full.Used != 12 {
		t.Errorf("error is %v", err)
	}
	for range 2 {
		if err := db.DeletePort(ctx, spec(7).Name); err != nil {
			t.Fatal(err)
		}
		restarted.Free(spec(7).Name)
	}
	again, err := addPort(ctx, restarted, db, spec(20))
	if err != nil || again.Addrs[0] != ports[7].Addrs[0] {
		t.Errorf("got %+v, %v; want the address of %+v", again, err, ports[7])
	}
}

// addPort adds a port with addresses of the pool, as the package comment says.
func addPort(ctx context.Context, p *Pool, db *vsdb.DB, spec vsdb.PortSpec) (vsdb.Port, error) {
	var r *Reservation
	spec.Pick = func(a *vsdb.Attachment) (err error) {
		if r != nil {
			r.Release()
			if err := p.Sync(func() ([]vsdb.Port, error) { return db.Ports(ctx) }); err != nil {
				return err
			}
		}
		if r, err = p.Allocate(spec.Name); err != nil {
			return err
		}
		a.Addrs = r.Addrs()
		a.MAC = mac(a.Addrs)
		return nil
	}
	port, err := db.AddPort(ctx, spec)
	if err != nil {
		r.Release()
		return vsdb.Port{}, err
	}
	r.Commit()
	return port, nil
}

func spec(n int) vsdb.PortSpec {
	return vsdb.PortSpec{
		Bridge: "br-sluice", Name: fmt.Sprintf("sl%013x", n), Type: "dummy",
		Attachment: vsdb.Attachment{ContainerID: fmt.Sprint("c", n), IfName: "eth0"},
	}
}

func mac(addrs []netip.Addr) net.HardwareAddr {
	v4 := addrs[0].As4()
	return net.HardwareAddr{0x0a, 0x58, v4[0], v4[1], v4[2], v4[3]}
}
