// Package planfile turns the text of a plan (failover.hcl, a folder of *.hcl, or HCL's JSON syntax) into a
// provision.Plan, or into diagnostics that say where, what, why, and what to type instead: all of them at once.
//
// References such as server.collector stay names; nothing is ever evaluated to an unknown value, except that
// an offline load puts a placeholder where the environment is silent, and a rehearsal does in cloud blocks. It reads the plan, and the files that
// the plan names, and nothing else; it asks no cloud. It never shows the value of a secret: what env() and
// sensitive variables give, and literals of attributes such as password, appear in no diagnostic.
//
// It is the only importer of hcl.
package planfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"

	"github.com/dripstat/failover/provision"
)

// Options say what a plan may know beside its own text.
type Options struct {
	Vars map[string]string                // --var
	Env  func(name string) (string, bool) // nil: os.LookupEnv
	// Offline puts a placeholder where env() finds nothing, and where a variable has no value.
	Offline bool
	// Rehearsal does so in cloud blocks alone: the sandbox takes the place of a cloud, whatever its credentials.
	Rehearsal bool
}

// Placeholder stands, in a plan that was loaded offline, for a text that only the environment knows.
const Placeholder = "(unset)"

// Load reads a plan: a file, or a folder of *.hcl and *.hcl.json files. An error is Diagnostics, unless
// the path itself cannot be read.
func Load(path string, o Options) (provision.Plan, error) {
	files, dir, err := readAll(path)
	if err != nil {
		return provision.Plan{}, err
	}
	return Parse(files, dir, o)
}

// Parse makes a plan of files by name. Disk is touched only by file() and by template = PATH, both
// relative to dir.
func Parse(files map[string][]byte, dir string, o Options) (provision.Plan, error) {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	d := &decoder{o: o, dir: dir, files: files, read: map[string][]byte{}, labels: map[string][]string{}, opens: map[string]bool{}}
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	var bodies []hcl.Body
	for _, n := range names {
		var f *hcl.File
		var diags hcl.Diagnostics
		if !d.reasonable(n) {
			continue
		}
		if isJSON(n) {
			f, diags = json.Parse(files[n], n)
		} else {
			f, diags = hclsyntax.ParseConfig(files[n], n, hcl.InitialPos)
		}
		d.mask(n, f)
		d.addHCL(diags, "", false)
		if f != nil && f.Body != nil {
			bodies = append(bodies, f.Body)
		}
	}
	if len(d.diags) > 0 { // what follows a syntax error would be guesses
		return provision.Plan{}, d.finish()
	}
	p := d.plan(names, bodies)
	if len(d.diags) > 0 {
		return provision.Plan{}, d.finish()
	}
	p.Files, p.Dir, p.Digest = names, dir, d.digest(names)
	return p, nil
}

// reasonable refuses what no person writes and what would keep a parser busy: hcl descends with the text.
func (d *decoder) reasonable(name string) bool {
	const most, deepest = 1 << 20, 500
	src := d.files[name]
	at := hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
	if len(src) > most {
		d.errorf(at, "file() reads large texts from files of their own", "this file is larger than %d KiB", most>>10)
		return false
	}
	depth := 0
	for _, c := range src {
		switch c {
		case '{', '[', '(':
			if depth++; depth > deepest {
				d.errorf(at, "look for brackets that are not closed", "this file is nested more than %d deep", deepest)
				return false
			}
		case '}', ']', ')':
			depth = max(0, depth-1)
		}
	}
	return true
}

func isJSON(name string) bool { return strings.HasSuffix(name, ".json") }

// digest covers the plan's files and every file that they read, so that a changed setup script is noticed
// as a changed plan is.
func (d *decoder) digest(names []string) string {
	h := sha256.New()
	put := func(name string, b []byte) { _, _ = fmt.Fprintf(h, "%q %d\n%s\n", name, len(b), b) }
	for _, n := range names {
		put(filepath.Base(n), d.files[n])
	}
	read := make([]string, 0, len(d.read))
	for n := range d.read {
		read = append(read, n)
	}
	slices.Sort(read)
	for _, n := range read {
		put(n, d.read[n])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func readAll(path string) (map[string][]byte, string, error) {
	info, err := os.Stat(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, "", &provision.Error{What: fmt.Sprintf("there is no plan at %s", path), Hint: "failover init writes one; --plan FILE names another"}
		}
		return nil, "", &provision.Error{What: "the plan cannot be read", Err: err}
	}
	files := map[string][]byte{}
	if !info.IsDir() {
		b, err := readBounded(path)
		if err != nil {
			return nil, "", &provision.Error{What: "the plan cannot be read", Err: err}
		}
		files[path] = b
		return files, filepath.Dir(path), nil
	}
	list, err := os.ReadDir(path)
	if err != nil {
		return nil, "", &provision.Error{What: "the plan cannot be read", Err: err}
	}
	for _, e := range list {
		n := e.Name()
		if e.IsDir() || strings.HasPrefix(n, ".") || !strings.HasSuffix(n, ".hcl") && !strings.HasSuffix(n, ".hcl.json") {
			continue
		}
		b, err := readBounded(filepath.Join(path, n))
		if err != nil {
			return nil, "", &provision.Error{What: "the plan cannot be read", Err: err}
		}
		files[filepath.Join(path, n)] = b
	}
	if len(files) == 0 {
		return nil, "", &provision.Error{What: fmt.Sprintf("the folder %s holds no *.hcl file", path), Hint: "failover init writes one; --plan FILE names another"}
	}
	return files, path, nil
}

// maxFile bounds what is read: a plan that names a disk image by mistake should say so, not fill memory.
const maxFile = 4 << 20

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("is a folder")}
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("is not a regular file")}
	}
	if info.Size() > maxFile {
		return nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("is larger than %d MiB", maxFile>>20)}
	}
	return os.ReadFile(path)
}
