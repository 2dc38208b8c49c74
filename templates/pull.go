package templates

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Pull is what a server needs to know to fetch its certificate out of a response wrapping of Vault's. It holds no secret: the token is put
// in the place of PullToken right before a server is asked for.
type Pull struct {
	Certificate string         `json:"certificate"` // name in the plan
	Fingerprint string         `json:"fingerprint"` // SHA-256 of the leaf, hex
	Token       string         `json:"token"`
	Addresses   []string       `json:"addresses"` // https URLs as the server sees them, tried in turn
	CA          string         `json:"ca"`        // PEM; empty: the image's roots
	Namespace   string         `json:"namespace"`
	Paths       map[string]int `json:"paths"` // that the wrapping may have been made at, each with the version of its KV engine
	At          string         `json:"at"`    // what {path} stands for in fields
	Chain       []string       `json:"chain"` // fields
	Key         string         `json:"key"`
	Seconds     int            `json:"ttl"`
	Layout      string         `json:"layout"` // bundle or files
	Path        string         `json:"path"`
	Owner       string         `json:"owner"`  // user:group
	Mode        string         `json:"mode"`   // octal, of each file
	Folder      string         `json:"folder"` // octal, of the folder of a layout
	Shared      bool           `json:"shared"` // folders that are missing let others pass through
	Reload      []string       `json:"reload"` // a command
}

// What stands in user-data until it is known.
const (
	// PullToken is where the wrapping token goes, once it is made.
	PullToken = "FAILOVER-WRAPPING-TOKEN" //nolint:gosec // the place of one
	// PullFingerprint is where the SHA-256 of the certificate goes, once it is read.
	PullFingerprint = "FAILOVER-FINGERPRINT"
)

// PullRoom is how many bytes longer than PullToken a token of Vault's may be, once it is packed. They are about 100 characters long.
const PullRoom = 512

const pullBoundary = "==failover-part=="

// WithPull adds the script that fetches a certificate to user-data of any kind but MIME.
func WithPull(data []byte, p Pull) ([]byte, error) {
	head := strings.ToLower(string(data[:min(len(data), 200)]))
	if strings.HasPrefix(head, "content-type:") || strings.HasPrefix(head, "mime-version:") || strings.HasPrefix(head, "from ") {
		return nil, errors.New("user-data that is MIME already cannot be joined with the script that fetches the certificate: make it #cloud-config or a script")
	}
	p.Token, p.Fingerprint, p.CA = PullToken, PullFingerprint, onlyPEM(p.CA)
	plan, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	script, err := files.ReadFile("files/pull.sh")
	if err != nil {
		return nil, err
	}
	script = bytes.Replace(script, []byte("@FAILOVER_PLAN@"), []byte(ascii(string(plan))), 1)
	var out bytes.Buffer
	_, _ = fmt.Fprintf(&out, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n", pullBoundary)
	part := func(kind, encoding string, b []byte) {
		_, _ = fmt.Fprintf(&out, "\n--%s\nContent-Type: %s; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: %s\n\n%s", pullBoundary, kind, encoding, b)
	}
	if isASCII(data) && !bytes.Contains(data, []byte(pullBoundary)) {
		part("text/plain", "7bit", data) // cloud-init tells by the first line what it is
	} else {
		part("text/plain", "base64", []byte(base64.StdEncoding.EncodeToString(data)))
	}
	part("text/cloud-boothook", "7bit", script)
	_, _ = fmt.Fprintf(&out, "\n--%s--\n", pullBoundary)
	return out.Bytes(), nil
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c > 0x7e {
			return false
		}
	}
	return true
}

// ascii writes JSON so that it can stand between quotes of Python and in a MIME part of 7 bits.
func ascii(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '\'':
			out.WriteString(`\u0027`)
		case r > 0xffff:
			a, b := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(&out, `\u%04x\u%04x`, a, b)
		case r > 0x7e:
			_, _ = fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// onlyPEM leaves out what stands between certificates.
func onlyPEM(text string) string {
	var out bytes.Buffer
	for b, rest := pem.Decode([]byte(text)); b != nil; b, rest = pem.Decode(rest) {
		if b.Type == "CERTIFICATE" {
			_ = pem.Encode(&out, &pem.Block{Type: b.Type, Bytes: b.Bytes})
		}
	}
	return out.String()
}
