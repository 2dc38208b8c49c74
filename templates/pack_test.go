package templates

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"io"
	"strings"
	"testing"
)

func TestPack(t *testing.T) {
	mimeOf := func(kind, body string) string {
		return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"x\"\n\n--x\nContent-Type: " + kind + "\n\n" + body + "\n--x--\n"
	}
	cases := []struct{ name, data, want string }{
		{"cloud-config", "#cloud-config\npackages: [jq]\n", ""},
		{"script", "#!/bin/sh\n", ""},
		{"include", "#include\nhttps://example.com/x\n", ""},
		{"boothook", "#cloud-boothook\nx\n", ""},
		{"archive", "#cloud-config-archive\n- type: text/cloud-config\n", ""},
		{"mime", mimeOf("text/cloud-config", "#cloud-config\na: 1"), ""},
		{"mime script", mimeOf("text/x-shellscript", "#!/bin/sh"), ""},
		{"empty", " \n", "is empty"},
		{"tab", "#cloud-config\na:\n\t- x\n", "not valid YAML"},
		{"a list", "#cloud-config\n- a\n", "not valid YAML"},
		{"twice", "#cloud-config\na: 1\na: 2\n", "not valid YAML"},
		{"no header", "packages: [jq]\n", "of no kind that cloud-init knows"},
		{"mime bad part", mimeOf("text/cloud-config", "a: ["), "part 1: user-data is not valid YAML"},
		{"mime no part", "Content-Type: multipart/mixed; boundary=x\n\n--x--\n", "without any part"},
		{"mime cut", "Content-Type: multipart/mixed; boundary=x\n\n--x\n", "without any part"},
		{"mime plain", "Content-Type: text/plain\n\nx\n", "multipart/mixed is expected"},
	}
	for _, c := range cases {
		got, err := Pack([]byte(c.data), 0)
		if c.want == "" && (err != nil || string(got) != c.data) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", c.name, err, c.want)
		}
	}
}

func TestPackGzips(t *testing.T) {
	long := []byte("#!/bin/sh\n" + strings.Repeat("echo hello\n", 20000))
	got, err := Pack(long, 0)
	if err != nil || !isGzip(got) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	z, err := gzip.NewReader(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(back, long) {
		t.Error("it does not come out as it went in")
	}
	if again, err := Pack(got, 0); err != nil || !bytes.Equal(again, got) {
		t.Error("what is packed is not left as it is")
	}
	if again, _ := Pack(long, 0); !bytes.Equal(again, got) {
		t.Error("packing twice gives two results")
	}
	noise := make([]byte, 60000)
	_, _ = rand.Read(noise)
	_, err = Pack([]byte("#!/bin/sh\n#"+hex.EncodeToString(noise)), 0)
	if err == nil || !strings.Contains(err.Error(), "120011 before gzip") || !strings.Contains(err.Error(), "the cloud takes 49149") {
		t.Error(err)
	}
	if _, err := Pack([]byte("#!/bin/sh\n"), 5); err == nil || !strings.Contains(err.Error(), "10 bytes; the cloud takes 5") {
		t.Error(err)
	}
}

func TestYAMLErrorsHoldNoValues(t *testing.T) {
	_, err := Pack([]byte("#cloud-config\ncanary-canary\n"), 0)
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}
