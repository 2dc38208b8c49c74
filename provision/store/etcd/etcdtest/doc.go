// Package etcdtest starts real etcd members for tests that carry the build tag etcd.
package etcdtest
