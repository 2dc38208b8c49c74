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
	q := c.silence[k]
	if q.since.IsZero() {
		q.since = time.Now()
	}
	if time.Since(q.since) >= unsureLag {
		q.looks++
	}
	c.silence[k] = q
	return q.looks >= unsureLooks && time.Since(q.since) >= unsure
}

// silence is since when nothing was seen, and how often once lists had had their time.
type silence struct {
	since time.Time
	looks int
}

// noisy ends the silence: something of it was seen. The wait begins with the next look that finds nothing, so that
// one empty list is not enough.
func (c *Cloud) noisy(kind provision.Kind, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.silence, string(kind)+" "+key)
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
