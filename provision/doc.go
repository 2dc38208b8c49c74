// Package provision holds the nouns of the house: what a team declared (Plan), what preflight came to
// know (Inventory, Facts, Finding), what would happen (Step, Graph), what happened (Event), and how it went
// wrong (Error).
//
// It imports secrets and nothing else of this module; it does no I/O and reads no clock. Packages below
// it import it; they do not import each other.
package provision
