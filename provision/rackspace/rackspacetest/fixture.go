// Package rackspacetest holds what goes over the wire to Rackspace's clouds and back: one exchange after another, in the shape of the
// document or of the client's test that each names, with values of our own. It is for tests.
//
// Three things are held against it: what failover's packages send, and what they make of each answer (client_test.go); what the sandbox
// answers (sandbox_test.go); and every request of every run in the tests of cmd/internal/cli (Covers). Where sources contradict each
// other there is an answer for each side.
//
// It proves that both sides keep to the documents as they were read. It cannot prove that the documents are right: no live service was
// ever asked.
package rackspacetest

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

//go:embed *.json
var files embed.FS

// API is one service: a file.
type API struct {
	Name      string
	Service   string // what the sandbox calls it
	Endpoint  string // as the catalog names it; "{region}" is small
	Source    string // what paths of sources are relative to
	Exchanges []Exchange
	Faults    []Answer // that any request may be answered with
}

// Exchange is one request, and what it may be answered.
type Exchange struct {
	Name    string
	Note    string
	Source  []string // URLs of documents or code, or their paths below the API's source, or why there is none
	Unsent  string   // why failover never sends it
	Of      string   // what sources contradict each other in, where the request is one side of it
	Side    string
	Request Request
	Answers []Answer
}

// Request is one, with names in braces for what differs from request to request.
type Request struct {
	Method   string
	Path     string // below the endpoint
	Query    string
	Body     json.RawMessage
	Optional []string // parts of the body's shape that may be missing, and "?name" for a parameter
}

// Answer is one.
type Answer struct {
	Name   string
	Note   string
	Source []string
	Of     string // what sources contradict each other in, where this is one side of it
	Side   string
	Status int
	Header map[string]string
	Body   json.RawMessage // a JSON string is a text that is no JSON
	Play   Play
}

// Play is how the sandbox is brought to answer so.
type Play struct {
	On      string            // of a fault: the exchange that meets it
	As      []string          // in which sandboxes, by the names in sandbox_test.go; none: in all
	Faults  []string          // the sandbox's, while it is asked
	With    map[string]string // in the place of names in braces
	Query   string            // in the place of the request's
	Until   map[string]string // asked again until these parts of the answer are so
	Keep    map[string]string // parts of the answer that later requests name
	Never   string            // why the sandbox does not
	Lacking []string          // parts of the shape that the sandbox leaves out, since nobody reads them
}

// Load reads all, by name.
func Load() (map[string]*API, error) {
	out := map[string]*API{}
	names, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, f := range names {
		text, err := files.ReadFile(f.Name())
		if err != nil {
			return nil, err
		}
		dec := json.NewDecoder(strings.NewReader(string(text)))
		dec.DisallowUnknownFields()
		var a API
		if err := dec.Decode(&a); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		out[a.Name] = &a
	}
	return out, nil
}

// Shape gives what a JSON value is made of, without its values: "servers[].id string". A null is of any type, and is left out; so is
// what is in a list or an object that is empty.
func Shape(v any) []string {
	out := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				walk(strings.TrimPrefix(at+"."+k, "."), x)
			}
		case []any:
			for _, x := range v {
				walk(at+"[]", x)
			}
		case string:
			out[at+" string"] = true
		case bool:
			out[at+" truth"] = true
		case nil:
		default:
			out[at+" number"] = true
		}
	}
	walk("", v)
	return slices.Sorted(maps.Keys(out))
}

// Lacks gives what want has and have has not. A name in braces in a fixture stands for any.
func Lacks(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(w string) bool {
		return slices.ContainsFunc(have, func(h string) bool { return matches(w, h) || matches(h, w) })
	})
}

// matches compares a template with what it may stand for, part by part.
func matches(template, s string) bool {
	a, b := strings.FieldsFunc(template, divides), strings.FieldsFunc(s, divides)
	if len(a) != len(b) {
		return template == s
	}
	for i := range a {
		if a[i] != b[i] && !strings.HasPrefix(a[i], "{") {
			return false
		}
	}
	return true
}

func divides(r rune) bool { return r == '/' || r == '.' || r == ' ' }

// parse gives the value of a body; ok is false where it is no JSON.
func parse(body []byte) (v any, ok bool) {
	if len(body) == 0 {
		return nil, true
	}
	return v, json.Unmarshal(body, &v) == nil
}

// Base is the endpoint's path, which ends in the account where there is one.
func (a *API) Base() string {
	_, rest, _ := strings.Cut(a.Endpoint, "://")
	_, path, _ := strings.Cut(rest, "/")
	return "/" + path
}

