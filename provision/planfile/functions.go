package planfile

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// sensitive marks what no diagnostic may show. cty carries it through every function and template.
type sensitive struct{}

// callError is what a function of ours has to say: never a value that may be secret.
type callError struct {
	what, hint string
	open       bool // it may be said of a secret, too
}

func (e *callError) Error() string { return e.what }

// functionError gives what a function of ours has said; nothing where none has.
func functionError(x *hcl.Diagnostic) callError {
	extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](x)
	if !ok {
		return callError{}
	}
	var e *callError
	if err := extra.FunctionCallError(); err != nil && errors.As(err, &e) {
		return *e
	}
	return callError{}
}

func functionNames() []string {
	return []string{"env", "file", "base64", "join", "split", "format", "lower", "upper", "trimspace", "concat", "coalesce", "jsonencode"}
}

func (d *decoder) functions() map[string]function.Function {
	return map[string]function.Function{
		"env":        d.envFunction(),
		"file":       d.fileFunction(),
		"base64":     base64Function(),
		"join":       stdlib.JoinFunc,
		"split":      stdlib.SplitFunc,
		"format":     stdlib.FormatFunc,
		"lower":      stdlib.LowerFunc,
		"upper":      stdlib.UpperFunc,
		"trimspace":  stdlib.TrimSpaceFunc,
		"concat":     stdlib.ConcatFunc,
		"coalesce":   coalesceFunction(),
		"jsonencode": stdlib.JSONEncodeFunc,
	}
}

// envFunction is env(name[, default]). Whatever it gives is sensitive: nobody knows what an environment holds.
func (d *decoder) envFunction() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String, AllowNull: true},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			if len(args) > 2 {
				return cty.NilVal, &callError{"env takes a name and at most one default", `env("NAME", "default")`, false}
			}
			if v, ok := d.o.Env(name); ok {
				d.withhold(v)
				return cty.StringVal(v).Mark(sensitive{}), nil
			}
			if len(args) == 2 {
				return args[1].Mark(sensitive{}), nil
			}
			if d.o.Offline || d.rehearsed {
				return cty.UnknownVal(cty.String).Mark(sensitive{}), nil
			}
			return cty.NilVal, &callError{
				fmt.Sprintf("the environment variable %s is not set", name),
				fmt.Sprintf(`export %s=..., or give a default: env("%s", "...")`, name, name),
				regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`).MatchString(name), // not a secret that somebody took for a name
			}
		},
	})
}

// fileFunction is file(path): its text. The path may be sensitive (made with env); then it is not shown.
func (d *decoder) fileFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String, AllowMarked: true}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			p, marks := args[0].Unmark()
			if !p.IsKnown() {
				return cty.UnknownVal(cty.String).WithMarks(marks), nil
			}
			b, err := d.readFile(p.AsString(), len(marks) > 0)
			if err != nil {
				return cty.NilVal, err
			}
			return cty.StringVal(string(b)).WithMarks(marks), nil
		},
	})
}

// readFile reads a file that the plan names, once.
func (d *decoder) readFile(name string, secret bool) ([]byte, error) {
	shown := name
	if secret {
		shown = hidden
	}
	at := name
	if !filepath.IsAbs(at) {
		at = filepath.Join(d.dir, at)
	}
	b, err := readBounded(at)
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &callError{fmt.Sprintf("there is no file %s", shown), "the path is meant from the folder of the plan", false}
	case errors.As(err, &pe):
		return nil, &callError{fmt.Sprintf("the file %s cannot be read: %v", shown, pe.Err), "", false}
	case err != nil:
		return nil, &callError{fmt.Sprintf("the file %s cannot be read", shown), "", false}
	case !utf8.Valid(b):
		return nil, &callError{fmt.Sprintf("the file %s is not text (UTF-8)", shown), "", false}
	}
	d.read[name] = b
	return b, nil
}

func base64Function() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(base64.StdEncoding.EncodeToString([]byte(args[0].AsString()))), nil
		},
	})
}

// coalesceFunction gives the first text that is neither null nor empty.
func coalesceFunction() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "texts", Type: cty.String, AllowNull: true},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			for _, a := range args {
				if !a.IsNull() && a.AsString() != "" {
					return a, nil
				}
			}
			return cty.NilVal, &callError{"coalesce finds no text that is not empty", "", false}
		},
	})
}

// unquoted says of an unknown word what was probably meant.
func unquoted(word string) string {
	return fmt.Sprintf("text needs quotes: %q", strings.TrimSpace(word))
}
