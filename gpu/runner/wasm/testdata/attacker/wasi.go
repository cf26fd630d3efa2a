package main

import "unsafe"

// The functions of WASI preview 1, with numbers in the place of pointers: what is
// tried here is what no compiler would emit. Each returns an errno, 0 for success.

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(fd, lookup, path, size, how uint32, base, inheriting uint64, fdflags, opened uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_rename
func pathRename(fd, from, fromLen, to, path, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_link
func pathLink(fd, lookup, from, fromLen, to, path, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_symlink
func pathSymlink(target, targetLen, fd, path, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_readlink
func pathReadlink(fd, path, size, into, room, used uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_unlink_file
func pathUnlink(fd, path, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_remove_directory
func pathRmdir(fd, path, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_create_directory
func pathMkdir(fd, path, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_get
func pathStat(fd, lookup, path, size, into uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_set_times
func pathTimes(fd, lookup, path, size uint32, access, change uint64, how uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd, vectors, count, used uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_write
func fdWrite(fd, vectors, count, used uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_renumber
func fdRenumber(fd, to uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_filestat_set_size
func fdTruncate(fd uint32, size uint64) uint32

//go:wasmimport wasi_snapshot_preview1 fd_fdstat_set_rights
func fdRights(fd uint32, base, inheriting uint64) uint32

//go:wasmimport wasi_snapshot_preview1 fd_readdir
func fdReaddir(fd, into, room uint32, cookie uint64, used uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
func fdPrestatName(fd, into, room uint32) uint32

//go:wasmimport wasi_snapshot_preview1 args_get
func argsGet(list, text uint32) uint32

//go:wasmimport wasi_snapshot_preview1 environ_get
func environGet(list, text uint32) uint32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockGet(clock uint32, precision uint64, into uint32) uint32

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(into, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func poll(in, out, count, used uint32) uint32

//go:wasmimport wasi_snapshot_preview1 proc_raise
func raise(signal uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_accept
func sockAccept(fd, flags, into uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_send
func sockSend(fd, vectors, count, flags, used uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_recv
func sockRecv(fd, vectors, count, flags, used, out uint32) uint32

// at is where something lies in the module's memory.
func at[T any](p *T) uint32 { return uint32(uintptr(unsafe.Pointer(p))) }

// str is a path as WASI takes it.
func str(s string) (where, size uint32) {
	kept = append(kept, s)
	return uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))), uint32(len(s))
}

// kept holds what only numbers point to.
var kept []string
