package age

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"

	"github.com/dripstat/failover/secrets"
)

func pair(t *testing.T, name string) (chain, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

func identity(t *testing.T) (*age.X25519Identity, string) {
	t.Helper()
	v, public, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ids, err := Identities(v)
	if err != nil {
		t.Fatal(err)
	}
	return ids[0].(*age.X25519Identity), public
}

func seal(t *testing.T, path, name string, rs []age.Recipient, ids ...age.Identity) []byte {
	t.Helper()
	chain, key := pair(t, name+".test")
	if err := Add(path, name, chain, key, rs, ids); err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAddAndGet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	one, onePub := identity(t)
	two, twoPub := identity(t)
	rs, err := Recipients([]string{onePub, " " + twoPub}, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := seal(t, path, "edge", rs)
	former := seal(t, path, "api", nil, two) // no recipients: those that the file remembers
	replaced := seal(t, path, "api", nil, one)
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	for _, id := range []age.Identity{one, two} {
		b, err := OpenFile(path, id)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"edge", "api.former", "api"}, b.Names()); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{onePub, twoPub}, b.Recipients()); d != "" {
			t.Error(d)
		}
		for n, want := range map[string][]byte{"edge": key, "api": replaced, "api.former": former} {
			c, err := b.Get(n)
			if err != nil || !bytes.Equal(c.Key().Bytes(), want) {
				t.Errorf("%s came out changed: %v", n, err)
			}
		}
		if _, err := b.Get("nope"); err == nil || !strings.Contains(err.Error(), "it holds edge, api.former, api") {
			t.Error(err)
		}
		b.Wipe()
	}
	list, err := List(path, one)
	if err != nil || len(list) != 3 || list[0].Name != "edge" || list[0].Subject != "CN=edge.test" || !slices.Equal(list[0].Names, []string{"edge.test"}) || len(list[0].Fingerprint) != 64 {
		t.Errorf("%+v %v", list, err)
	}
	if err := Remove(path, "edge", []age.Identity{one}); err != nil {
		t.Fatal(err)
	}
	if list, err := List(path, two); err != nil || len(list) != 2 || list[0].Name != "api.former" {
		t.Errorf("%+v %v", list, err)
	}
	// A third one: the first is gone. The same once more, as renewals that keep their key are: what was former stays.
	third := seal(t, path, "api", nil, one)
	b, err := OpenFile(path, one)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Get("api")
	if err != nil {
		t.Fatal(err)
	}
	if err := Add(path, "api", again.ChainPEM(), again.Key().Bytes(), nil, []age.Identity{one}); err != nil {
		t.Fatal(err)
	}
	if b, err = OpenFile(path, one); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[string][]byte{"api": third, "api.former": replaced} {
		if c, err := b.Get(n); err != nil || !bytes.Equal(c.Key().Bytes(), want) {
			t.Errorf("%s is another one: %v", n, err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestAddRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	id, pub := identity(t)
	rs, _ := Recipients([]string{pub}, nil)
	chain, key := pair(t, "a.test")
	otherChain, _ := pair(t, "b.test")
	p, err := NewPassphrase(secrets.NewValue([]byte("horse")), 4)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name       string
		chain, key []byte
		rs         []age.Recipient
		want       string
	}{
		{"a b", chain, key, rs, "not a good name"},
		{"", chain, key, rs, "not a good name"},
		{"a", otherChain, key, rs, "does not belong"},
		{"a", nil, key, rs, "no CERTIFICATE"},
		{"a", chain, nil, rs, "no PRIVATE KEY"},
		{"a", chain, key, nil, "nobody is named"},
		{"a", chain, key, append([]age.Recipient{p}, rs...), "cannot be mixed"},
	}
	for _, c := range cases {
		if err := Add(path, c.name, c.chain, c.key, c.rs, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a refused certificate made a file")
	}
	seal(t, path, "a", rs)
	before, _ := os.ReadFile(path)
	if err := Add(path, "b", chain, key, rs, nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("added without reading the others: %v", err)
	}
	stranger, _ := identity(t)
	if err := Add(path, "b", chain, key, rs, []age.Identity{stranger}); !Wrong(err) {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a refused certificate changed the file")
	}
	_ = id
}

func TestOpenErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	id, pub := identity(t)
	rs, _ := Recipients([]string{pub}, nil)
	seal(t, path, "a", rs)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(s string) []byte {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, rs...)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, s)
		_ = w.Close()
		return b.Bytes()
	}
	_, key := pair(t, "x")
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":       {nil, "is empty"},
		"text":        {[]byte("hello"), "not an age file"},
		"a key":       {key, "private key in the open"},
		"cut":         {good[:len(good)-10], "damaged or cut off"},
		"cut header":  {good[:40], "damaged or cut off"},
		"changed":     {changed, "damaged or cut off"},
		"not ours":    {sealed("hello"), "not made by failover seal"},
		"newer":       {sealed(`{"version":2}`), "a newer failover made it"},
		"cut armored": {[]byte(armorBegin + "\nYWdlLWVuY3J5"), "damaged or cut off"},
	} {
		if _, err := Open(bytes.NewReader(c.data), id); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	for n := range len(good) { // no cut is ever taken for the whole
		if _, err := Open(bytes.NewReader(good[:n]), id); err == nil {
			t.Fatalf("%d of %d bytes opened", n, len(good))
		}
	}
	if _, err := Open(bytes.NewReader(good)); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	for _, way := range []string{"identity = PATH", "FAILOVER_AGE_IDENTITY", "terminal"} {
		if !strings.Contains(ErrNoIdentity.Error(), way) {
			t.Errorf("the error without an identity does not name %s", way)
		}
	}
	if _, err := OpenFile(filepath.Join(t.TempDir(), "none.age"), id); err == nil || !strings.Contains(err.Error(), "failover seal NAME") || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestArmorStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	id, pub := identity(t)
	rs, _ := Recipients([]string{pub}, nil)
	seal(t, path, "a", rs)
	raw, _ := os.ReadFile(path)
	var b bytes.Buffer
	w := armor.NewWriter(&b)
	_, _ = w.Write(raw)
	_ = w.Close()
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	seal(t, path, "b", nil, id)
	raw, _ = os.ReadFile(path)
	if !bytes.HasPrefix(raw, []byte(armorBegin)) {
		t.Error("the armor is gone")
	}
	if l, err := List(path, id); err != nil || len(l) != 2 {
		t.Errorf("%v %v", l, err)
	}
}

func TestPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	p, err := NewPassphrase(secrets.NewValue([]byte("correct horse")), 4)
	if err != nil {
		t.Fatal(err)
	}
	seal(t, path, "a", []age.Recipient{p})
	seal(t, path, "b", nil, p)
	asked := 0
	s := &Store{File: path, Env: none, Ask: func(_ context.Context, q string) (secrets.Value, error) {
		asked++
		if !strings.Contains(q, "Passphrase") {
			t.Errorf("asked %q", q)
		}
		return secrets.NewValue([]byte("correct horse")), nil
	}}
	for _, n := range []string{"a", "b"} {
		if _, err := s.Certificate(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	wrong, _ := NewPassphrase(secrets.NewValue([]byte("battery")), 4)
	if _, err := OpenFile(path, wrong); !Wrong(err) || !strings.Contains(err.Error(), "this is not the one") || strings.Contains(err.Error(), "battery") {
		t.Error(err)
	}
	if _, err := (&Store{File: path, Env: none}).Certificate(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "no terminal to ask") {
		t.Error(err)
	}
	if _, err := NewPassphrase(secrets.NewValue(nil), 0); err == nil {
		t.Error("an empty passphrase was taken")
	}
}

func none(string) (string, bool) { return "", false }

func TestStoreFindsIdentity(t *testing.T) {
	dir := t.TempDir()
	id, pub := identity(t)
	rs, _ := Recipients([]string{pub}, nil)
	seal(t, filepath.Join(dir, "secrets.age"), "edge", rs)
	file := filepath.Join(dir, "identity.txt")
	if err := os.WriteFile(file, []byte("# mine\r\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked, err := NewPassphrase(secrets.NewValue([]byte("pw")), 4)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, locked)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, id.String())
	_ = w.Close()
	if err := os.WriteFile(filepath.Join(dir, "locked.age"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(v string) func(string) (string, bool) {
		return func(n string) (string, bool) { return v, n == EnvIdentity }
	}
	ask := func(v string) func(context.Context, string) (secrets.Value, error) {
		return func(context.Context, string) (secrets.Value, error) { return secrets.NewValue([]byte(v)), nil }
	}
	stranger, _ := identity(t)
	canary := "AGE-SECRET-KEY-1CANARYCANARYCANARY"
	cases := map[string]struct {
		s    *Store
		want string
	}{
		"plan":             {&Store{Identity: "identity.txt"}, ""},
		"env path":         {&Store{Env: env(file)}, ""},
		"env key":          {&Store{Env: env(id.String())}, ""},
		"asked key":        {&Store{Ask: ask(id.String())}, ""},
		"asked path":       {&Store{Ask: ask(file)}, ""},
		"locked":           {&Store{Identity: "locked.age", Ask: ask("pw")}, ""},
		"locked wrong":     {&Store{Identity: "locked.age", Ask: ask("no")}, "not the one"},
		"nobody":           {&Store{}, "no identity to open it with"},
		"no answer":        {&Store{Ask: ask("")}, "no identity to open it with"},
		"plan missing":     {&Store{Identity: "none.txt"}, "none.txt cannot be read"},
		"env missing":      {&Store{Env: env("/none/such")}, "FAILOVER_AGE_IDENTITY: the identity file cannot be read"},
		"env bad key":      {&Store{Env: env(canary)}, "begins with AGE-SECRET-KEY-1"},
		"env text":         {&Store{Env: env("x\ny")}, "neither a path nor"},
		"stranger":         {&Store{Env: env(stranger.String())}, "sealed for other identities"},
		"a recipient":      {&Store{Identity: "pub.txt"}, "that is a recipient"},
		"not in the store": {&Store{Identity: "identity.txt", File: "none.age"}, "there is no sealed file"},
	}
	if err := os.WriteFile(filepath.Join(dir, "pub.txt"), []byte(pub), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.s.Dir = dir
			if c.s.File == "" {
				c.s.File = "secrets.age"
			}
			if c.s.Env == nil {
				c.s.Env = none
			}
			got, err := c.s.Certificate(t.Context(), "edge")
			if c.want == "" {
				if err != nil || got.Leaf.Subject.CommonName != "edge.test" {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want %q", err, c.want)
			}
			for _, k := range []string{"CANARY", id.String(), stranger.String()} {
				if strings.Contains(err.Error(), k) {
					t.Error("a key is in the error")
				}
			}
		})
	}
}

func TestRecipients(t *testing.T) {
	id, pub := identity(t)
	file := filepath.Join(t.TempDir(), "r.txt")
	if err := os.WriteFile(file, []byte("# team\n\n"+pub+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Recipients(nil, []string{file}); err != nil || len(r) != 1 {
		t.Errorf("%v %v", r, err)
	}
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Recipients([]string{pq.Recipient().String()}, nil); err != nil || len(r) != 1 {
		t.Errorf("%v %v", r, err)
	}
	for in, want := range map[string]string{
		id.String():        "which is secret",
		"ssh-ed25519 AAAA": "ssh keys are not taken",
		pub[:len(pub)-1]:   "a letter is wrong or missing",
		"hello":            "begins with age1",
		"age1pq1nonsense":  "is not a recipient",
	} {
		_, err := Recipients([]string{in}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), id.String()) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
