package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Fill puts a path where a text of the plan says {path}.
func Fill(text, path string) string { return strings.ReplaceAll(text, "{path}", path) }

// Pick takes one text out of a JSON document. field names it from the outside in, with dots: a name of an object's
// member, a number for an element of a list (from 0), or name=text for the first element whose member name is that
// text. \. is a dot of a name itself, and {path} is path, as one name whatever dots it has. A list of texts is given
// joined. doc is read, not kept; the caller wipes it.
// Errors name the field and the names beside it, and hold no value.
func Pick(doc []byte, field, path string) (Value, error) {
	if !json.Valid(doc) {
		return Value{}, errors.New("it is not JSON")
	}
	at, been := json.RawMessage(bytes.TrimSpace(doc)), ""
	for _, name := range segments(field) {
		name = Fill(name, path)
		next, has := step(at, name)
		if next == nil {
			where := "there is no field " + strconv.Quote(name)
			if been != "" {
				where += " in " + strconv.Quote(been)
			}
			return Value{}, &FieldError{Field: field, what: where + has}
		}
		been = strings.TrimPrefix(been+"."+name, ".")
		at = next
	}
	out, ok := text(at)
	if !ok {
		return Value{}, &FieldError{Field: field, what: fmt.Sprintf("the field %q is not a text", been)}
	}
	return NewValue(out), nil
}

// FieldError says that a document does not have what the plan says.
type FieldError struct {
	Field string
	what  string
}

// Error names the field and what is there instead.
func (e *FieldError) Error() string { return e.what }

// segments takes a field apart at its dots.
func segments(field string) []string {
	var out []string
	var one strings.Builder
	for i := 0; i < len(field); i++ {
		switch {
		case field[i] == '\\' && i+1 < len(field) && field[i+1] == '.':
			one.WriteByte('.')
			i++
		case field[i] == '.':
			out = append(out, one.String())
			one.Reset()
		default:
			one.WriteByte(field[i])
		}
	}
	return append(out, one.String())
}

// step goes one name deeper; nil, and what there is instead.
func step(at json.RawMessage, name string) (next json.RawMessage, has string) {
	switch {
	case len(at) > 0 && at[0] == '{':
		var m map[string]json.RawMessage
		if json.Unmarshal(at, &m) != nil {
			return nil, ""
		}
		if v, ok := m[name]; ok && string(v) != "null" {
			return v, ""
		}
		var names []string
		for k := range m {
			if len(k) > 40 { // a secret in the place of a name
				k = "…"
			}
			names = append(names, k)
		}
		slices.Sort(names)
		if len(names) > 12 {
			names = append(names[:12], "…")
		}
		if len(names) == 0 {
			return nil, "; it is empty"
		}
		return nil, "; it has " + strings.Join(names, ", ")
	case len(at) > 0 && at[0] == '[':
		var list []json.RawMessage
		if json.Unmarshal(at, &list) != nil {
			return nil, ""
		}
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(list) {
			return list[i], ""
		}
		if k, want, ok := strings.Cut(name, "="); ok {
			for _, e := range list {
				var m map[string]json.RawMessage
				var s string
				if json.Unmarshal(e, &m) == nil && json.Unmarshal(m[k], &s) == nil && s == want {
					return e, ""
				}
			}
		}
		return nil, fmt.Sprintf("; it is a list of %d", len(list))
	}
	return nil, "; it is neither an object nor a list"
}

// unquoted receives the bytes of a JSON text without a string in between, which could not be wiped.
type unquoted []byte

// UnmarshalText takes a copy.
func (u *unquoted) UnmarshalText(b []byte) error {
	*u = bytes.Clone(b)
	return nil
}

// text gives the bytes of a JSON text, or of a list of them, one a line.
func text(raw json.RawMessage) ([]byte, bool) {
	if len(raw) > 0 && raw[0] == '"' {
		var u unquoted
		err := json.Unmarshal(raw, &u)
		return u, err == nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil, false
	}
	out := make([]byte, 0, len(raw)) // no text is longer than its JSON: growing would leave copies behind
	for _, e := range list {
		if len(e) == 0 || e[0] != '"' {
			return nil, false
		}
		one, ok := text(e)
		if !ok {
			return nil, false
		}
		out = append(append(out, one...), '\n')
		clear(one)
	}
	return out, true
}

// Read makes a certificate of texts as tools keep them: PEM, PEM with \n in the place of line breaks, or base64 of
// either. key may be zero where the chain's text holds it too. It wipes both. Its errors are those of ParseCertificate.
func Read(chain, key Value) (*Certificate, error) {
	defer key.Wipe()
	defer chain.Wipe()
	c, k := unfold(chain.Bytes()), unfold(key.Bytes())
	defer clear(c)
	defer clear(k)
	return ParseCertificate(c, k)
}

// Join puts texts behind each other, each on a line of its own, and wipes them.
func Join(vs ...Value) Value {
	n := 0
	for _, v := range vs {
		n += len(v.Bytes()) + 1
	}
	out := make([]byte, 0, n)
	for _, v := range vs {
		u := unfold(v.Bytes()) // base64 of several cannot be told apart once they are joined; it never grows by this
		out = append(append(out, u...), '\n')
		clear(u)
		v.Wipe()
	}
	return NewValue(out)
}

// Fields makes a certificate of a JSON document: of the texts at chain ("chain" where none is given) and key ("key").
func Fields(doc Value, path string, chain []string, key string) (*Certificate, error) {
	if len(chain) == 0 {
		chain = []string{"chain"}
	}
	if key == "" {
		key = "key"
	}
	var parts []Value
	wipe := func() {
		for _, v := range parts {
			v.Wipe()
		}
	}
	for _, f := range append(append([]string{}, chain...), key) {
		v, err := Pick(doc.Bytes(), f, path)
		if err != nil {
			wipe()
			var fe *FieldError
			hint := ""
			if errors.As(err, &fe) {
				hint = "say in the plan where they are: chain_field and key_field"
			}
			return nil, &Error{Err: err, Hint: hint}
		}
		parts = append(parts, v)
	}
	last := len(parts) - 1
	return Read(Join(parts[:last]...), parts[last])
}

var begin = []byte("-----BEGIN ")

// unfold gives a copy that is PEM, where the text can be read as it.
func unfold(b []byte) []byte {
	if !bytes.Contains(b, begin) {
		flat := make([]byte, 0, len(b))
		for _, c := range b {
			if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				flat = append(flat, c)
			}
		}
		defer clear(flat)
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			plain := make([]byte, enc.DecodedLen(len(flat)))
			if n, err := enc.Decode(plain, flat); err == nil && bytes.Contains(plain[:n], begin) {
				defer clear(plain)
				return unfold(plain[:n])
			}
			clear(plain)
		}
		return bytes.Clone(b)
	}
	if !bytes.Contains(b, []byte(`\n`)) {
		return bytes.Clone(b)
	}
	return bytes.ReplaceAll(b, []byte(`\n`), []byte("\n"))
}
