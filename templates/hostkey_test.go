package templates

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// parts takes user-data apart as cloud-init does.
func parts(t *testing.T, data []byte) []string {
	t.Helper()
	if isGzip(data) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.HasPrefix(data, []byte("Content-Type:")) {
		return []string{string(data)}
	}
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
}

// A host key is added to user-data of every kind, and the rest is kept, to the byte where it is a part of its own.
func TestHostKey(t *testing.T) {
	private := "-----BEGIN TEST KEY-----\nfirst\nsecond\n-----END TEST KEY-----\n"
	multi := "Content-Type: multipart/mixed; boundary=\"xx\"\nMIME-Version: 1.0\n\n--xx\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho one\n--xx--\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte("#cloud-config\npackages: [haproxy]\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data, keeps string
		parts       int
	}{
		"nothing":   {"", "", 1},
		"config":    {"#cloud-config\npackages: [haproxy]\n", "packages: [haproxy]\n", 1},
		"no end":    {"#cloud-config\npackages: [haproxy]", "packages: [haproxy]\n", 1},
		"braces":    {"#cloud-config\n{packages: [haproxy]}\n", "#cloud-config\n{packages: [haproxy]}\n", 2},
		"script":    {"#!/bin/sh\necho one\n", "#!/bin/sh\necho one\n", 2},
		"jinja":     {"## template: jinja\n#cloud-config\nhostname: {{ v1.name }}\n", "{{ v1.name }}", 2},
		"multipart": {multi, "#!/bin/sh\necho one", 2},
		"gzip":      {packed.String(), "packages: [haproxy]\n", 1},
		"large":     {"#cloud-config\nbootcmd: [" + strings.Repeat("echo, ", 3000) + "echo]\n", "bootcmd:", 1},
	} {
		out, err := HostKey([]byte(tt.data), private, "ssh-ed25519 AAAA failover", 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := parts(t, out)
		if len(got) != tt.parts || !strings.Contains(strings.Join(got, ""), tt.keeps) {
			t.Errorf("%s: %d parts\n%s", name, len(got), strings.Join(got, "\n=====\n"))
			continue
		}
		var doc struct {
			Keys map[string]string `yaml:"ssh_keys"`
		}
		if err := yaml.Unmarshal([]byte(got[len(got)-1]), &doc); err != nil || doc.Keys["ed25519_private"] != private || doc.Keys["ed25519_public"] != "ssh-ed25519 AAAA failover" {
			t.Errorf("%s: %v, %q", name, err, doc.Keys)
		}
	}
	for name, tt := range map[string]struct{ data, says string }{
		"own keys": {"#cloud-config\nssh_keys:\n  rsa_private: x\n", "host keys of its own"},
		"unknown":  {"hello", "no kind"},
		"no end":   {strings.TrimSuffix(multi, "--xx--\n"), "without an end"},
		"too much": {"#!/bin/sh\n#" + strings.Repeat("x", 100), "user-data is"},
	} {
		if _, err := HostKey([]byte(tt.data), private, "ssh-ed25519 AAAA", 120); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "second") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
