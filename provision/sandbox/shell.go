package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// words splits a command line as sh does: quotes and backslashes, no expansion.
func words(line string) ([]string, error) {
	var out []string
	var cur strings.Builder
	in := false
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("unterminated quoted string")
			}
			cur.WriteString(line[i+1 : i+1+end])
			i, in = i+1+end, true
		case ch == '"':
			in = true
			for i++; ; i++ {
				if i >= len(line) {
					return nil, errors.New("unterminated quoted string")
				}
				if line[i] == '"' {
					break
				}
				if line[i] == '\\' && i+1 < len(line) && strings.IndexByte("$`\"\\\n", line[i+1]) >= 0 {
					i++
				}
				cur.WriteByte(line[i])
			}
		case ch == '\\' && i+1 < len(line):
			i++
			cur.WriteByte(line[i])
			in = true
		case ch == ' ' || ch == '\t' || ch == '\n':
			if in {
				out = append(out, cur.String())
				cur.Reset()
				in = false
			}
		case strings.IndexByte("|&;<>()$`", ch) >= 0:
			return nil, fmt.Errorf("the sandbox has no shell: %q must be quoted", ch)
		default:
			cur.WriteByte(ch)
			in = true
		}
	}
	if in {
		out = append(out, cur.String())
	}
	return out, nil
}

// run carries out one command and returns its exit status.
func (m *machine) run(user, line string, stdin io.Reader, stdout, stderr io.Writer) int {
	fail := func(status int, format string, a ...any) int {
		fmt.Fprintf(stderr, format+"\n", a...)
		return status
	}
	w, err := words(line)
	if err != nil {
		return fail(2, "sh: 1: %s", err)
	}
	if len(w) > 2 && w[0] == "sudo" && w[1] == "-n" {
		user, w = "root", w[2:] // every login user may, as cloud images have it
	}
	is := func(n int, start ...string) bool { return len(w) == n && slices.Equal(w[:len(start)], start) }
	switch {
	case slices.ContainsFunc(m.c.opts.Commands, func(c []string) bool { return slices.Equal(c, w) }):
		return 0
	case is(1, "true"):
		return 0
	case is(2, "id", "-u"):
		id := 1000
		if user == "root" {
			id = 0
		}
		fmt.Fprintln(stdout, id)
		return 0
	case len(w) > 4 && slices.Equal(w[:3], []string{"sh", "-c", ReceiveScript}):
		return m.receive(user, w[4:], stdin, fail)
	case len(w) > 4 && slices.Equal(w[:3], []string{"sh", "-c", ReplaceKeyScript}):
		return m.replaceKeys(user, w[4:], fail)
	case len(w) == 5 && slices.Equal(w[:3], []string{"sh", "-c", RotateKeyScript}):
		return m.rotateKey(user, w[4], stdin, fail)
	case len(w) > 1 && (w[0] == "sha256sum" || w[0] == "cat"):
		for _, name := range w[1:] {
			m.mu.Lock()
			f := m.files[name]
			m.mu.Unlock()
			switch {
			case f == nil:
				return fail(1, "%s: %s: No such file or directory", w[0], name)
			case user != "root" && user != f.owner && f.mode&0o004 == 0:
				return fail(1, "%s: %s: Permission denied", w[0], name)
			case w[0] == "cat":
				stdout.Write(f.data)
			default:
				fmt.Fprintf(stdout, "%x  %s\n", sha256.Sum256(f.data), name)
			}
		}
		return 0
	case is(3, "test", "-e"):
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.files[w[2]] == nil {
			return 1
		}
		return 0
	case is(3, "systemctl"):
		return m.systemctl(user, w[1], w[2], stdout, fail)
	case len(w) > 0 && w[0] == "sh":
		return fail(127, "sandbox: sh knows no other script than the one that receives a file")
	case len(w) == 0:
		return 0
	}
	return fail(127, "sh: 1: %s: not found (the sandbox knows a few commands only)", w[0])
}

// systemctl knows ssh, haproxy and the units that user-data wrote. haproxy runs
// as soon as a certificate is there, and will not reload a broken one.
func (m *machine) systemctl(user, verb, unit string, stdout io.Writer, fail failFunc) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	short := strings.TrimSuffix(unit, ".service")
	known := m.units[unit] || m.units[short] || m.units[short+".service"]
	active := known && (short != "haproxy" || len(m.certs) > 0)
	switch {
	case verb == "is-active" && active:
		fmt.Fprintln(stdout, "active")
		return 0
	case verb == "is-active":
		fmt.Fprintln(stdout, "inactive")
		return 3
	case verb != "reload-or-restart":
		return fail(1, "Unknown command verb %s.", verb)
	case user != "root":
		return fail(1, "Failed to reload-or-restart %s: Interactive authentication required.", unit)
	case !known:
		return fail(5, "Failed to reload-or-restart %s: Unit %s.service not found.", unit, short)
	case short == "haproxy" && (m.badPEM != "" || len(m.certs) == 0):
		return fail(1, "Job for haproxy.service failed because the control process exited with error code.\nSee \"systemctl status haproxy.service\" and \"journalctl -xeu haproxy.service\" for details.")
	}
	return 0
}
