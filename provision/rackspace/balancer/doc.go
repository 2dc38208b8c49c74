// Package balancer makes steps into Cloud Load Balancers (v1.0), those of Rackspace's first cloud.
//
// That service takes one change of a load balancer at a time: while it is at work on one, every other is refused with 422, and
// nothing was changed. Each kind of step here is one change, and waits in Check until the load balancer is ACTIVE.
//
// Nothing of this was ever run against the live service. Shapes are those of its documents
// (https://docs.rackspace.com/docs/cloud-load-balancers/v1), of the tests of clients that were (libcloud, pyrax, otter), and of the service's own
// source (https://github.com/lbrackspace/atlas-lb); where they contradict each other both are taken.
// It must never log or repeat a private key, nor delete a load balancer that does not carry the run; in one that was
// there before, it changes what the run added and what the plan names, and nothing else.
package balancer
