package secrets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const canary = "canary-7f3a"

func TestValueShowsNothing(t *testing.T) {
	v := NewValue([]byte(canary))
	type holder struct {
		V Value
		P *Value
		M map[string]Value
		L []Value
	}
	h := holder{V: v, P: &v, M: map[string]Value{"k": v}, L: []Value{v}}
	forms := []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("%d", []byte(canary)), fmt.Sprintf("%v", []byte(canary)), "Y2FuYXJ5LTdmM2E"}
	check := func(how, out string) {
		t.Helper()
		for _, f := range forms {
			if strings.Contains(out, f) {
				t.Errorf("%s shows %q", how, out)
			}
		}
	}
	for verb := 'A'; verb <= 'z'; verb++ {
		for _, flag := range []string{"", "+", "#", " ", "-", "0", "20", ".3", "+#20.10"} {
			f := "%" + flag + string(verb)
			for _, x := range []any{v, &v, h, &h, []any{v}, fmt.Errorf("wrapped: %v", v)} {
				if _, isPointer := x.(*Value); isPointer && verb == 'p' {
					continue // an address
				}
				check(f, fmt.Sprintf(f, x))
			}
		}
	}
	check("Sprint", fmt.Sprint(v, h)+fmt.Sprintln(v))
	for _, x := range []any{v, &v, h, map[string]any{"v": v}} {
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		check("json", string(b))
	}
	if b, err := v.MarshalText(); err != nil || string(b) != Placeholder {
		t.Errorf("%s %v", b, err)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		l := slog.New(handler)
		l.Info("m", "v", v, "p", &v, "h", h, slog.Group("g", "v", v))
		l.With("v", v).WithGroup("x").Info("m", slog.Any("l", []Value{v}))
	}
	check("slog", log.String())
	if !strings.Contains(log.String(), Placeholder) {
		t.Error("slog does not say that something was there")
	}
	if v.String() != Placeholder || v.GoString() != Placeholder {
		t.Error("no placeholder")
	}
}

func TestValueWipe(t *testing.T) {
	b := []byte(canary)
	v := NewValue(b)
	same := v
	if string(same.Bytes()) != canary || same.IsZero() {
		t.Fatal("it is not there")
	}
	v.Wipe()
	if same.Bytes() != nil || !same.IsZero() || bytes.Contains(b, []byte("can")) {
		t.Error("a copy still has it")
	}
	v.Wipe()
	var zero Value
	zero.Wipe()
	if zero.Bytes() != nil || !zero.IsZero() || zero.String() != Placeholder {
		t.Error("the zero value holds something")
	}
	if (Ref{"vault", "tls/x"}).String() != "vault:tls/x" {
		t.Error("a Ref does not read as it should")
	}
}
