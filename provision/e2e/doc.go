// Package e2e holds the tests of the real binary against a real OpenStack, tagged `openstack`: the rig in the
// folder openstack, which the tests take down and bring back in pieces, or a cloud of one's own. How to run them
// is in docs/testing-on-openstack.md.
//
// A test starts failover as a process and judges it from outside: by its exit code and events, by what an
// administrator sees in all projects, and by what name servers and servers answer. It must leave the cloud as it
// found it.
package e2e
