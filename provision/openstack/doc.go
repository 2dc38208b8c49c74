// Package openstack turns a plan's cloud and region into an Inventory, and steps into servers, key pairs,
// groups and addresses, through gophercloud and one HTTP transport of its own.
//
// New reads configuration and dials nothing; Connect authenticates once, in one round trip. Inventory only
// reads. Handlers perform steps: Check looks, Do starts, neither waits.
//
// It must never repeat a writing request (an unknown outcome is settled by looking for the run's and the
// slot's tag), never log a token, a body or user-data, and never call another region than the one it was
// made for.
package openstack
