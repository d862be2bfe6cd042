package vsdb

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/ovs/sandbox"
)

func TestOnlyAWaitThatIsMarkedIsEnded(t *testing.T) {
	s, db := open(t, sandbox.Dummy)
	was := RestoreNone
	for _, step := range []struct {
		what string
		args []string
		is   Restore
		ends bool
	}{
		{"a wait of somebody else", []string{"set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true"}, RestoreForeign, false},
		{"no wait any more", []string{"remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait"}, RestoreNone, false},
		{"a wait of Sluice's", []string{"set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true",
			"other_config:flow-limit=1000", "external_ids:" + IDRestore + "=true", "external_ids:hostname=here"}, RestoreOwn, true},
	} {
		vsctl(t, s, append([]string{"--no-wait"}, step.args...)...)
		is, err := db.NextRestore(within(t, timeout), was)
		if err != nil || is != step.is {
			t.Fatalf("%s: %v, %v, want %v", step.what, is, err, step.is)
		}
		if err := db.EndRestore(within(t, timeout)); err != nil {
			t.Fatal(err)
		}
		want := step.is
		if step.ends {
			want = RestoreNone
		}
		if was, err = db.Restore(within(t, timeout)); err != nil || was != want {
			t.Errorf("%s, ended: %v, %v, want %v", step.what, was, err, want)
		}
	}
	if got := vsctl(t, s, "get", "Open_vSwitch", ".", "other_config"); strings.TrimSpace(got) != `{flow-limit="1000"}` {
		t.Errorf("other_config is %s", got)
	}
	if got := vsctl(t, s, "get", "Open_vSwitch", ".", "external_ids:hostname"); strings.TrimSpace(got) != "here" {
		t.Errorf("external_ids:hostname is %s", got)
	}
}
