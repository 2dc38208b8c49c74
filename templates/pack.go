package templates

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"

	"go.yaml.in/yaml/v4"
)

// MaxUserData is what nova takes: 65535 bytes of base64.
const MaxUserData = 49149

// gzipFrom is the size from which packing is worth that people can no longer read it in the console.
const gzipFrom = 8 << 10

// Pack checks user-data as cloud-init would read it, gzips it where that helps, and refuses what is
// larger than max, which counts bytes before base64; 0 means MaxUserData.
func Pack(data []byte, max int) ([]byte, error) {
	if max <= 0 {
		max = MaxUserData
	}
	if err := check(data, 0); err != nil {
		return nil, err
	}
	out := data
	if len(data) > gzipFrom && !isGzip(data) {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(data); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		if b.Len() < len(data) {
			out = b.Bytes()
		}
	}
	if len(out) > max {
		how := ""
		if len(out) != len(data) {
			how = fmt.Sprintf(" (%d before gzip)", len(data))
		}
		return nil, fmt.Errorf("user-data is %d bytes%s; the cloud takes %d: fetch large files from the setup script instead", len(out), how, max)
	}
	return out, nil
}

func isGzip(b []byte) bool { return len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b }

// check says whether cloud-init would understand data. It ignores what it does not know, in silence: a
// server would boot, and wait for nothing.
func check(data []byte, depth int) error {
	if depth > 4 {
		return errors.New("user-data is nested too deeply")
	}
	if isGzip(data) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("user-data looks like gzip and is not: %w", err)
		}
		plain, err := io.ReadAll(io.LimitReader(z, 16<<20))
		if err != nil {
			return fmt.Errorf("user-data looks like gzip and is not: %w", err)
		}
		return check(plain, depth+1)
	}
	head := strings.ToLower(string(data[:min(len(data), 200)]))
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("user-data is empty")
	case strings.HasPrefix(head, "#cloud-config-archive"):
		var list []any
		return yamlError(yaml.Unmarshal(data, &list))
	case strings.HasPrefix(head, "#cloud-config"):
		return checkCloudConfig(data)
	case strings.HasPrefix(head, "#!"), strings.HasPrefix(head, "#include"), strings.HasPrefix(head, "#part-handler"),
		strings.HasPrefix(head, "#cloud-boothook"), strings.HasPrefix(head, "## template: jinja"), strings.HasPrefix(head, "#upstart-job"):
		return nil
	case strings.HasPrefix(head, "content-type:"), strings.HasPrefix(head, "mime-version:"), strings.HasPrefix(head, "from "):
		return checkMIME(data, depth)
	}
	return errors.New("user-data is of no kind that cloud-init knows: its first line must be #cloud-config, a #! line, or a MIME header")
}

func checkCloudConfig(data []byte) error {
	var m map[string]any
	return yamlError(yaml.Unmarshal(data, &m))
}

// yamlError keeps the line and drops the values, which the library quotes and which may be anything.
func yamlError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if i := strings.IndexAny(text, "`"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	return fmt.Errorf("user-data is not valid YAML: %s", strings.TrimPrefix(text, "yaml: "))
}

func checkMIME(data []byte, depth int) error {
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("user-data is not valid MIME: %w", err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("user-data is not valid MIME: %w", err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		return fmt.Errorf("user-data is MIME of type %s; multipart/mixed is expected", kind)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for n := 1; ; n++ {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			if n == 1 {
				return errors.New("user-data is MIME without any part")
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("user-data is not valid MIME, part %d: %w", n, err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return fmt.Errorf("user-data is not valid MIME, part %d: %w", n, err)
		}
		if p.Header.Get("Content-Transfer-Encoding") == "base64" {
			continue
		}
		if kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); kind == "text/cloud-config" {
			err = checkCloudConfig(b)
		} else if kind == "" || kind == "text/plain" {
			err = check(b, depth+1)
		}
		if err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
	}
}
