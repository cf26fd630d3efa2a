package demo

import "syscall"

// apart puts a daemon into a process group of its own, so that Ctrl-C reaches the
// demo alone, which then ends its daemons in order. Unless it is kept, a daemon
// ends with the demo even if that is killed.
func apart(keep bool) *syscall.SysProcAttr {
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
