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

// typed starts a command in a process whose terminal is the bench's, waits for a question, and presses ^C at it. It has to end as ^C ends
// processes, and leave a terminal that shows what is typed.
func (b *bench) typed(question string, env []string, args ...string) {
	t := b.t
	t.Helper()
	b.terminal()
	tty := b.app.In
	exe, err := os.Executable()
	b.no(err)
	cmd := exec.Command(exe, args...)
	cmd.Dir, cmd.Env = b.dir, append([]string{"HOME=" + b.dir, "TERM=dumb", childSocket + "=none"}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	b.no(cmd.Start())
	b.told(question)
	if hides := strings.Contains(question, "assphrase"); echoes(t, tty) == hides {
		t.Errorf("%s: what is typed is shown: %v", question, hides)
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
}

// ^C at the question for a passphrase ends the process as ^C does.
func TestInterruptedAtAPassphrase(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.no(os.WriteFile(b.path("chain.pem"), b.chain, 0o600))
	b.no(os.WriteFile(b.path("key.pem"), b.key, 0o600))
	b.typed("(?i)passphrase.*: ", nil, "seal", "edge", "--cert", "chain.pem", "--key", "key.pem", "-p", "-o", "new.age")
	if _, err := os.Stat(b.path("new.age")); err == nil {
		t.Error("something is sealed")
	}
}

// A sandbox is gone with all that was in it, also where ^C comes before a run hears it.
func TestInterruptedSandboxLeavesNothing(t *testing.T) {
	for name, question := range map[string]string{"consent": `Start now\? `, "passphrase": "Passphrase of the private key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil, sealedBlock, "  file {\n    chain = \"chain.pem\"\n    key   = \"key.pem\"\n  }\n")
			b.no(os.WriteFile(b.path("chain.pem"), b.chain, 0o600))
			b.no(os.WriteFile(b.path("key.pem"), b.key, 0o600))
			if name == "passphrase" {
				block, _ := pem.Decode(b.key)
				locked, err := x509.EncryptPEMBlock(rand.Reader, block.Type, block.Bytes, []byte("open sesame"), x509.PEMCipherAES256) //nolint:staticcheck // as people have it
				b.no(err)
				b.no(os.WriteFile(b.path("key.pem"), pem.EncodeToMemory(locked), 0o600))
			}
			b.no(os.Mkdir(b.path("tmp"), 0o700))
			b.typed(question, []string{"TMPDIR=" + b.path("tmp")}, "--region", "ORD", "--sandbox", "--plan", "failover.hcl")
			if left, _ := os.ReadDir(b.path("tmp")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}
