package wasm

import (
	"fmt"
	"io/fs"
	"os"

	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

// block is what space is counted in. An empty file or a folder counts as one, so
// that a module cannot fill a disk with names.
const block = 4096

// quota counts the space under one folder, over all its files, and ends the run
// that would pass its limit. A limit of the kernel is for each file alone.
type quota struct {
	limit uint64
	used  uint64
	end   func(report) // does not return
}

// space is what a file of size bytes counts as.
func space(size int64) uint64 {
	return max(1, (uint64(size)+block-1)/block) * block
}

// resize counts a file that goes from one size to another.
func (q *quota) resize(from, to int64) {
	q.give(from)
	q.take(to)
}

func (q *quota) take(size int64) {
	q.used += space(size)
	if q.used > q.limit {
		q.end(report{
			Reason: runv1.EndReason_END_REASON_JOB_DISK,
			Detail: fmt.Sprintf("it wrote more than its %d bytes of disk", q.limit),
		})
	}
}

func (q *quota) give(size int64) { q.used -= min(q.used, space(size)) }

// full ends the run when it is the host's disk that has no space.
func (q *quota) full(err error) {
	q.end(report{Reason: runv1.EndReason_END_REASON_PROVIDER_FAILED, Detail: "the host's disk: " + err.Error()})
}

// count takes what is under root already.
func (q *quota) count(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			q.take(info.Size())
		} else {
			q.take(0)
		}
		return nil
	})
}
