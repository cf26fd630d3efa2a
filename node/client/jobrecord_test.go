package client

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node/disk"
	"github.com/souk-market/souk/node/money/moneytest"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
	"github.com/souk-market/souk/scheduler"
)

// TestLogOnFullDisk fills the client's disk for one piece of log: the provider is
// not to blame for what follows it, and all comes again with the next connection.
func TestLogOnFullDisk(t *testing.T) {
	tree := moneytest.NewTree(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHearing(t, tree)
		piece := func(at uint64) {
			data := make([]byte, 1000)
			for i := range data {
				data[i] = logByte(int64(at) + int64(i))
			}
			h.hear(&runv1.ToClient{Message: &runv1.ToClient_Log{Log: &runv1.Log{Stream: runv1.LogStream_LOG_STREAM_STDERR, Offset: at, Data: data}}})
			if h.l.over {
				t.Fatalf("the piece at %d ended the run", at)
			}
		}
		piece(0)
		roomy := h.Space.Free
		h.Space.Free = func(string) (uint64, error) { return disk.LedgerFloor - 1, nil }
		piece(1000)
		h.Space.Free = roomy
		piece(2000)
		h.start()
		for at := uint64(1000); at <= 3000; at += 1000 {
			piece(at)
		}
		if have := h.l.j.stderr.Len(); have != 4000 {
			t.Errorf("%d bytes of the log are kept, of 4000", have)
		}
		h.end()
	})
}

// TestJobRecordFits fills a job's record with all that a job and its peers may bring:
// the ledger takes it.
func TestJobRecordFits(t *testing.T) {
	const most = 256 << 10 // of a record; see ledger.Record
	long := strings.Repeat("x", 200)
	job := Record{Message: make([]byte, maxJobBytes), Detail: long}
	classes := slices.Repeat([]ClassRecord{{Class: long[:48], Count: 64, Price: 1 << 60}}, market.MaxClasses)
	for range 17 {
		job.Attempts = append(job.Attempts, AttemptRecord{Provider: long[:60], Lease: long[:64], Reason: long[:20], DepositTx: long[:100], Classes: classes,
			LogBase: map[string]uint64{"stdout": 1 << 60, "stderr": 1 << 60}})
		job.Snapshot.Over = append(job.Snapshot.Over, scheduler.Attempt{Reason: scheduler.ReasonProviderCheated, Detail: long})
	}
	for range maxDeclines {
		job.Attempts[0].Declines = append(job.Attempts[0].Declines, DeclineRecord{Provider: long[:60], Reason: long[:20], Detail: long + long[:60]})
	}
	if b, err := json.Marshal(job); err != nil || len(b) > most {
		t.Errorf("a job's record takes %d bytes of at most %d, %v", len(b), most, err)
	}
}
