package openstack

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func testKey(seed byte) string {
	pub := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), 32))).Public()
	k, _ := ssh.NewPublicKey(pub)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func TestParseHostKeys(t *testing.T) {
	a, b := testKey('a'), testKey('b')
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
	for _, tt := range []struct {
		name, console string
		want          []string
	}{
		{"none", "booting\n", nil},
		{"plain", begin + "\n" + a + " root@host\n" + end + "\n", []string{a}},
		{"carriage returns", begin + "\r\n" + a + " root@host\r\n" + b + "\r\n" + end + "\r\n", []string{a, b}},
		{"prefix", "ci-info: " + begin + "\nci-info: " + a + " root@h\nci-info: " + end, []string{a}},
		{"timestamps", "[   20.1] cloud-init[500]: " + begin + "\n[   20.1] cloud-init[500]: " + a + " r\n[  20.2] x: " + end, []string{a}},
		{"kernel in between", begin + "\n[  21.5] audit: type=1400\n" + a + " r\n[ 21.6] IPv6: up\n" + end, []string{a}},
		{"torn line", begin + "\n" + a[:40] + "[ 21.5] audit\n" + b + "\n" + end, []string{b}},
		{"last block counts", begin + "\n" + a + "\n" + end + "\nreboot\n" + begin + "\n" + b + "\n" + end, []string{b}},
		{"incomplete after complete", begin + "\n" + a + "\n" + end + "\n" + begin + "\n" + b, []string{a}},
		{"not finished", begin + "\n" + a + "\n", nil},
		{"another type", begin + "\nssh-dss AAAAB3NzaC1kc3M= r\n" + end, nil},
		{"colours", begin + "\n\x1b[0m" + a + "\x1b[0m\n" + end, []string{a}},
	} {
		if got := ParseHostKeys(tt.console); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if got := lastLine("a\n\x1b[32m  OK  \x1b[0m started\r\n\r\n \x00\n"); got != "OK started" {
		t.Errorf("%q", got)
	}
}

func FuzzParseHostKeys(f *testing.F) {
	a := testKey('a')
	f.Add("-----BEGIN SSH HOST KEY KEYS-----\n" + a + "\n-----END SSH HOST KEY KEYS-----\n")
	f.Add("-----END SSH HOST KEY KEYS----------BEGIN SSH HOST KEY KEYS-----")
	f.Fuzz(func(t *testing.T, console string) {
		for _, k := range ParseHostKeys(console) {
			key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(k))
			if err != nil || len(rest) > 0 || strings.ContainsAny(k, "\n\r") || !slices.Contains(keyTypes(), key.Type()) {
				t.Errorf("%q %v", k, err)
			}
		}
		if s := lastLine(console); len([]rune(s)) > 80 || strings.ContainsAny(s, "\x1b\n\r\x00") {
			t.Errorf("%q", s)
		}
	})
}
