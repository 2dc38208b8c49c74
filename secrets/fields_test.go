package secrets

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestPick(t *testing.T) {
	doc := `{"edge": {"chain": "A\nB", "key": "K\u00e9\"", "n": 3, "none": null, "list": ["x", "y"], "odd": ["x", 1]},
		"tls/a.b": {"chain": "C"}, "data": {"tls.crt": "D"}, "fields": [{"name": "cert", "value": "E"}, {"name": "key", "value": "F"}, 7], "` + strings.Repeat("s", 60) + `": 1}`
	for name, c := range map[string]struct{ field, path, want, err string }{
		"nested":              {"edge.chain", "", "A\nB", ""},
		"escapes":             {"edge.key", "", "Ké\"", ""},
		"a path":              {"{path}.chain", "edge", "A\nB", ""},
		"a path with dots":    {"{path}.chain", "tls/a.b", "C", ""},
		"a name with a dot":   {`data.tls\.crt`, "", "D", ""},
		"by number":           {"fields.1.value", "", "F", ""},
		"by a member":         {"fields.name=cert.value", "", "E", ""},
		"a list":              {"edge.list", "", "x\ny\n", ""},
		"absent":              {"edge.certificate", "", "", `there is no field "certificate" in "edge"; it has chain, key, list, n, none, odd`},
		"absent at the top":   {"edgy", "", "", `it has data, edge, fields, tls/a.b, …`},
		"null":                {"edge.none", "", "", `no field "none"`},
		"a number":            {"edge.n", "", "", "is not a text"},
		"a list of all sorts": {"edge.odd", "", "", "is not a text"},
		"an object":           {"edge", "", "", "is not a text"},
		"beyond a list":       {"fields.3", "", "", "it is a list of 3"},
		"no such member":      {"fields.name=x.value", "", "", `no field "name=x" in "fields"`},
		"into a text":         {"edge.chain.x", "", "", "neither an object nor a list"},
	} {
		v, err := Pick([]byte(doc), c.field, c.path)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "sss") {
				t.Errorf("%s: %v, want %q", name, err, c.err)
			}
			continue
		}
		if err != nil || string(v.Bytes()) != c.want {
			t.Errorf("%s: %v %q", name, err, v.Bytes())
		}
	}
	if _, err := Pick([]byte("-----BEGIN"), "a", ""); err == nil || strings.Contains(err.Error(), "BEGIN") {
		t.Error(err)
	}
}

func TestRead(t *testing.T) {
	m := issue(t, "www.example.com", nil, leaf("www.example.com"), nil)
	chain, key := string(m.pem()), string(m.keyPEM(t))
	b64 := base64.StdEncoding.EncodeToString
	lines := func(s string) string { return s[:40] + "\n " + s[40:] + "\n" }
	flat := func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
	for name, in := range map[string][2]string{
		"PEM":           {chain, key},
		"together":      {chain + key, ""},
		"base64":        {b64([]byte(chain)), lines(b64([]byte(key)))},
		"one line":      {flat(chain), flat(key)},
		"base64 of one": {b64([]byte(flat(chain + key))), ""},
		"raw base64":    {strings.TrimRight(b64([]byte(chain)), "="), base64.RawURLEncoding.EncodeToString([]byte(key))},
	} {
		k := NewValue([]byte(in[1]))
		c, err := Read(NewValue([]byte(in[0])), k)
		if err != nil || c.Leaf.DNSNames[0] != "www.example.com" {
			t.Errorf("%s: %v", name, err)
		}
		if !k.IsZero() {
			t.Errorf("%s: the text is not wiped", name)
		}
	}
	two := Join(NewValue([]byte(b64([]byte(chain)))), NewValue([]byte(b64([]byte(key)))))
	if _, err := Read(two, Value{}); err != nil {
		t.Errorf("joined: %v", err)
	}
	if _, err := Read(NewValue([]byte("hunter2hunter2")), Value{}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
