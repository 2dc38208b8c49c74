package deliver

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// posix skips where the script cannot run: it wants GNU mv.
func posix(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("no GNU coreutils")
	}
}

func files(t *testing.T, l provision.Layout, c *secrets.Certificate, password string) []File {
	t.Helper()
	var p secrets.Value
	if password != "" {
		p = secrets.NewValue([]byte(password))
	}
	out, err := Files(l, c, p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func named(fs []File) map[string]string {
	out := map[string]string{}
	for _, f := range fs {
		out[f.Name] = string(f.Content.Bytes())
	}
	return out
}

func TestFiles(t *testing.T) {
	c := certificate(t)
	chain := func(text string) (n int) {
		for b, rest := pem.Decode([]byte(text)); b != nil; b, rest = pem.Decode(rest) {
			n++
		}
		return n
	}
	bundle := named(files(t, "", c, ""))
	if _, err := tls.X509KeyPair([]byte(bundle[""]), []byte(bundle[""])); err != nil || len(bundle) != 1 {
		t.Error(err, len(bundle))
	}
	pems := named(files(t, provision.LayoutFiles, c, ""))
	if _, err := tls.X509KeyPair([]byte(pems["fullchain.pem"]), []byte(pems["privkey.pem"])); err != nil || len(pems) != 4 {
		t.Error(err, len(pems))
	}
	if pems["cert.pem"]+pems["chain.pem"] != pems["fullchain.pem"] || chain(pems["cert.pem"]) != 1 || chain(pems["fullchain.pem"]) != len(c.Chain) {
		t.Error("the parts are not the whole")
	}
	if strings.Contains(pems["fullchain.pem"], "PRIVATE") {
		t.Error("a key among the certificates")
	}
	for _, f := range files(t, provision.LayoutFiles, c, "") {
		f.Content.Wipe()
	}
	if c.Key().IsZero() {
		t.Error("wiping what was delivered wipes the certificate")
	}
	given := named(files(t, provision.LayoutPKCS12, c, "the plan's own"))
	made, again := named(files(t, provision.LayoutPKCS12, c, "")), named(files(t, provision.LayoutPKCS12, c, ""))
	if len(given) != 1 || len(made) != 2 || len(made["keystore.password"]) != 32 || made["keystore.password"] == again["keystore.password"] {
		t.Errorf("%d and %d files, passwords of %d", len(given), len(made), len(made["keystore.password"]))
	}
	for _, s := range []struct{ p12, password string }{{given["keystore.p12"], "the plan's own"}, {made["keystore.p12"], made["keystore.password"]}} {
		_, leaf, issuers, err := pkcs12.DecodeChain([]byte(s.p12), s.password)
		if err != nil || !leaf.Equal(c.Leaf) || len(issuers) != len(c.Chain)-1 {
			t.Error(err)
		}
	}
	if _, _, _, err := pkcs12.DecodeChain([]byte(made["keystore.p12"]), "changeit"); err == nil {
		t.Error("it opens with Java's default")
	}
	if _, err := Files("jks", c, secrets.Value{}); err == nil || provision.ClassOf(err) != provision.Final {
		t.Error(err)
	}
}

// The keystore opens in the Java of this machine, with the key under the alias that the docs name.
func TestKeystoreOpensInJava(t *testing.T) {
	if _, err := exec.LookPath("keytool"); err != nil {
		t.Skip("no Java on this machine")
	}
	dir := t.TempDir()
	for _, f := range files(t, provision.LayoutPKCS12, certificate(t), "") {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Content.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "keytool", "-list", "-v", "-storetype", "PKCS12", "-keystore", filepath.Join(dir, "keystore.p12"),
		"-storepass:file", filepath.Join(dir, "keystore.password")).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PrivateKeyEntry")) || !bytes.Contains(out, []byte("Alias name: 1\n")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// A folder is a link that is swapped: its files belong together at every moment, have their mode, and nothing is left.
func TestPushFolder(t *testing.T) {
	posix(t)
	l := login(t)
	s := listen(t, "debian", l.signers[0].PublicKey())
	s.command = realShell(t, "0", true)
	to := target(s, filepath.Join(t.TempDir(), "made", "edge"))
	to.Folder, to.Mode, to.Shared, to.Command = true, "0640", true, []string{"true", "it's done"}
	c := certificate(t)
	var before string
	for i, l2 := range []provision.Layout{provision.LayoutFiles, provision.LayoutPKCS12, provision.LayoutFiles} {
		want := files(t, l2, c, "")
		if err := Push(t.Context(), to, l, want, dialer(s), ssh.ClientConfig{}); err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadDir(to.Path)
		if err != nil || len(list) != len(want) {
			t.Fatalf("%v, %v", list, err)
		}
		for _, f := range want {
			got, err := os.ReadFile(filepath.Join(to.Path, f.Name))
			if err != nil || !bytes.Equal(got, f.Content.Bytes()) {
				t.Errorf("%s: %v", f.Name, err)
			}
			if st, err := os.Stat(filepath.Join(to.Path, f.Name)); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("%s: %v, %v", f.Name, st.Mode(), err)
			}
		}
		at, err := os.Readlink(to.Path)
		if err != nil || at == before {
			t.Errorf("round %d: the link leads to %q, before to %q, %v", i, at, before, err)
		}
		before = at
		if st, err := os.Stat(to.Path); err != nil || st.Mode().Perm() != 0o750 {
			t.Errorf("folder: %v, %v", st.Mode(), err)
		}
		if st, err := os.Stat(filepath.Dir(to.Path)); err != nil || st.Mode().Perm() != 0o711 {
			t.Errorf("the folder around it: %v, %v", st.Mode(), err)
		}
		if left, _ := os.ReadDir(filepath.Dir(to.Path)); len(left) != 2 { // the link and what it leads to
			t.Errorf("left beside it: %v", left)
		}
	}
	if last := s.ran[len(s.ran)-1]; last != `'true' 'it'\''s done'` {
		t.Errorf("the last command is %q", last)
	}
}

// Somebody's own folder is not replaced.
func TestFolderOfSomebodyElse(t *testing.T) {
	posix(t)
	l := login(t)
	s := listen(t, "debian", l.signers[0].PublicKey())
	s.command = realShell(t, "0", true)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []bool{false, true} {
		to := target(s, dir)
		to.Folder = folder
		err := Push(t.Context(), to, l, []File{{"a", secrets.NewValue([]byte("b"))}}, dialer(s), ssh.ClientConfig{})
		if err == nil || !strings.Contains(err.Error(), "is a folder that failover did not make") || provision.ClassOf(err) != provision.Final {
			t.Errorf("%v", err)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "mine")); string(b) != "x" {
			t.Error("it is gone")
		}
	}
}

// Wherever the stream ends, what was there stays, whole, and nothing is left beside it.
func TestNothingHalfWrittenIsUsed(t *testing.T) {
	posix(t)
	c := certificate(t)
	for _, l := range []provision.Layout{provision.LayoutBundle, provision.LayoutFiles} {
		dir := t.TempDir()
		to := Target{Path: filepath.Join(dir, "edge"), Folder: l.Folder(), Mode: "0600", Owner: fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())}
		apply := func(fs []File, cut int) (string, error) {
			command, parts := install(to, fs)
			var in []byte
			for _, p := range parts {
				b, _ := io.ReadAll(p)
				in = append(in, b...)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
			cmd.Stdin = bytes.NewReader(in[:min(len(in), cut)])
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		old, next := files(t, l, c, ""), files(t, l, certificate(t), "")
		if out, err := apply(old, 1<<20); err != nil {
			t.Fatal(err, out)
		}
		total := 0
		for _, f := range next {
			total += len(f.Content.Bytes())
		}
		for _, cut := range []int{0, 1, total / 3, total / 2, total - 1} {
			out, err := apply(next, cut)
			if err == nil || !strings.Contains(out, "what arrived is cut off or changed") {
				t.Errorf("%s, cut at %d of %d: %v %s", l, cut, total, err, out)
			}
			for _, f := range old {
				got, err := os.ReadFile(filepath.Join(to.Path, f.Name))
				if err != nil || !bytes.Equal(got, f.Content.Bytes()) {
					t.Errorf("%s, cut at %d: %s is not what it was: %v", l, cut, f.Name, err)
				}
			}
			left, _ := os.ReadDir(dir)
			if want := map[bool]int{false: 1, true: 2}[l.Folder()]; len(left) != want {
				t.Errorf("%s, cut at %d: %v is left", l, cut, left)
			}
		}
		// What a process that was killed has left is removed by the next one.
		stale := filepath.Join(dir, ".edge.failover-aaaaaa")
		if err := os.MkdirAll(stale, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := apply(next, 1<<20); err != nil {
			t.Error(err, out)
		}
		if left, _ := os.ReadDir(dir); slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == ".edge.failover-aaaaaa" }) {
			t.Errorf("%s: the leftover stays", l)
		}
	}
}
