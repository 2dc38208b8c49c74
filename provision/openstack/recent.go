package openstack

import (
	"time"

	"github.com/dripstat/failover/provision"
)

// What was learned a moment ago need not be asked again: between preflight and the first step, and between
// a create's answer and the Check that follows it, a round trip is saved.
const recent = 3 * time.Second

type made struct {
	at  time.Time
	out provision.Values
}

// nameList is what a kind of thing was called when Inventory looked.
type nameList struct {
	at    time.Time
	names map[string]bool
}

// remember keeps the outputs of a create that was answered.
func (c *Cloud) remember(kind provision.Kind, key string, out provision.Values) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[string(kind)+" "+key] = made{time.Now(), out}
}

// just gives what was created a moment ago.
func (c *Cloud) just(kind provision.Kind, key string) (provision.Values, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.made[string(kind)+" "+key]
	return m.out, ok && time.Since(m.at) < recent
}

// forget is for what was deleted.
func (c *Cloud) forget(kind provision.Kind, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.made, string(kind)+" "+key)
}

func (c *Cloud) saw(kind provision.Kind, at time.Time, names map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists[string(kind)] = nameList{at, names}
}

// absent says that a moment ago there was none of that name, and that nothing was done about it since.
func (c *Cloud) absent(kind provision.Kind, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.lists[string(kind)]
	return ok && time.Since(l.at) < recent && !l.names[name]
}

// tried ends what Inventory's list says about a name: something is being done about it.
func (c *Cloud) tried(kind provision.Kind, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.lists[string(kind)]; ok {
		l.names[name] = true
	}
}
