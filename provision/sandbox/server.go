package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// server is an instance as nova knows it; machine is the computer behind it.
type server struct {
	id, region, name string
	flavor           *flavor
	image            *image // nil when booted from a volume
	bootImage        *image // what the disk was made from, volume or not
	key              *keypair
	metadata         map[string]string
	tags             []string
	az               string
	host             int
	group            string // server group
	secgroups        []string
	userData         []byte // decoded
	configDrive      bool
	description      string
	created          time.Time
	updated          time.Time
	boot             time.Duration // created to ACTIVE or ERROR
	sshDelay         time.Duration
	failure          string // the fault's message; empty for a server that boots
	unscheduled      bool   // it failed before it had a host
	deleted          time.Time
	deletion         time.Duration
	order            int
	machine          *machine
}

// state is what a server looks like at some moment.
type state struct {
	status, task, vm string
	power            int
	networked        bool // has addresses
	placed           bool // has a host
}

// at follows the stages that nova goes through. The shares of the boot time are
// roughly those seen on a real one: most of it is spawning.
func (s *server) at(now time.Time) state {
	t := now.Sub(s.created)
	st := state{status: "BUILD", vm: "building"}
	switch {
	case s.failure != "" && t >= s.boot:
		st.status, st.vm, st.placed = "ERROR", "error", !s.unscheduled
	case t >= s.boot:
		st = state{"ACTIVE", "", "active", 1, true, true}
	case t < s.boot/10 || s.unscheduled:
		st.task = "scheduling"
	case t < s.boot*3/10:
		st.task, st.placed = "networking", true
	default:
		st.task, st.placed, st.networked = "spawning", true, true
	}
	if !s.deleted.IsZero() {
		st.task = "deleting"
	}
	return st
}

// sshUp tells that the operating system has come up: sshd listens and the host
// keys are on the console.
func (s *server) sshUp(now time.Time) bool {
	return s.failure == "" && s.deleted.IsZero() && !now.Before(s.created.Add(s.boot+s.sshDelay))
}

func (s *server) hostID(project string) string {
	sum := sha256.Sum224([]byte(fmt.Sprint(project, s.region, s.host)))
	return hex.EncodeToString(sum[:])
}

func (s *server) hostname() string {
	return strings.ToLower(strings.NewReplacer("_", "-", " ", "-", ".", "-").Replace(s.name))
}

// console is the text of the serial console so far, with the carriage returns of
// one. It grows between ACTIVE and the moment that sshd is up; cloud-init prints
// the host keys last.
// https://github.com/canonical/cloud-init/blob/main/tools/write-ssh-key-fingerprints
func (s *server) console(now time.Time) string {
	if s.failure != "" && now.Sub(s.created) >= s.boot || now.Before(s.created.Add(s.boot)) {
		return ""
	}
	up := now.Sub(s.created.Add(s.boot))
	boot := []string{
		"[    0.000000] Linux version 6.1.0-26-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.112-1 (2024-09-30)",
		"[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz-6.1.0-26-cloud-amd64 root=PARTUUID=e2a7c0de-0d5a-4a4b-8a0f-9d8d1f3f2a11 ro console=tty0 console=ttyS0,115200",
		"[    0.731904] virtio_net virtio0 ens3: renamed from eth0",
		"[    1.944210] systemd[1]: Hostname set to <" + s.hostname() + ">.",
		"[    7.120482] cloud-init[401]: Cloud-init v. 22.4.2 running 'init-local'. Up 7.09 seconds.",
		"[    9.881351] cloud-init[428]: Cloud-init v. 22.4.2 running 'init'. Up 9.85 seconds.",
		"[   12.345611] cloud-init[612]: Cloud-init v. 22.4.2 running 'modules:config'. Up 12.31 seconds.",
	}
	lines := boot
	if up < s.sshDelay {
		lines = boot[:1+int(int64(len(boot)-1)*int64(up)/int64(s.sshDelay))]
	} else {
		lines = append(lines, "[   13.902317] cloud-init[655]: Cloud-init v. 22.4.2 running 'modules:final'. Up 13.87 seconds.")
		if s.failure == "" {
			lines = append(lines, s.machine.consoleKeys()...)
			lines = append(lines, s.machine.consoleSaid()...)
		}
		lines = append(lines,
			"[   14.213377] cloud-init[655]: Cloud-init v. 22.4.2 finished. Datasource DataSourceConfigDrive [net,ver=2][source=/dev/sr0].  Up 14.20 seconds",
			"", "Debian GNU/Linux 12 "+s.hostname()+" ttyS0", "", s.hostname()+" login: ")
	}
	return strings.Join(lines, "\r\n")
}
