// Package templates turns a few words of a plan into what is written onto a new server: cloud-init
// user-data, an haproxy configuration, systemd units. It also holds the plans that come with the program:
// the starter that `failover init` writes and the one that the sandbox runs.
//
// The text is embedded and parsed when it is first asked for. Rendering is pure: the same input gives the
// same bytes, nothing is read from disk or network, and no secret is ever an input. What it gives has been
// checked: it parses, and it fits. The package imports nothing of this module.
package templates
