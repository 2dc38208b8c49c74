package openstack

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/dripstat/failover/provision"
	"golang.org/x/crypto/ssh"
)

const consoleLines = 1000

type consoleArgs struct {
	Cloud  string `json:"cloud"`
	Server string `json:"server"`
}

// checkConsole reads the console until cloud-init has printed the host keys there.
func (c *Cloud) checkConsole(ctx context.Context, a consoleArgs) (provision.Status, error) {
	text, early, err := c.console(ctx, a.Server)
	if err != nil || text == "" {
		return early, err
	}
	if keys := ParseHostKeys(text); len(keys) > 0 {
		out := make([]any, len(keys))
		for i, k := range keys {
			out[i] = k
		}
		return done(provision.Values{"host_keys": out})
	}
	return provision.Status{State: provision.Working, Seen: lastLine(text), Again: pace}, nil
}

// console reads the console, which is a POST that changes nothing. Where there is nothing to read yet, it gives a status to go on with.
func (c *Cloud) console(ctx context.Context, server string) (text string, early provision.Status, err error) {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return "", early, err
	}
	var got struct {
		Output string `json:"output"`
	}
	body := map[string]any{"os-getConsoleOutput": map[string]any{"length": consoleLines}}
	err = s.write(ctx, http.MethodPost, "read the console", s.url("servers/"+url.PathEscape(server)+"/action"), body, &got)
	if err != nil {
		e := provision.AsError("", err)
		// Right after ACTIVE the hypervisor may have no console yet (404, 409), and reading again does no harm.
		if e.Class != provision.Final || strings.Contains(e.What, "does not exist") || strings.Contains(e.What, "in conflict") {
			return "", provision.Status{State: provision.Working, Seen: bound(first(e.Said, e.What), 80), Again: max(pace, e.After)}, ctx.Err()
		}
		return "", early, err
	}
	return got.Output, provision.Status{State: provision.Working, Seen: lastLine(got.Output), Again: pace}, nil
}

// lastLine is the last line that says something, for people.
func lastLine(console string) string {
	lines := strings.Split(console, "\n")
	for i := len(lines) - 1; i >= 0 && i >= len(lines)-50; i-- {
		if s := strings.TrimSpace(printable(lines[i])); s != "" {
			return bound(s, 80)
		}
	}
	return "the console is empty"
}

var escapes = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])`) })

func printable(s string) string {
	s = escapes().ReplaceAllString(s, "")
	if i := strings.LastIndex(strings.TrimRight(s, "\r"), "\r"); i >= 0 { // what a terminal would show last
		s = s[i:]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// ParseHostKeys gives the SSH host keys of the last complete block that cloud-init printed, in the form
// "ssh-ed25519 AAAA…", without comment. Lines of the kernel in between and prefixes do not disturb it; a line
// that another one was written into does not parse and is left out.
func ParseHostKeys(console string) []string {
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
	for {
		stop := strings.LastIndex(console, end)
		if stop < 0 {
			return nil
		}
		from := strings.LastIndex(console[:stop], begin)
		if from < 0 {
			return nil
		}
		if keys := keysIn(console[from+len(begin) : stop]); len(keys) > 0 {
			return keys
		}
		console = console[:from]
	}
}

func keysIn(block string) []string {
	var out []string
	for _, line := range strings.FieldsFunc(block, func(r rune) bool { return r == '\n' || r == '\r' }) {
		words := strings.Fields(escapes().ReplaceAllString(line, ""))
		for i, w := range words {
			if !slices.Contains(keyTypes(), w) || i+1 >= len(words) {
				continue
			}
			key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w + " " + words[i+1]))
			if err != nil || key.Type() != w {
				break
			}
			if k := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))); !slices.Contains(out, k) {
				out = append(out, k)
			}
			break
		}
	}
	return out
}

// keyTypes are those that a server may be trusted by; ssh-dss is not.
func keyTypes() []string {
	return []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA}
}
