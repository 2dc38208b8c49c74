package cli

import "os"

// replaceFile writes a file anew: renameio does not exist on Windows.
func replaceFile(path string, data []byte) error { return os.WriteFile(path, data, 0o644) }

// noCore: Windows writes a dump only where an administrator has asked for one.
func noCore() {}

// processAlive: on Windows FindProcess opens the process, which fails for one that is gone.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}
