package deliver

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/crypto/ssh"
)

// A server with an IPv6 address alone is dialed as it is, without a dialer of the test's.
func TestPushOverIPv6(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no sh")
	}
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6 on loopback: ", err)
	}
	l := login(t)
	s := listenOn(t, ln, "debian", l.signers[0].PublicKey())
	s.command = realShell(t, "0", true)
	to := target(s, filepath.Join(t.TempDir(), "edge.pem"))
	to.Address, to.Port = "::1", ln.Addr().(*net.TCPAddr).Port
	if err := Push(t.Context(), to, l, one("over six"), nil, ssh.ClientConfig{}); err != nil {
		t.Fatal(err)
	}
}