// At reports whether a host is the endpoint's, in any region.
func (a *API) At(host string) bool {
	_, rest, _ := strings.Cut(a.Endpoint, "://")
	name, _, _ := strings.Cut(rest, "/")
	return matches(name, host)
}

// Exchange gives one by its name; nil where there is none.
func (a *API) Exchange(name string) *Exchange {
	for i := range a.Exchanges {
		if a.Exchanges[i].Name == name {
			return &a.Exchanges[i]
		}
	}
	return nil
}

// Find gives the exchanges of a request, whose path is below the endpoint. Where there is none, the error says what of the nearest one
// differs.
func (a *API) Find(method, path string, query url.Values, body []byte) ([]*Exchange, error) {
	var out []*Exchange
	why := fmt.Errorf("%s: no fixture has %s %s", a.Name, method, path)
	for i := range a.Exchanges {
		e := &a.Exchanges[i]
		if e.Unsent != "" || e.Request.Method != method || !matches(e.Request.Path, path) {
			continue
		}
		if err := e.Request.differs(query, body); err != nil {
			why = fmt.Errorf("%s: %s: %s %s %w", a.Name, e.Name, method, path, err)
			continue
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, why
	}
	return out, nil
}

func (r Request) differs(query url.Values, body []byte) error {
	want, err := url.ParseQuery(r.Query)
	if err != nil {
		return err
	}
	for k, v := range query {
		if len(want[k]) == 0 {
			return fmt.Errorf("has ?%s=%s, which no fixture has", k, v[0])
		}
		if w := want.Get(k); w != v[0] && !strings.HasPrefix(w, "{") {
			return fmt.Errorf("has ?%s=%s instead of %s", k, v[0], w)
		}
	}
	for k := range want {
		if len(query[k]) == 0 && !slices.Contains(r.Optional, "?"+k) {
			return fmt.Errorf("has no ?%s", k)
		}
	}
	sent, ok := parse(body)
	if !ok {
		return fmt.Errorf("has a body that is no JSON")
	}
	fixed, _ := parse(r.Body)
	has, may := Shape(sent), Shape(fixed)
	if more := Lacks(has, may); len(more) > 0 {
		return fmt.Errorf("sends what the fixture has not: %s", strings.Join(more, ", "))
	}
	less := slices.DeleteFunc(Lacks(may, has), func(s string) bool {
		return slices.ContainsFunc(r.Optional, func(o string) bool {
			return s == o || strings.HasPrefix(s, o+".") || strings.HasPrefix(s, o+" ") || strings.HasPrefix(s, o+"[]")
		})
	})
	if len(less) > 0 {
		return fmt.Errorf("does not send what the fixture has: %s", strings.Join(less, ", "))
	}
	return nil
}

// Covers says whether there is a fixture for a request, whose path is the whole one, and for the status of its answer; 0 is none. Where the
// body is not known, as that of a login, which no log has, any will do.
func (a *API) Covers(method, path string, query url.Values, body []byte, known bool, status int) error {
	below, err := a.Below(path)
	if err != nil {
		return err
	}
	var of []*Exchange
	if known {
		if of, err = a.Find(method, below, query, body); err != nil {
			return err
		}
	}
	for i := range a.Exchanges {
		// Bodies that differ are answered alike.
		if e := &a.Exchanges[i]; e.Unsent == "" && e.Request.Method == method && matches(e.Request.Path, below) {
			of = append(of, e)
		}
	}
	if len(of) == 0 {
		return fmt.Errorf("%s: no fixture has %s %s", a.Name, method, below)
	}
	if status == 0 {
		return nil
	}
	for _, e := range of {
		if slices.ContainsFunc(e.Answers, func(x Answer) bool { return x.Status == status }) {
			return nil
		}
	}
	if slices.ContainsFunc(a.Faults, func(x Answer) bool { return x.Status == status }) {
		return nil
	}
	return fmt.Errorf("%s: %s: no fixture has the answer %d", a.Name, of[0].Name, status)
}

// Below is a path without the endpoint's, which it must begin with.
func (a *API) Below(path string) (string, error) {
	base := strings.Split(strings.Trim(a.Base(), "/"), "/")
	have := strings.Split(strings.Trim(path, "/"), "/")
	if len(have) < len(base) || !matches(strings.Join(base, "/"), strings.Join(have[:len(base)], "/")) {
		return "", fmt.Errorf("%s: %s is not below %s", a.Name, path, a.Base())
	}
	return "/" + strings.Join(have[len(base):], "/"), nil
}
