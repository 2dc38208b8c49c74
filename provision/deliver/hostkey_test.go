package deliver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Both keys of a slot are the same whenever they are derived, and differ from each other, from slot to slot and from run to run.
func TestHostKeysAreDerived(t *testing.T) {
	c := certificate(t)
	seen := map[string]string{}
	for _, run := range []string{"run-1", "run-2"} {
		for _, slot := range []string{"web-1", "web-2"} {
			for _, which := range []string{firstKey, ownKey} {
				public, private, err := hostKey(which, run, slot, c)
				again, _, _ := hostKey(which, run, slot, c)
				if err != nil || public != again {
					t.Fatalf("%q, then %q, %v", public, again, err)
				}
				k, err := ssh.ParsePrivateKey(private.Bytes())
				if err != nil || strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey()))) != public {
					t.Errorf("the halves do not belong together: %v", err)
				}
				name := run + " " + slot + " " + which
				if other, twice := seen[public]; twice {
					t.Errorf("%s has the key of %s", name, other)
				}
				seen[public] = name
			}
		}
	}
}

// creator is a handler that keeps what it was given.
type creator struct{ in provision.Values }

func (c *creator) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	c.in = in
	return provision.Status{State: provision.Absent}, nil
}

func (c *creator) Do(_ context.Context, _ provision.Step, in provision.Values) error {
	c.in = in
	return nil
}

// The first host key is in what is sent, and not in what the run keeps; a server without a certificate is created as it is.
func TestFirstHostKey(t *testing.T) {
	var inner creator
	keeper := &Keeper{}
	h := FirstHostKey{Handler: &inner, Keeper: keeper, Merge: func(data []byte, private, public string) ([]byte, error) {
		return fmt.Appendf(data, "%s%s", private, public), nil
	}}
	in := provision.Values{"user_data": "#cloud-config\n", "run": "r", "slot": "web-1", "host_key": "edge"}
	if err := h.Do(t.Context(), provision.Step{}, in); err == nil || !strings.Contains(err.Error(), "certificate edge is not in memory") {
		t.Errorf("without a certificate: %v", err)
	}
	c := certificate(t)
	keeper.Keep("edge", secrets.Got{Tried: secrets.Tried{Certificate: c}})
	if err := h.Do(t.Context(), provision.Step{}, in); err != nil {
		t.Fatal(err)
	}
	public, _, err := hostKey(firstKey, "r", "web-1", c)
	if err != nil {
		t.Fatal(err)
	}
	if got := inner.in.Text("user_data"); !strings.Contains(got, "OPENSSH PRIVATE KEY") || !strings.Contains(got, public) || inner.in["host_key"] != nil {
		t.Errorf("sent %q", inner.in)
	}
	if in.Text("user_data") != "#cloud-config\n" {
		t.Error("what the run keeps was altered")
	}
	if _, err := h.Check(t.Context(), provision.Step{}, in); err != nil || inner.in["host_key"] != nil {
		t.Errorf("asked with %q, %v", inner.in, err)
	}
	delete(in, "host_key")
	if err := h.Do(t.Context(), provision.Step{}, in); err != nil || inner.in.Text("user_data") != "#cloud-config\n" {
		t.Errorf("%q, %v", inner.in, err)
	}
}

// The exchange, by a real shell and a real sshd: what is not the key that was meant changes nothing; after it a new connection is
// met with the new key and the session goes on.
func TestRotateKey(t *testing.T) {
	posix(t)
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("there is no ssh-keygen here")
	}
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			t.Skip("there is no sshd here")
		}
	}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := certificate(t)
	first, private, err := hostKey(firstKey, "r", "web-1", c)
	if err != nil {
		t.Fatal(err)
	}
	own, ownPrivate, err := hostKey(ownKey, "r", "web-1", c)
	if err != nil {
		t.Fatal(err)
	}
	login, err := NewLogin("r", c)
	if err != nil {
		t.Fatal(err)
	}
	write("ssh_host_ed25519_key", string(private.Bytes()), 0o600)
	if out, err := exec.CommandContext(t.Context(), keygen, "-l", "-f", filepath.Join(dir, "ssh_host_ed25519_key")).CombinedOutput(); err != nil {
		t.Fatalf("OpenSSH does not read the key: %s", out)
	}
	write("authorized_keys", login.PublicKey()+"\n", 0o600)
	pid := filepath.Join(dir, "pid")
	systemctl := write("systemctl", "#!/bin/sh\n[ \"$1 $2\" = \"reload-or-restart ssh\" ] && kill -HUP \"$(cat "+pid+")\"\n", 0o755)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	config := write("sshd_config", fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s/ssh_host_ed25519_key\nPidFile %s\nAuthorizedKeysFile %[2]s/authorized_keys\nStrictModes no\nUsePAM no\n", port, dir, pid), 0o600)
	var log bytes.Buffer
	server := exec.CommandContext(t.Context(), sshd, "-D", "-e", "-f", config)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Wait() }()
	t.Cleanup(func() { _ = server.Process.Kill() })
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	target := func(keys ...string) Target {
		return Target{Address: "127.0.0.1", Port: port, User: me.Username, HostKeys: keys, Rotated: true}
	}
	var client *ssh.Client
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if client, err = connect(t.Context(), target(first), login, nil, ssh.ClientConfig{}); err == nil {
			break
		}
		select {
		case <-done:
			t.Skipf("sshd does not start here: %s", strings.TrimSpace(log.String()))
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer client.Close()
	script := strings.NewReplacer("/etc/ssh", dir, "systemctl", systemctl).Replace(rotateKey)
	run := func(public string, input []byte) (string, error) {
		return shell{client: client}.run("sh -c "+quote(script)+" sh "+quote(public), bytes.NewReader(input))
	}
	before, _ := os.ReadDir(dir)
	for name, tt := range map[string]struct {
		public string
		input  []byte
	}{
		"another key": {own, private.Bytes()}, "half of it": {own, ownPrivate.Bytes()[:200]}, "nothing": {own, nil},
	} {
		if out, err := run(tt.public, tt.input); err == nil {
			t.Errorf("%s: it was taken: %s", name, out)
		} else if strings.Contains(out, "PRIVATE") {
			t.Errorf("%s: %s", name, out)
		}
		if after, _ := os.ReadDir(dir); len(after) != len(before) {
			t.Errorf("%s: something is left: %v", name, after)
		}
		if again, err := connect(t.Context(), target(first), login, nil, ssh.ClientConfig{}); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			_ = again.Close()
		}
	}
	if out, err := run(own, ownPrivate.Bytes()); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		again, err := connect(t.Context(), target(own), login, nil, ssh.ClientConfig{})
		if err == nil {
			_ = again.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the new key is not presented: %v\n%s", err, log.String())
		}
	}
	if out, err := run(own, ownPrivate.Bytes()); err != nil { // as after a crash in between
		t.Errorf("a second time, in the same session: %v: %s", err, out)
	}
	if s, err := os.Stat(filepath.Join(dir, "ssh_host_ed25519_key")); err != nil || s.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", s, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "ssh_host_ed25519_key.pub")); err != nil || strings.TrimSpace(string(text)) != own {
		t.Errorf("the public half is %q, %v", text, err)
	}
}
