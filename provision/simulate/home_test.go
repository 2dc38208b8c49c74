package simulate

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// isHome tells the addresses that served before the run.
func isHome(address string) bool { return strings.HasPrefix(address, "203.0.113.") }

// homeAnswers says whether home is well.
func (w *world) homeAnswers() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.well.IsZero() && !time.Now().Before(w.well)
}

// watchAway notes which records the name server still gives the run's own addresses for. It sees less than
// resolvers may have seen, never more.
func (w *world) watchAway() {
	for name, old := range w.old {
		s, there := w.box.Serves(name, "A")
		if there && !slices.Equal(slices.Sorted(slices.Values(s.Values)), slices.Sorted(slices.Values(old.Values))) {
			w.mu.Lock()
			w.away[name] = time.Now()
			w.mu.Unlock()
		}
	}
}

// dialHome is a connection to one of the old addresses, which serve HTTPS with the plan's own certificate.
func (w *world) dialHome() (net.Conn, error) {
	if !w.homeAnswers() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	cert, err := edge(original)
	if err != nil {
		return nil, err
	}
	pair, err := cert.TLS()
	if err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		c := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		in := bufio.NewReader(c)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
		_, _ = io.Copy(io.Discard, in) // a pipe's writer, of the farewell too, waits for a reader
	}()
	return here, nil
}
