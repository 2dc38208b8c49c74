package templates

import "bytes"

// Starter gives the commented failover.hcl that `failover init` writes. It loads without credentials.
func Starter(service string) []byte {
	return bytes.ReplaceAll(embedded("starter.hcl"), []byte("__SERVICE__"), []byte(service))
}

// BalancerStarter is Starter for a plan whose TLS ends on a load balancer.
func BalancerStarter(service string) []byte {
	return bytes.ReplaceAll(embedded("balancer.hcl"), []byte("__SERVICE__"), []byte(service))
}

// SandboxPlan gives the plan that `failover --sandbox` runs. It reads ca.pem, secrets.age and identity.txt
// from its folder, which the command writes first.
func SandboxPlan() []byte { return embedded("sandbox.hcl") }

func embedded(name string) []byte {
	b, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is part of the binary
	}
	return b
}
