package cli

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A key with a passphrase of its own is asked for once at a terminal, for preflight and the run; without one it refuses before anything
// is touched.
func TestKeyWithAPassphrase(t *testing.T) {
	b := newBench(t, nil, sealedBlock, "  file {\n    chain = \"chain.pem\"\n    key   = \"key.pem\"\n  }\n")
	block, _ := pem.Decode(b.key)
	locked, err := x509.EncryptPEMBlock(rand.Reader, block.Type, block.Bytes, []byte("open sesame"), x509.PEMCipherAES256) //nolint:staticcheck // as people have it
	b.no(err)
	b.no(os.WriteFile(b.path("chain.pem"), b.chain, 0o600))
	b.no(os.WriteFile(b.path("key.pem"), pem.EncodeToMemory(locked), 0o600))
	b.must(exitRefused, "--region", "ORD", "--sandbox", "--yes")
	if s := flat(b.err.String()); !strings.Contains(s, "encrypted with a passphrase of its own, and there is no terminal") || b.cloud.Writes() != 0 {
		t.Errorf("%d writes\n%s", b.cloud.Writes(), s)
	}
	b.asked(exitDone, "Passphrase of the private key in secrets.sandbox: ", "open sesame", "--region", "ORD", "--sandbox", "--yes")
	if s := b.err.String(); strings.Count(s, "Passphrase of") != 1 || strings.Contains(s, "open sesame") {
		t.Errorf("asked, or shown:\n%s", s)
	}
	b.serves()
}

// ^C at the question for a passphrase ends the process as ^C does, and leaves a terminal that shows what is typed.
func TestInterruptedAtAPassphrase(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.terminal()
	tty := b.app.In
	b.no(os.WriteFile(b.path("chain.pem"), b.chain, 0o600))
	b.no(os.WriteFile(b.path("key.pem"), b.key, 0o600))
	exe, err := os.Executable()
	b.no(err)
	cmd := exec.Command(exe, "seal", "edge", "--cert", "chain.pem", "--key", "key.pem", "-p", "-o", "new.age")
	cmd.Dir, cmd.Env = b.dir, []string{"HOME=" + b.dir, "TERM=dumb", childSocket + "=none"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	b.no(cmd.Start())
	b.told("(?i)passphrase.*: ")
	if echoes(t, tty) {
		t.Error("the question is there, and what is typed is shown")
	}
	_, err = b.keyboard.Write([]byte{3})
	b.no(err)
	var died *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &died) {
		t.Fatalf("it ended with %v", err)
	}
	if w, is := died.Sys().(syscall.WaitStatus); !is || !w.Signaled() || w.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", died)
	}
	if !echoes(t, tty) {
		t.Error("the terminal shows no more what is typed")
	}
	if _, err := os.Stat(b.path("new.age")); err == nil {
		t.Error("something is sealed")
	}
}
