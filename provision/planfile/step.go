package planfile

import (
	"bytes"
	"encoding/base64"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/dripstat/failover/provision"
)

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

func (d *decoder) step(x *block) provision.Hook {
	h := provision.Hook{Name: x.label, Pos: pos(x.at), Timeout: x.time("timeout", 5*time.Minute, time.Second, time.Second, 24*time.Hour)}
	h.Run = d.run(x)
	for _, t := range x.refs("after", "server", "load_balancer", "dns", "certificate", "step") {
		h.After = append(h.After, t.String())
	}
	for _, t := range x.refs("before", "server", "load_balancer", "dns", "certificate", "step") {
		h.Before = append(h.Before, t.String())
	}
	return h
}

// run is a list of words, of which some stand for the addresses of a server block.
func (d *decoder) run(x *block) []provision.HookArg {
	a := x.attrs["run"]
	if a == nil {
		return nil
	}
	list, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		x.wrong("run", `run = ["./script", "word", server.NAME.addresses]`, "must be a list of words: no shell takes it apart")
		return nil
	}
	var out []provision.HookArg
	for _, e := range list {
		if t, ok := traversal(e); ok && isReference(e, t) {
			if ref, ok := d.refer(e, "run of "+x.what, "addresses", "server", "load_balancer"); ok {
				of := ref.name
				if ref.kind != "server" {
					of = ref.String()
				}
				out = append(out, provision.HookArg{AddressesOf: of})
			}
			continue
		}
		v, ok := d.eval(e, "run of "+x.what, false)
		if !ok {
			continue
		}
		s, ok := asText(unmarked(v))
		if !ok {
			d.errorf(e.Range(), "", "run of %s has a word that is not a text", x.what)
			continue
		}
		out = append(out, provision.HookArg{Text: s})
	}
	if len(list) == 0 || len(out) > 0 && out[0].Text == "" {
		x.wrong("run", "", "must begin with a command")
	}
	return out
}

// isReference tells server.web.addresses from a text: in JSON both are in quotes, and only "${...}" refers.
func isReference(e hcl.Expression, t hcl.Traversal) bool {
	if !contains(kinds(), t.RootName()) {
		return false
	}
	if !isJSON(e.Range().Filename) {
		return true
	}
	s, _ := literal(e)
	return strings.HasPrefix(strings.TrimSpace(s), "${")
}

// circles refuses an order that cannot be: what each block waits for, by the plan's own words and by
// nature (records wait for the servers that they will point to).
func (d *decoder) circles(p provision.Plan) {
	waits := map[string][]string{}
	at := map[string]provision.Pos{}
	for _, s := range p.Servers {
		if s.Certificate != "" {
			waits["server."+s.Name] = append(waits["server."+s.Name], "certificate."+s.Certificate)
		}
	}
	for _, b := range p.Balancers {
		for _, m := range b.Members {
			waits[b.Ref()] = append(waits[b.Ref()], "server."+m)
		}
		for _, c := range b.Terminate {
			waits[b.Ref()] = append(waits[b.Ref()], "certificate."+c)
		}
	}
	for _, z := range p.Zones {
		for _, r := range z.Records {
			for _, s := range r.To {
				waits["dns."+z.Name] = append(waits["dns."+z.Name], "server."+s)
			}
			for _, b := range r.Balancers {
				waits["dns."+z.Name] = append(waits["dns."+z.Name], "load_balancer."+b)
			}
		}
	}
	for _, h := range p.Hooks {
		n := "step." + h.Name
		at[n] = h.Pos
		waits[n] = append(waits[n], h.After...)
		for _, b := range h.Before {
			waits[b] = append(waits[b], n)
		}
		for _, a := range h.Run {
			if a.AddressesOf != "" {
				of := "server." + a.AddressesOf
				if strings.Contains(a.AddressesOf, ".") { // a block's own name has none
					of = a.AddressesOf
				}
				waits[n] = append(waits[n], of)
			}
		}
	}
	state := map[string]int{} // 1: on the way, 2: done
	var way []string
	var visit func(string) []string
	visit = func(n string) []string {
		switch state[n] {
		case 1:
			for i, w := range way {
				if w == n {
					return append(append([]string{}, way[i:]...), n)
				}
			}
		case 2:
			return nil
		}
		state[n] = 1
		way = append(way, n)
		for _, w := range waits[n] {
			if c := visit(w); c != nil {
				return c
			}
		}
		way = way[:len(way)-1]
		state[n] = 2
		return nil
	}
	for _, h := range p.Hooks {
		way = way[:0]
		if c := visit("step." + h.Name); c != nil {
			where := h.Pos
			for _, n := range c {
				if q, ok := at[n]; ok {
					where = q
					break
				}
			}
			d.errorf(d.rangeOf(where), "take out one after or before", "these wait for each other in a circle: %s", strings.Join(c, " after "))
			return
		}
	}
}

// rangeOf makes a range of a place of which only the beginning is known.
func (d *decoder) rangeOf(p provision.Pos) hcl.Range {
	src, from := d.files[p.File], 0
	for range p.Line - 1 {
		n := bytes.IndexByte(src[from:], '\n')
		if n < 0 {
			break
		}
		from += n + 1
	}
	line := src[from:]
	if n := bytes.IndexByte(line, '\n'); n >= 0 {
		line = line[:n]
	}
	text := bytes.TrimRight(line, " \t\r{")
	start := len(line) - len(bytes.TrimLeft(line, " \t"))
	return hcl.Range{
		Filename: p.File,
		Start:    hcl.Pos{Line: p.Line, Column: p.Column, Byte: from + min(start, len(text))},
		End:      hcl.Pos{Line: p.Line, Column: p.Column + len(text), Byte: from + len(text)},
	}
}
