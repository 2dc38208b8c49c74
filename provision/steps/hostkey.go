package steps

import "github.com/dripstat/failover/provision"

// HostKeyRotate {certificate fingerprint run slot address port user via} → {host_keys}: in the place of ConsoleHostKeys where a
// cloud shows no console. The server is created with a throwaway host key, and given another one in the first session;
// both are derived from the certificate's key, the run and the slot, so that neither need be kept.
const HostKeyRotate provision.Kind = "hostkey.rotate"

// noConsole reports whether a server's host keys cannot be read from its cloud.
func (b *builder) noConsole(s provision.Server) bool {
	return b.rackspaceHas(s.Cloud)
}

// rotate makes a step that asks the server itself of one that asks its console.
func (b *builder) rotate(step *provision.Step, s provision.Server, slot string, at source) {
	step.Kind = HostKeyRotate
	step.Needs = unique(append(step.Needs, at.v4.Step, fetchID(s.Certificate), loginID))
	step.With = map[string]provision.Arg{
		"certificate": provision.Lit(s.Certificate), "fingerprint": provision.From(fetchID(s.Certificate), "fingerprint"),
		"run": provision.Lit(string(b.run)), "slot": provision.Lit(slot),
		"address": {Of: []provision.Output{at.v4}}, "port": provision.Lit(s.SSH.Port), "user": provision.Lit(s.SSH.User), "via": provision.Lit(s.SSH.Via),
	}
	step.Say.Detail = "its own host key, in the place of the throwaway one that it was created with"
}
