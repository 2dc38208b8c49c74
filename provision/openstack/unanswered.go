package openstack

import (
	"time"

	"github.com/dripstat/failover/provision"
)

// Undoing a create whose answer nobody has: the run ended between its intent and its answer, so that no id is
// known. Such a thing is looked for by what it carries, and for a while, since an accepted create can be
// missing from lists for some seconds.

// quiet gives whether nothing was seen of a thing for long enough to say that there is none.
func (c *Cloud) quiet(kind provision.Kind, key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := string(kind) + " " + key
	since, ok := c.silence[k]
	if !ok {
		c.silence[k] = time.Now()
		return false
	}
	return time.Since(since) >= unsure
}

// noisy begins the wait again: something of it was seen.
func (c *Cloud) noisy(kind provision.Kind, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence[string(kind)+" "+key] = time.Now()
}

// noneSeen is Done after long enough of nothing.
func (c *Cloud) noneSeen(kind provision.Kind, key string) (provision.Status, error) {
	if c.quiet(kind, key) {
		c.mu.Lock()
		delete(c.silence, string(kind)+" "+key)
		c.mu.Unlock()
		return done(provision.Values{})
	}
	return provision.Status{State: provision.Working, Seen: "its create was not answered; looking for what it made", Again: pace}, nil
}

// notOurs refuses to delete what does not carry the run.
func notOurs(what, id, run string) error {
	return &provision.Error{What: "delete " + what + " " + id + ": it does not carry run " + run + ", so it is not ours to delete", Class: provision.Final}
}
