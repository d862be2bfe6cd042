package jsonrpc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve accepts one connection at a socket and hands it to peer, which plays a
// daemon that says what real ones say rarely.
func serve(t *testing.T, peer func(net.Conn)) string {
	dir, err := os.MkdirTemp("/tmp", "sluice-rpc-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		peer(conn)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return path
}

func read(conn net.Conn) string {
	buf := make([]byte, 4096)
	n, _ := conn.Read(buf)
	return strings.TrimSpace(string(buf[:n]))
}

func TestEchoIsAnsweredWhileWaiting(t *testing.T) {
	got := make(chan string, 2)
	path := serve(t, func(conn net.Conn) {
		got <- read(conn)
		io.WriteString(conn, `{"method":"update","params":[],"id":null}{"method":"echo","params":["a"],"id":"echo"}`)
		got <- read(conn)
		io.WriteString(conn, `{"id":0,"result":"done","error":null}`)
	})
	result, err := Call(t.Context(), path, "slow", []string{"x"})
	if err != nil || string(result) != `"done"` {
		t.Errorf("result %s, error %v", result, err)
	}
	for _, want := range []string{`{"method":"slow","params":["x"],"id":0}`, `{"result":["a"],"error":null,"id":"echo"}`} {
		if got := <-got; got != want {
			t.Errorf("daemon got %s, want %s", got, want)
		}
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the daemon ended")
	path := serve(t, func(conn net.Conn) {
		read(conn)
		cancel(cause)
		io.Copy(io.Discard, conn) // until the caller hangs up
	})
	if _, err := Call(ctx, path, "never", nil); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

func TestBadAnswers(t *testing.T) {
	for _, tc := range []struct{ name, answer, want string }{
		{"none", "", "read reply: connection closed by the daemon"},
		{"not JSON", "hello", "read reply: invalid character"},
		{"of another call", `{"id":7,"result":"","error":null}`, "reply has id 7, want 0"},
		{"refusal with text", `{"id":0,"result":null,"error":"no such thing"}`, "no such thing"},
		{"refusal with an object", `{"id":0,"result":null,"error":{"error":"not owner"}}`, `{"error":"not owner"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := serve(t, func(conn net.Conn) {
				read(conn)
				io.WriteString(conn, tc.answer)
			})
			_, err := Call(t.Context(), path, "m", nil)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			var refused *Error
			if errors.As(err, &refused) != strings.HasPrefix(tc.name, "refusal") {
				t.Errorf("error %T", err)
			}
		})
	}
}
