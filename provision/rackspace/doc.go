// Package rackspace does what Rackspace's first OpenStack cloud, which keeps to no standard but its own documents, does
// otherwise: logging in with an API key at an identity service of version 2.0.
//
// It gives what provision/openstack needs for the rest, and knows nothing of it. Nothing here was ever run against the live
// service: shapes are those of the documents that the comments name, with both sides of each contradiction accepted.
// It must never log a key or a token.
package rackspace
