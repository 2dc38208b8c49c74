// Command failover re-provisions a service in another region: see the README.
package main

import (
	"os"

	"github.com/dripstat/failover/cmd/internal/cli"
)

func main() { os.Exit(cli.Main()) }
