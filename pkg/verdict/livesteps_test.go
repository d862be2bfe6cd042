package verdict

import (
	"testing"

	"github.com/sluice-cni/sluice/flows"
)

// at is the copy of a packet in a table, after it has entered others.
func at(t flows.Table, before ...flows.Table) copied {
	c := copied{}
	for _, b := range append(before, t) {
		c.registers[flows.LiveRegisters[0]] |= 1 << b
	}
	c.followed, _ = flows.ReadFollowed(flows.NewCookie(flows.KindLive, uint64(t)), 1, c.registers)
	return c
}

func TestTablesAreNamedWhoseCopiesWereLost(t *testing.T) {
	before := []flows.Table{flows.TableClassifier, flows.TableConntrack, flows.TableConntrackState, flows.TableServiceLB, flows.TableEgressPeer, flows.TableRoute}
	all := crossings([]copied{at(flows.TableClassifier), at(flows.TableServiceLB, before[:3]...), at(flows.TableCommit, before...)})
	var came []flows.Table
	for i, c := range all {
		if want := append(before, flows.TableCommit)[i]; c.table != want {
			t.Errorf("table %d is %v, want %v", i, c.table, want)
		}
		if c.copy != nil {
			came = append(came, c.table)
		}
	}
	if len(all) != 7 || len(came) != 3 {
		t.Errorf("of %d tables copies came from %v", len(all), came)
	}
	if refused(all) {
		t.Error("a packet is taken to be refused that was judged")
	}
	if all := crossings([]copied{at(flows.TableServiceLB, before[:3]...), at(flows.TableCommit, before[:4]...)}); !refused(all) {
		t.Error("a packet is not taken to be refused that went from ServiceLB to Commit")
	}
}
