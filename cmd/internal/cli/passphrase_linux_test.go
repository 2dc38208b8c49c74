package cli

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
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
