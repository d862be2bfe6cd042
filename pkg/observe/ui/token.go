package ui

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"
)

// Doors lead to the page for who has been told where: its path begins with a
// token, which ends with the process. A loopback port alone would be open to every
// user of the machine and to pods on its network. A cookie would go to every
// other port of the machine too; a path does not.
type Doors struct {
	token, ticket string
	used          atomic.Bool
	next          http.Handler
}

// Behind returns doors to a handler.
func Behind(next http.Handler) *Doors {
	return &Doors{token: rand.Text(), ticket: rand.Text(), next: next}
}

// Path is where the page is: "/TOKEN/ui/".
func (d *Doors) Path() string { return "/" + d.token + Prefix }

// Ticket is a path that leads to the page once. A command line, which others can
// read, may have it.
func (d *Doors) Ticket() string { return "/" + d.ticket }

// ServeHTTP implements http.Handler.
func (d *Doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case same(first, d.token) && (rest == "" || rest == "ui"):
		http.Redirect(w, r, d.Path(), http.StatusFound)
	case same(first, d.token):
		http.StripPrefix("/"+d.token, d.next).ServeHTTP(w, r)
	case same(first, d.ticket) && ofThisMachine(r.Host) && d.used.CompareAndSwap(false, true):
		http.Redirect(w, r, d.Path(), http.StatusFound)
	default:
		refuse(w, http.StatusNotFound, "the page is elsewhere: the address that sluice ui has printed is of one run")
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
