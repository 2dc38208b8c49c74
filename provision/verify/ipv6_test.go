package verify

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// An AAAA record's address is proven as it is, by the network's own dialer.
func TestAnswersOverIPv6(t *testing.T) {
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 on loopback: ", err)
	}
	s := serveOn(t, ln, time.Hour, []string{name}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r := s.request()
	r.Address, r.Dial = "::1", nil
	r.URL = fmt.Sprintf("https://%s:%d/health", name, ln.Addr().(*net.TCPAddr).Port)
	if err := Answers(t.Context(), r); err != nil {
		t.Error(err)
	}
}
