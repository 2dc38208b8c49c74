package cli

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/lock"
)

// lease takes the lock of a service on this machine and in the plan's store, or gives an error that says who has it.
func (a *App) lease(ctx context.Context, k *keep, service string, me lock.Holder, o storeOptions, quiet bool) (*lock.Pair, error) {
	if o.takeOver != "" && o.takeOver != service {
		return nil, usage("--take-over "+service, "--take-over names %s, and this is %s; nothing was touched", o.takeOver, service)
	}
	po := lock.PairOptions{Service: service, Me: me, Alive: processAlive, Local: k.local, Require: o.require, Force: o.takeOver != "",
		Alone: func(err error) {
			k.tell("ETCD IS AWAY (%v): %s is locked on this machine only, and nobody elsewhere is kept from starting a run of it", err, service)
		},
		Joined: func(l *lock.Lease, late bool) {
			k.shared.Fence(lock.Key(service), l.Mine)
			l.Missed(k.mirror.Miss)
			if late {
				k.tell("etcd answers: this run holds the lock there now")
			}
		},
	}
	if k.shared != nil {
		po.Shared = k.shared
	}
	if !quiet {
		po.Ask = func(held *lock.HeldError) bool { return a.mayTake(service, held) }
	}
	p, err := lock.AcquirePair(ctx, po)
	held := (*lock.HeldError)(nil)
	switch {
	case err == nil, errors.As(err, &held):
		return p, err
	case errors.Is(err, lock.ErrShared):
		return nil, &exitError{code: exitUsage, err: &provision.Error{Thing: "store", What: "the lock of " + service + " cannot be taken in etcd, and --require-store was given; nothing was touched", Err: err,
			Hint: "without --require-store the run goes on with this machine's journal and lock"}}
	}
	return nil, &provision.Error{Thing: "lock", What: "cannot lock " + service + " in " + k.local.Dir() + "; nothing was touched", Err: err,
		Hint: "mend that folder, or set FAILOVER_STATE_DIR to one that can be written"}
}

// mayTake asks at a terminal for the service's name: a lock of a run that is at work is not taken by a yes.
func (a *App) mayTake(service string, held *lock.HeldError) bool {
	if !a.interactive() {
		return false
	}
	_, _ = fmt.Fprintf(a.Err, "%s\nIt is at work: its last sign of life was %s ago. If you take the lock over, it stops before its next change.\nType %s to take it over, or nothing to leave it: ",
		held.Error(), max(0, time.Until(held.Holder.Expires.Add(-lock.TTL))*-1).Round(time.Second), service)
	line, _ := bufio.NewReader(a.In).ReadString('\n')
	return strings.TrimSpace(line) == service
}

// lostError is what is said when the lock is another's.
func lostError(err error, run provision.RunID) *provision.Error {
	return &provision.Error{Thing: "lock", What: err.Error(),
		Hint: "failover status --follow shows what runs now; when it is done: failover resume " + run.Short()}
}

// thisMachine tells this machine and its process table from all others, those of the same name too; empty where that cannot be told, and then a
// lock that a dead process has left is waited out.
func thisMachine() string {
	id, err := thisBoot()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8])
}

// holder is what a lock says of this process.
func holder(command string, run provision.RunID) lock.Holder {
	who, host := identity()
	return lock.Holder{Owner: who, Host: host, Machine: thisMachine(), PID: os.Getpid(), Command: command, Run: run}
}

// identity says who works here, for people to read. The system is asked only where the environment has no name: a directory service that it asks in turn
// may be what is down.
func identity() (who, host string) {
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		who = cmp.Or(who, os.Getenv(name))
	}
	if who == "" {
		who = "unknown"
		if u, err := user.Current(); err == nil {
			who = u.Username
		}
	}
	host, _ = os.Hostname()
	return who, host
}
