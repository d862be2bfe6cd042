package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/test/cluster/daemon"
	"github.com/sluice-cni/sluice/test/controlplane"
)

// startTimeout is how long a part may take until it serves.
const startTimeout = 2 * time.Minute

// kubeletClient is whom kubelets take kube-apiserver for.
const kubeletClient = "kube-apiserver-kubelet-client"

// writeControl writes the certificates and kubeconfigs of the control plane.
func (c *Cluster) writeControl() error {
	dir := c.Path(Control)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	serve := addrs(c.Plan.Subnets[0].Router)
	c.plane = controlplane.Config{
		Dir: dir, Listen: netip.MustParseAddr("127.0.0.1"), Serve: serve, Advertise: serve[0], Services: c.Plan.Services,
	}
	if err := c.plane.WriteFiles(); err != nil {
		return err
	}
	client, err := c.plane.CA().Client(kubeletClient, controlplane.Admin)
	if err != nil {
		return err
	}
	if err := writePair(c.Path(Control, kubeletClient), client); err != nil {
		return err
	}
	if err := c.writeKubeconfig(c.Kubeconfig(), "admin", controlplane.Admin); err != nil {
		return err
	}
	for _, user := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if err := c.writeKubeconfig(c.Path(Control, user+".kubeconfig"), "system:"+user); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) writeKubeconfig(path, user string, groups ...string) error {
	config, err := c.plane.ConfigFor(user, groups...)
	if err == nil {
		err = controlplane.WriteKubeconfig(path, config)
	}
	if err != nil {
		return fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return nil
}

// writePair writes a certificate and its key to path.crt and path.key.
func writePair(path string, p controlplane.Pair) error {
	if err := os.WriteFile(path+".crt", p.Cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".key", p.Key, 0o600)
}

// startStore starts etcd and, without waiting for it, kube-apiserver.
func (c *Cluster) startStore(ctx context.Context) error {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("start etcd: %w (run: apt-get install etcd-server)", err)
	}
	if err := c.startDaemon("etcd", etcd, c.plane.EtcdFlags()...); err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: c.Netns(Control).DialContext, DisableKeepAlives: true}}
	err = c.waitDaemon(ctx, "etcd", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.plane.EtcdURL()+"/health", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(req)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("its health is %s", answer.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	server, err := controlplane.Lookup("kube-apiserver")
	if err != nil {
		return err
	}
	// Both families of all its addresses, and loopback.
	flags := c.plane.ServerFlags(unspecified(c.plane.Advertise))
	return c.startDaemon("kube-apiserver", server, append(flags, c.plane.AggregatorFlags(kubeletClient)...)...)
}

// startControl waits for kube-apiserver and starts the rest of the control plane.
// Not before: what starts while the API server makes its own roles, is refused,
// and ends.
func (c *Cluster) startControl(ctx context.Context) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	err = c.waitDaemon(ctx, "kube-apiserver", func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil {
		return err
	}
	controllers := c.plane.ControllersFlags(c.Path(Control, "kube-controller-manager.kubeconfig"), "*")
	controllers = append(controllers, c.plane.SigningFlags()...)
	controllers = append(controllers, "--allocate-node-cidrs=true",
		"--cluster-cidr="+controlplane.Join(c.Plan.Pods), "--service-cluster-ip-range="+controlplane.Join(c.Plan.Services))
	controllers = append(controllers, c.rangeFlags()...)
	for _, d := range []struct {
		name  string
		port  uint16
		flags []string
	}{
		{"kube-controller-manager", controlplane.ControllersPort, controllers},
		{"kube-scheduler", controlplane.SchedulerPort, c.plane.SchedulerFlags(c.Path(Control, "kube-scheduler.kubeconfig"))},
	} {
		path, err := controlplane.Lookup(d.name)
		if err != nil {
			return err
		}
		if err := c.startDaemon(d.name, path, d.flags...); err != nil {
			return err
		}
		addr := netip.AddrPortFrom(c.plane.Listen, d.port).String()
		err = c.waitDaemon(ctx, d.name, func(ctx context.Context) error {
			conn, err := c.Netns(Control).DialContext(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			return conn.Close()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rangeFlags say how long the nodes' ranges are. With one family the flag is
// another.
func (c *Cluster) rangeFlags() []string {
	if len(c.Plan.Pods) == 1 {
		return []string{fmt.Sprintf("--node-cidr-mask-size=%d", c.Plan.PodBits[0])}
	}
	var flags []string
	for i, p := range c.Plan.Pods {
		family := "ipv4"
		if p.Addr().Is6() {
			family = "ipv6"
		}
		flags = append(flags, fmt.Sprintf("--node-cidr-mask-size-%s=%d", family, c.Plan.PodBits[i]))
	}
	return flags
}

// startDaemon starts a daemon of the control plane.
func (c *Cluster) startDaemon(name, path string, flags ...string) error {
	return daemon.Start(c.Path("daemons"), daemon.Spec{
		Name: name, Args: append([]string{path}, flags...), Log: c.Log(name), Netns: c.netnsPath(Control),
	})
}

// waitDaemon calls check until it succeeds or the daemon has ended.
func (c *Cluster) waitDaemon(given context.Context, name string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(given, startTimeout)
	defer cancel()
	var last error
	err := poll(ctx, func() (bool, error) {
		if last = check(ctx); last == nil {
			return true, nil
		}
		r, err := daemon.Find(c.Path("daemons"), name)
		if err == nil && !r.Running() {
			err = errors.New("it has ended")
		}
		return false, err
	})
	switch {
	case given.Err() != nil: // interrupted: the log is of no interest
		return fmt.Errorf("wait for %s: %w", name, context.Cause(given))
	case err != nil:
		return fmt.Errorf("wait for %s: %w; last answer: %v; the end of its log:\n%s", name, err, last, c.logTail(name))
	}
	return nil
}

// logTail returns the last lines of a log.
func (c *Cluster) logTail(name string) string {
	const lines = 15
	text, err := os.ReadFile(c.Log(name))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
