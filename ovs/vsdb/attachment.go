package vsdb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// IDPrefix begins all keys of Sluice in external_ids. A port without such keys
// is someone else's and is never changed.
const IDPrefix = "sluice-"

// The keys of an Attachment in the external_ids of its Port row. Empty values
// are left out.
const (
	IDPodNamespace = IDPrefix + "pod-namespace"
	IDPodName      = IDPrefix + "pod-name"
	IDPodUID       = IDPrefix + "pod-uid"
	IDContainerID  = IDPrefix + "container-id"
	IDIfName       = IDPrefix + "ifname"
	IDNetns        = IDPrefix + "netns"
	IDMAC          = IDPrefix + "mac"
	IDIPv4         = IDPrefix + "ipv4"
	IDIPv6         = IDPrefix + "ipv6"
	// IDPrimary is "ipv6" if the IPv6 address is the first of two.
	IDPrimary = IDPrefix + "primary"
	// IDGateway marks the gateway port of a bridge; its value is the bridge's name.
	IDGateway = IDPrefix + "gateway"
	// IDTunnel marks the tunnel port of a bridge; its value is the bridge's name.
	IDTunnel = IDPrefix + "tunnel"
)

// IDs lists the keys an Attachment may use.
var IDs = []string{
	IDPodNamespace, IDPodName, IDPodUID, IDContainerID, IDIfName, IDNetns, IDMAC, IDIPv4, IDIPv6, IDPrimary,
}

// Attachment is what is attached to a port: one interface of a pod's sandbox.
type Attachment struct {
	// PodNamespace, PodName and PodUID are empty for a container that is no
	// Kubernetes pod.
	PodNamespace, PodName, PodUID string
	// ContainerID and IfName are CNI's name for the attachment. Both are required.
	ContainerID, IfName string
	// Netns is the path of the network namespace.
	Netns string
	// MAC is the Ethernet address of the interface inside the namespace.
	MAC net.HardwareAddr
	// Addrs are the addresses of the interface, at most one of each family, the
	// pod's primary address first.
	Addrs []netip.Addr
}

// Equal reports whether both say the same.
func (a Attachment) Equal(b Attachment) bool {
	return a.PodNamespace == b.PodNamespace && a.PodName == b.PodName && a.PodUID == b.PodUID &&
		a.ContainerID == b.ContainerID && a.IfName == b.IfName && a.Netns == b.Netns &&
		slices.Equal(a.MAC, b.MAC) && slices.Equal(a.Addrs, b.Addrs)
}

// Validate returns an error that names the field which can't be as it is.
func (a Attachment) Validate() error {
	switch {
	case a.ContainerID == "":
		return errors.New("field ContainerID is empty")
	case a.IfName == "":
		return errors.New("field IfName is empty")
	case len(a.MAC) != 6:
		return fmt.Errorf("field MAC %q is not an Ethernet address", a.MAC)
	case len(a.Addrs) == 0:
		return errors.New("field Addrs is empty")
	}
	var seen [2]bool
	for _, addr := range a.Addrs {
		if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
			return fmt.Errorf("field Addrs: %q is not a plain IPv4 or IPv6 address", addr)
		}
		family := 0
		if addr.Is6() {
			family = 1
		}
		if seen[family] {
			return fmt.Errorf("field Addrs: %s is the second address of its family", addr)
		}
		seen[family] = true
	}
	return nil
}

// ExternalIDs returns the attachment as keys and values of external_ids.
func (a Attachment) ExternalIDs() map[string]string {
	ids := map[string]string{
		IDPodNamespace: a.PodNamespace,
		IDPodName:      a.PodName,
		IDPodUID:       a.PodUID,
		IDContainerID:  a.ContainerID,
		IDIfName:       a.IfName,
		IDNetns:        a.Netns,
		IDMAC:          a.MAC.String(),
	}
	for i, addr := range a.Addrs {
		ids[addrID(addr)] = addr.String()
		if i == 0 && addr.Is6() && len(a.Addrs) > 1 {
			ids[IDPrimary] = "ipv6"
		}
	}
	for key, value := range ids {
		if value == "" {
			delete(ids, key)
		}
	}
	return ids
}

// addrID returns the key under which an address stands: one of each family, so
// that the server can be asked for the port that has it.
func addrID(addr netip.Addr) string {
	if addr.Is4() {
		return IDIPv4
	}
	return IDIPv6
}

// ParseAttachment reads what ExternalIDs has written. Keys it does not know are
// ignored. With an error, which names each key that can't be read, comes the
// part that could.
func ParseAttachment(ids map[string]string) (Attachment, error) {
	a := Attachment{
		PodNamespace: ids[IDPodNamespace],
		PodName:      ids[IDPodName],
		PodUID:       ids[IDPodUID],
		ContainerID:  ids[IDContainerID],
		IfName:       ids[IDIfName],
		Netns:        ids[IDNetns],
	}
	var errs []error
	if text, ok := ids[IDMAC]; ok {
		mac, err := net.ParseMAC(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", IDMAC, err))
		}
		a.MAC = mac
	}
	for _, key := range []string{IDIPv4, IDIPv6} {
		text, ok := ids[key]
		if !ok {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err == nil && addrID(addr) != key {
			err = fmt.Errorf("%q is of the other family", text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
			continue
		}
		a.Addrs = append(a.Addrs, addr)
	}
	if ids[IDPrimary] == "ipv6" {
		slices.Reverse(a.Addrs)
	}
	if len(errs) == 0 {
		if err := a.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return a, errors.Join(errs...)
}

// ours reports whether external_ids are those of a pod's port.
func ours(ids map[string]string) bool {
	for key := range ids {
		if strings.HasPrefix(key, IDPrefix) && key != IDGateway && key != IDTunnel {
			return true
		}
	}
	return false
}
