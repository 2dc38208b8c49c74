package openstack

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
)

// User-data that is large is sent packed, whole, and as small as preflight has reckoned; a small one stays readable.
func TestUserDataIsPackedAsItIsSent(t *testing.T) {
	for _, n := range []int{1, 2000} {
		text := "#cloud-config\n" + strings.Repeat("# a line ü of a setup script\n", n)
		var a serverArgs
		if err := (provision.Values{"user_data": text}).Decode(&a); err != nil {
			t.Fatal(err)
		}
		srv, _ := (&Cloud{}).body(a, mvTags)["server"].(map[string]any)
		sent, err := base64.StdEncoding.DecodeString(srv["user_data"].(string))
		if err != nil {
			t.Fatal(err)
		}
		reckoned, err := templates.Pack([]byte(text), 0)
		if err != nil || !bytes.Equal(sent, reckoned) {
			t.Errorf("%d bytes are sent, %d were reckoned with, %v", len(sent), len(reckoned), err)
		}
		if n > 1 {
			z, err := gzip.NewReader(bytes.NewReader(sent))
			if err != nil {
				t.Fatal(err)
			}
			if sent, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if string(sent) != text {
			t.Errorf("%d bytes arrive, %d were meant", len(sent), len(text))
		}
	}
}
