package templates

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// boundary parts user-data of two kinds. It is the same each time, and occurs in no text by chance.
const boundary = "==failover-user-data-7d0c1f5a=="

// HostKey gives user-data that lets a server's sshd present one ed25519 key from its first start: private is its PEM, public
// its line of authorized_keys. What data does otherwise stays as it is; empty data will do. It refuses user-data that brings
// host keys of its own, and what is larger than max bytes then, as Pack does. Its errors hold nothing of the key.
// https://docs.cloud-init.io/en/latest/reference/modules.html#ssh
func HostKey(data []byte, private, public string, max int) ([]byte, error) {
	if isGzip(data) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err == nil {
			data, err = io.ReadAll(io.LimitReader(z, 16<<20))
		}
		if err != nil {
			return nil, fmt.Errorf("user-data looks like gzip and is not: %w", err)
		}
	}
	if regexp.MustCompile(`(?m)^ssh_keys:`).Match(data) {
		return nil, errors.New("user-data brings SSH host keys of its own (ssh_keys): take them out, the run makes one")
	}
	keys := "ssh_keys:\n  ed25519_private: |\n"
	for line := range strings.Lines(strings.TrimSpace(private) + "\n") {
		keys += "    " + line
	}
	keys += "  ed25519_public: " + strings.TrimSpace(public) + "\n"
	out, err := join(data, keys)
	if err != nil {
		return nil, err
	}
	if _, err := Pack(out, max); err != nil {
		return nil, err
	}
	return out, nil // as text: it is packed as it is sent
}

// join adds lines of cloud-config to user-data of any kind. cloud-init merges the parts of a multipart message by their keys.
func join(data []byte, config string) ([]byte, error) {
	head := strings.ToLower(string(data[:min(len(data), 200)]))
	part := "Content-Type: text/cloud-config; charset=\"utf-8\"\nMIME-Version: 1.0\n\n#cloud-config\n" + config
	kind := ""
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return []byte("#cloud-config\n" + config), nil
	case strings.HasPrefix(head, "#cloud-config-archive"):
		kind = "text/cloud-config-archive"
	case strings.HasPrefix(head, "#cloud-config"):
		// A line at the end keeps it one text, which people can read. A document in braces cannot take it.
		out := []byte(strings.TrimRight(string(data), "\n") + "\n" + config)
		var m map[string]any
		if yaml.Unmarshal(out, &m) == nil && m["ssh_keys"] != nil {
			return out, nil
		}
		kind = "text/cloud-config"
	case strings.HasPrefix(head, "content-type:"), strings.HasPrefix(head, "mime-version:"), strings.HasPrefix(head, "from "):
		return beside(data, part)
	case strings.HasPrefix(head, "#!"):
		kind = "text/x-shellscript"
	case strings.HasPrefix(head, "#include"):
		kind = "text/x-include-url"
	case strings.HasPrefix(head, "#cloud-boothook"):
		kind = "text/cloud-boothook"
	case strings.HasPrefix(head, "#part-handler"):
		kind = "text/part-handler"
	case strings.HasPrefix(head, "## template: jinja"):
		kind = "text/jinja2"
	default:
		return nil, errors.New("user-data is of no kind that an SSH host key can be added to")
	}
	return fmt.Appendf(nil, "Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n--%s\nContent-Type: %s; charset=\"utf-8\"\nMIME-Version: 1.0\n\n%s\n--%[2]s\n%[5]s\n--%[2]s--\n",
		boundary, boundary, kind, data, part), nil
}

// beside adds a part to a multipart message, before the mark of its end.
func beside(data []byte, part string) ([]byte, error) {
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("user-data is not valid MIME: %w", err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	mark := "--" + params["boundary"]
	at := bytes.LastIndex(data, []byte("\n"+mark+"--"))
	if err != nil || params["boundary"] == "" || at < 0 {
		return nil, errors.New("user-data is MIME without an end")
	}
	return fmt.Appendf(nil, "%s\n%s\n%s%s", data[:at], mark, part, data[at:]), nil
}
