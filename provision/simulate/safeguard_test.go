package simulate

import (
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/engine"
)

// safeguard names one that is taken away, to show that the simulation notices.
type safeguard string

func (s safeguard) recorder(r engine.Recorder) engine.Recorder   { return r }
func (s safeguard) lease(held func() error) func() error         { return held }
func (s safeguard) handlers(m map[provision.Kind]engine.Handler) {}
func (s safeguard) graph(g provision.Graph) provision.Graph      { return g }
func (s safeguard) reverse(g provision.Graph) provision.Graph    { return g }
