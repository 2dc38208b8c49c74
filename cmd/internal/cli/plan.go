package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
)

// planPath finds the plan: what was named, else failover.hcl, else a folder's *.hcl.
func planPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	for _, p := range []string{"failover.hcl", "failover.hcl.json"} {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	if m, _ := filepath.Glob("*.hcl"); len(m) > 0 {
		return ".", nil
	}
	return "", usage("failover init writes one; --plan FILE names one; --sandbox brings its own", "there is no failover.hcl here")
}

// variables reads --var k=v.
func variables(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, kv := range list {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usage("--var NAME=VALUE", "--var %s has no value", kv)
		}
		out[k] = v
	}
	return out, nil
}

// load reads the plan of these flags.
func (a *App) load(s shared, offline bool) (provision.Plan, error) {
	return a.read(s, planfile.Options{Offline: offline})
}

// rehearse is load for the sandbox, which needs no cloud's credentials.
func (a *App) rehearse(s shared) (provision.Plan, error) {
	return a.read(s, planfile.Options{Rehearsal: true})
}

func (a *App) read(s shared, o planfile.Options) (provision.Plan, error) {
	path, err := planPath(s.plan)
	if err != nil {
		return provision.Plan{}, err
	}
	if o.Vars, err = variables(s.vars); err != nil {
		return provision.Plan{}, err
	}
	o.Env = a.LookEnv
	plan, err := planfile.Load(path, o)
	if diags := (planfile.Diagnostics)(nil); err != nil && !errors.As(err, &diags) { // it cannot be read at all
		err = &exitError{code: exitUsage, err: err}
	}
	return plan, err
}
