package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/ssh"
)

// cloudConfig is what the sandbox understands of a #cloud-config: keys, users,
// files, host keys, and the boothook that fetches a certificate. Packages and commands are not carried out.
// https://docs.cloud-init.io/en/latest/reference/modules.html
type cloudConfig struct {
	keys     []string
	users    []configUser
	files    []configFile
	hostKeys []ssh.Signer
	pull     *pullPlan
}

type configUser struct {
	name string
	keys []string
}

type configFile struct {
	path, owner string
	data        []byte
	mode        os.FileMode
}

// parseUserData reads user-data as cloud-init would: gzip and MIME multipart are
// unwrapped, #cloud-config is read, anything else is left alone.
func parseUserData(data []byte) (cfg cloudConfig) {
	cfg.read(data, 0)
	return cfg
}

func (cfg *cloudConfig) read(data []byte, depth int) {
	if depth > 4 {
		return
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		data = gunzip(data)
	}
	if rest, ok := bytes.CutPrefix(data, []byte("## template: jinja\n")); ok {
		data = rest
	}
	if bytes.HasPrefix(data, []byte("#cloud-config")) {
		var doc map[string]any
		if yaml.Unmarshal(data, &doc) == nil {
			cfg.add(doc)
		}
		return
	}
	if bytes.HasPrefix(data, []byte("#cloud-boothook")) {
		if p := pullIn(data); p != nil {
			cfg.pull = p
		}
		return
	}
	msg, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return
	}
	kind, params, _ := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if !strings.HasPrefix(kind, "multipart/") {
		return
	}
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err != nil {
			return
		}
		body, _ := io.ReadAll(part)
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
			body, _ = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body)))
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/cloud-config") && !bytes.HasPrefix(body, []byte("#")) {
			body = append([]byte("#cloud-config\n"), body...)
		}
		cfg.read(body, depth+1)
	}
}

func gunzip(data []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	out, _ := io.ReadAll(io.LimitReader(z, 16<<20))
	return out
}

func (cfg *cloudConfig) add(doc map[string]any) {
	cfg.keys = append(cfg.keys, texts(doc["ssh_authorized_keys"])...)
	for _, v := range items(doc["users"]) {
		if u, ok := v.(map[string]any); ok {
			cfg.users = append(cfg.users, configUser{text(u["name"]), texts(u["ssh_authorized_keys"])})
		}
	}
	for _, v := range items(doc["write_files"]) {
		f, ok := v.(map[string]any)
		if !ok || text(f["path"]) == "" {
			continue
		}
		out := configFile{path: text(f["path"]), owner: text(f["owner"]), mode: 0o644, data: []byte(text(f["content"]))}
		enc := strings.ToLower(text(f["encoding"]))
		if strings.Contains(enc, "b64") || strings.Contains(enc, "base64") {
			out.data, _ = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(out.data)), ""))
		}
		if strings.Contains(enc, "gz") {
			out.data = gunzip(out.data)
		}
		// YAML reads an unquoted 0644 as a number, which cloud-init takes as octal too.
		switch p := f["permissions"].(type) {
		case string:
			if n, err := strconv.ParseUint(strings.TrimPrefix(p, "0o"), 8, 32); err == nil {
				out.mode = os.FileMode(n)
			}
		case int:
			out.mode = os.FileMode(p)
		}
		cfg.files = append(cfg.files, out)
	}
	if keys, ok := doc["ssh_keys"].(map[string]any); ok {
		for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
			if k, err := ssh.ParsePrivateKey([]byte(text(keys[kind+"_private"]))); err == nil {
				cfg.hostKeys = append(cfg.hostKeys, k)
			}
		}
	}
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func items(v any) []any {
	list, _ := v.([]any)
	return list
}

func texts(v any) (out []string) {
	for _, i := range items(v) {
		out = append(out, text(i))
	}
	return out
}
