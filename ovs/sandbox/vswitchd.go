package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// kernelDatapath is the one datapath of the kernel module that every
// ovs-vswitchd uses; it shows as a network device of that name.
const kernelDatapath = "ovs-system"

func (s *Sandbox) checkDatapath() error {
	switch s.datapath {
	case Dummy:
		return nil
	case Netdev, System:
		if os.Geteuid() != 0 {
			return fmt.Errorf("the %s datapath needs root", s.datapath)
		}
	default:
		return fmt.Errorf("datapath %q is none of dummy, netdev, system", s.datapath)
	}
	if s.datapath == System && s.netns == "" && kernelDatapathExists() {
		return errors.New("the kernel's datapath " + kernelDatapath + " belongs to another Open vSwitch")
	}
	return nil
}

func kernelDatapathExists() bool {
	_, err := os.Lstat("/sys/class/net/" + kernelDatapath)
	return err == nil
}

// StartVswitchd starts ovs-vswitchd, and returns when it has brought about all
// that the database holds. It does nothing if ovs-vswitchd runs.
func (s *Sandbox) StartVswitchd(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{s.Endpoint(), "--unixctl=" + s.VswitchdCtl()}
	if s.datapath == Dummy {
		args = append(args, "--enable-dummy=override", "--disable-system")
	} else if err := waitUptime(ctx, minUptime); err != nil {
		return fmt.Errorf("start ovs-vswitchd: %w", err)
	}
	return s.spawn(&s.vswitchd, "ovs-vswitchd", args, func() error {
		if err := s.poll(ctx, s.vswitchd, func(ctx context.Context) error {
			_, err := s.Vswitchd().Call(ctx, "version")
			return err
		}); err != nil {
			return err
		}
		if err := s.linkCtl(); err != nil {
			return err
		}
		ctx, cancel := s.vswitchd.running(ctx)
		defer cancel()
		return s.waitConfigured(ctx)
	})
}

// linkCtl gives the control socket the name under which ovs-appctl(8) and
// unixctl.Find look for it, beside the one that outlives restarts.
func (s *Sandbox) linkCtl() error {
	link := s.path(fmt.Sprintf("ovs-vswitchd.%d.ctl", s.vswitchd.pid()))
	if err := os.Symlink(s.VswitchdCtl(), link); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// StopVswitchd ends ovs-vswitchd and returns when it is gone. Bridges, flows and
// connections of the dummy and netdev datapaths go with it; the kernel's
// datapath goes on forwarding by its cache. It does nothing if ovs-vswitchd does
// not run.
func (s *Sandbox) StopVswitchd(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx, &s.vswitchd)
}

// cleanUp ends ovs-vswitchd such that it takes its datapath with it.
func (s *Sandbox) cleanUp(ctx context.Context) error {
	if d := s.vswitchd; d != nil {
		s.vswitchd = nil
		// The reply comes when the daemon is about to end, or is lost with it.
		if _, err := s.Vswitchd().Call(ctx, "exit", "--cleanup"); err != nil {
			return d.terminate(ctx)
		}
		return d.wait(ctx)
	}
	if s.datapath == System && s.netns == "" && kernelDatapathExists() {
		return s.run(ctx, "ovs-dpctl", "del-dp", "system@"+kernelDatapath)
	}
	return nil
}

// minUptime is the age of the machine at which ovs-vswitchd may start:
// ovs-vswitchd 3.1 caches the number of CPUs for 10 s of the monotonic clock
// beginning at zero, so that one that starts earlier counts none and has no
// thread for packets the datapath does not know (upcalls).
const minUptime = 12 * time.Second

// waitUptime returns when the machine has been up for d.
func waitUptime(ctx context.Context, d time.Duration) error {
	up, err := uptime()
	if err != nil || up >= d {
		return err
	}
	select {
	case <-time.After(d - up):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the machine to be up for %v: %w", d, ctx.Err())
	}
}

func uptime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/uptime: %w", err)
	}
	return time.Duration(f * float64(time.Second)), nil
}
