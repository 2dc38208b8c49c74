//go:build openstack

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// place is where the tests run: what FAILOVER_TEST_* name in a cloud of one's own, or the rig.
type place struct {
	region, home, image, flavor, toobig, network, zone, dns, az string
	cloud, admin                                                string // entries of clouds.yaml
	rig                                                         string // folder of the rig's scripts; "" elsewhere
	real                                                        bool   // the rig has a host that boots real servers
	binary                                                      string
}

var here place

const insideVar, binaryVar = "FAILOVER_E2E_INSIDE", "FAILOVER_E2E_BINARY"

func TestMain(m *testing.M) { os.Exit(begin(m)) }

// begin finds the cloud, builds the binary, and, for the rig, goes on inside its namespace: a Go process cannot
// change its own, and there is no way out from there for what the build may have to fetch.
func begin(m *testing.M) int {
	if os.Getenv(insideVar) != "" {
		here = rig(os.Getenv(insideVar))
		here.binary = os.Getenv(binaryVar)
		return m.Run()
	}
	scripts, err := filepath.Abs("openstack")
	if err != nil {
		return fail(err)
	}
	own, up := os.Getenv("FAILOVER_TEST_REGION") != "", exists(filepath.Join(rigDir(), "services"))
	if !own && !up {
		fmt.Println("no OpenStack: the rig is not up and FAILOVER_TEST_REGION is not set; every test is skipped (docs/testing-on-openstack.md)")
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "failover-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "failover")
	build := exec.Command("go", "build", "-o", binary, "github.com/dripstat/failover/cmd/failover")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("go build: %w\n%s", err, out))
	}
	if own {
		here = elsewhere()
		here.binary = binary
		return m.Run()
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	cmd := exec.Command(filepath.Join(scripts, "in.sh"), append([]string{self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), insideVar+"="+scripts, binaryVar+"="+binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	var ended *exec.ExitError
	if err := cmd.Run(); errors.As(err, &ended) {
		return max(1, ended.ExitCode())
	} else if err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// rigDir is where the rig keeps its state: env.sh says the same.
func rigDir() string {
	if d := os.Getenv("RIG_DIR"); d != "" {
		return d
	}
	if d := os.Getenv("XDG_STATE_HOME"); d != "" {
		return filepath.Join(d, "failover-rig")
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".local/state/failover-rig")
}

func rig(scripts string) place {
	settings, _ := os.ReadFile(filepath.Join(rigDir(), "settings"))
	_ = os.Setenv("OS_CLIENT_CONFIG_FILE", filepath.Join(rigDir(), "clouds.yaml"))
	return place{
		region: "ORD", home: "IAD", image: "stub", flavor: "small", toobig: "toobig", network: "public", zone: "rig.test",
		dns: "127.0.0.1:15053", az: "fake", cloud: "rig", admin: "rig-admin", rig: scripts,
		real: strings.Contains(string(settings), "RIG_REAL=1"),
	}
}

func elsewhere() place {
	v := func(name, otherwise string) string {
		if s := os.Getenv("FAILOVER_TEST_" + name); s != "" {
			return s
		}
		return otherwise
	}
	return place{
		region: v("REGION", ""), home: v("HOME", "home"), image: v("IMAGE", ""), flavor: v("FLAVOR", ""), toobig: v("TOOBIG", ""),
		network: v("NETWORK", ""), zone: v("ZONE", ""), dns: v("DNS", ""), az: v("AZ", ""),
		cloud: os.Getenv("OS_CLOUD"), admin: v("ADMIN", os.Getenv("OS_CLOUD")),
	}
}

// cloud skips where there is none, or where it lacks what a run of any kind needs.
func cloud(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{"REGION": here.region, "IMAGE": here.image, "FLAVOR": here.flavor, "NETWORK": here.network, "ZONE": here.zone, "DNS": here.dns} {
		if value == "" {
			t.Skip("no cloud: FAILOVER_TEST_" + name + " is not set")
		}
	}
}

// onRig skips elsewhere: what follows takes services away.
func onRig(t *testing.T) {
	t.Helper()
	if here.rig == "" {
		t.Skip("needs the rig")
	}
}

// onRealHost skips where no server boots.
func onRealHost(t *testing.T) {
	t.Helper()
	onRig(t)
	if !here.real {
		t.Skip("needs the rig with RIG_REAL=1")
	}
}
