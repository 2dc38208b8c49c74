package cli

import (
	"os"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// replaceFile writes a file anew: renameio does not exist on Windows.
func replaceFile(path string, data []byte) error { return os.WriteFile(path, data, 0o644) }

// noCore: Windows writes a dump only where an administrator has asked for one.
func noCore() {}

// thisBoot names the machine. Clones of one installation may share the id, so its name is in it.
func thisBoot() (string, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return "", err
	}
	defer key.Close() //nolint:errcheck // nothing was written
	id, _, err := key.GetStringValue("MachineGuid")
	if err != nil {
		return "", err
	}
	name, err := os.Hostname()
	return id + " " + name, err
}

// processAlive: on Windows FindProcess opens the process, which fails for one that is gone.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}

// hideInput turns the echo of a console off. Lines and ^C are as they were.
func hideInput(fd int) error {
	var mode uint32
	if err := windows.GetConsoleMode(windows.Handle(fd), &mode); err != nil {
		return err
	}
	mode &^= windows.ENABLE_ECHO_INPUT
	return windows.SetConsoleMode(windows.Handle(fd), mode|windows.ENABLE_LINE_INPUT|windows.ENABLE_PROCESSED_INPUT)
}

// foreground: a console has no jobs.
func foreground(int) bool { return true }

// dieOf ends this process: Windows has no signals to die of.
func dieOf(os.Signal) { os.Exit(1) }
