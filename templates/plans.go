package templates

import "bytes"

// Starter gives the commented failover.hcl that `failover init` writes, for "openstack", "rackspace" or "flex". It loads without credentials.
func Starter(cloud, service string) []byte {
	return bytes.ReplaceAll(embedded(of("starter", cloud)), []byte("__SERVICE__"), []byte(service))
}

// BalancerStarter is Starter for a plan whose TLS ends on a load balancer.
func BalancerStarter(cloud, service string) []byte {
	return bytes.ReplaceAll(embedded(of("balancer", cloud)), []byte("__SERVICE__"), []byte(service))
}

// SandboxPlan gives the plan that `failover --sandbox` runs, for "openstack", "rackspace" or "flex". It reads ca.pem, secrets.age and identity.txt
// from its folder, which the command writes first.
func SandboxPlan(cloud string) []byte { return embedded(of("sandbox", cloud)) }

func of(name, cloud string) string {
	if cloud != "openstack" {
		name += "-" + cloud
	}
	return name + ".hcl"
}

func embedded(name string) []byte {
	b, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // it is part of the binary
	}
	return b
}
