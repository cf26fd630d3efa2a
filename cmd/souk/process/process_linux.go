package process

import "syscall"

// separate puts a daemon into a process group of its own, so that Ctrl-C reaches this
// process alone, which then ends its daemons in order. Unless it is kept, a daemon
// ends with this process even if that is killed.
func separate(keep bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if !keep {
		a.Pdeathsig = syscall.SIGTERM
	}
	return a
}

// killGroup ends what is left of a daemon and of the children it started.
func killGroup(pid int) {
	syscall.Kill(-pid, syscall.SIGKILL) // a group that is gone needs none
}
