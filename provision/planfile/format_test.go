package planfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	regions, servers := Names("testdata/full/failover.hcl")
	if strings.Join(regions, " ") != "ORD LON IAD" || strings.Join(servers, " ") != "collector plain" {
		t.Errorf("%v %v", regions, servers)
	}
	regions, _ = Names("testdata/json/failover.hcl.json")
	if strings.Join(regions, " ") != "ORD LON IAD" {
		t.Errorf("%v", regions)
	}
	for _, bad := range []string{"testdata/none", "testdata/syntax.hcl", "testdata"} {
		Names(bad)
	}
}

func TestFormat(t *testing.T) {
	got, err := Format("a.hcl", []byte("a=1\nbb   = 2\nc {\nd=\"x\"\n}\n"))
	if err != nil || string(got) != "a  = 1\nbb = 2\nc {\n  d = \"x\"\n}\n" {
		t.Errorf("%q %v", got, err)
	}
	list, _ := filepath.Glob("testdata/*.hcl")
	for _, f := range append(list, "testdata/full/failover.hcl") {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		one, err := Format(f, src)
		if err != nil {
			continue
		}
		two, err := Format(f, one)
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s changes when it is laid out twice: %v", f, err)
		}
	}
	if _, err := Format("a.hcl", []byte("password = \"canary\nx")); err == nil || strings.Contains(shown(err, false, 80), "canary") {
		t.Error(err)
	}
}
