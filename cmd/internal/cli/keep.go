package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/etcd"
	"github.com/dripstat/failover/provision/store/file"
	"github.com/dripstat/failover/provision/store/mirror"
)

// storeOptions say how a command that changes things treats the store.
type storeOptions struct {
	require  bool
	takeOver string
}

func (o *storeOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.require, "require-store", false, "stop where the plan's shared store does not answer, instead of going on with this machine's journal")
	f.StringVar(&o.takeOver, "take-over", "", "take the lock from a run that is at work; give the service's name")
}

// keep is where runs are recorded: a folder of this machine, and beside it what the plan's team shares.
type keep struct {
	runs interface {
		store.Store
		store.Watcher
	}
	local   *file.Store
	shared  *etcd.Store   // nil without one
	mirror  *mirror.Store // nil without one
	require bool

	mu      sync.Mutex
	say     func(string)
	waiting []string
	writing bool
}

// Where names it to people.
func (k *keep) Where() string {
	if k.mirror != nil {
		return k.mirror.Where()
	}
	return k.local.Where()
}

// Close ends what goes on in the background.
func (k *keep) Close() error {
	if k.mirror != nil {
		return k.mirror.Close()
	}
	return k.local.Close()
}

// tell says something about the store, at once or when there is a view.
func (k *keep) tell(format string, a ...any) {
	k.mu.Lock()
	say := k.say
	if say == nil {
		k.waiting = append(k.waiting, fmt.Sprintf(format, a...))
	}
	k.mu.Unlock()
	if say != nil {
		say(fmt.Sprintf(format, a...))
	}
}

// speak gives what is told to say from now on; nil keeps it back.
func (k *keep) speak(say func(string)) {
	k.mu.Lock()
	k.say = say
	var late []string
	if say != nil {
		late, k.waiting = k.waiting, nil
	}
	k.mu.Unlock()
	for _, s := range late {
		say(s)
	}
}

// aloud lets a reading command say on standard error what it hears of the store.
func (a *App) aloud(k *keep) {
	k.speak(func(s string) { _, _ = fmt.Fprintln(a.Err, "warning: "+s) })
}

// store opens the plan's store; it asks nothing of anyone.
func (a *App) store(plan provision.Plan, o storeOptions) (*keep, error) {
	dir := plan.Store.Dir
	switch {
	case dir == "":
		var err error
		if dir, err = a.stateDir(); err != nil {
			return nil, err
		}
	case !filepath.IsAbs(dir):
		dir = filepath.Join(plan.Dir, dir)
	}
	k := &keep{local: file.New(dir), require: o.require}
	k.runs = k.local
	e := plan.Store.Etcd
	if e == nil {
		if o.require {
			return nil, usage("add store { etcd { endpoints = [...] } } to the plan, or leave --require-store out", "--require-store needs a plan with a shared store")
		}
		return k, nil
	}
	if unknown(*e) { // the plan was read offline, and only the environment knows
		k.tell("the plan takes a value of its etcd block from an environment variable that is not set: only what this machine knows is shown")
		return k, nil
	}
	at := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(plan.Dir, path)
	}
	var err error
	k.shared, err = etcd.New(etcd.Options{Endpoints: e.Endpoints, CA: at(e.CA), Cert: at(e.Cert), Key: at(e.Key), Username: e.Username, Password: e.Password, Prefix: e.Prefix})
	if err != nil {
		if o.require {
			return nil, &exitError{code: exitUsage, err: &provision.Error{Thing: "store", What: err.Error()}}
		}
		k.tell("the plan's etcd cannot be used (%v): only this machine's journal and lock are", err)
		k.shared = nil
		return k, nil
	}
	k.mirror = mirror.New(k.local, k.shared, mirror.Options{Require: o.require, Away: k.away,
		Back: func() {
			if k.running() {
				k.tell("etcd answers again and has this run's journal, with what it had missed")
			}
		},
		Forked: func(key string) {
			k.tell("the journal %s went on in etcd without this machine: what is done here from now on is recorded in %s only", key, k.local.Path(key))
		},
	})
	k.runs = k.mirror
	return k, nil
}

func (k *keep) running() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.writing
}

func (k *keep) away(err error) {
	if k.running() {
		k.tell("ETCD IS AWAY (%v). The run goes on: this machine's journal has everything, and etcd gets it when it answers. Other machines cannot see or stop this run until then", err)
		return
	}
	k.tell("etcd is away (%v): this is what this machine knows; another may know more", err)
}

func unknown(e provision.Etcd) bool {
	texts := append([]string{e.CA, e.Cert, e.Key, e.Username, e.Prefix, string(e.Password.Bytes())}, e.Endpoints...)
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, planfile.Placeholder) })
}

// merge adds to the shared store what earlier commands of this machine could not.
func (k *keep) merge(ctx context.Context) {
	if k.mirror == nil {
		return
	}
	merged, _ := k.mirror.Merge(ctx) // its silence was told
	for _, key := range merged {
		k.tell("etcd was given what it had missed: %s", key)
	}
}

// settle is the end of a run: the last attempt to give the shared store everything.
func (k *keep) settle() {
	if k.mirror == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := k.mirror.Flush(ctx); err != nil {
		k.tell("etcd is still away: the whole journal of this run is in %s only. The next failover command here adds it to etcd", k.local.Where())
	}
}
