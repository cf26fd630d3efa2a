package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/payment"
)

// What the store holds, by the first byte of its keys.
const (
	keyHead       = 'h' // where the journal ends, and how many commits there were
	prefixJournal = 'j' // last sequence in the block → block
	prefixRecord  = 'r' // record key → value
)

// maxBlock is about how many bytes of entries make a block: a transaction of
// many transfers writes few values, none of them large.
const maxBlock = 16 << 10

// Entry is a transfer as it was applied.
type Entry struct {
	Seq uint64 // from 1, gapless
	Transfer
	DebitBalance  souk.Atoms // of the debited account, after
	CreditBalance souk.Atoms // of the credited account, after
}

// state is what the journal adds up to.
type state struct {
	seq     uint64
	hash    souk.Digest            // of the last block
	net     map[Account]souk.Atoms // debits less credits
	commits uint64                 // transactions of the store; those of records alone count too
	ids     map[[16]byte]uint64    // the sequence of each transfer: as keys of the store they cost four times what the journal does
}

func newState() state {
	return state{net: make(map[Account]souk.Atoms), ids: make(map[[16]byte]uint64)}
}

// headSum is how many bytes of a hash end the head.
const headSum = 8

// encodeHead writes the last sequence, the hash of the last block, the number of
// commits, and a hash of these.
func encodeHead(seq uint64, hash souk.Digest, commits uint64) []byte {
	head := append(seqBytes(seq), hash[:]...)
	head = binary.BigEndian.AppendUint64(head, commits)
	sum := blockHash(head)
	return append(head, sum[:headSum]...)
}

// readHead takes the number of commits from a head, and makes sure that the rest
// of it is s. Ledgers of before commits were counted have a head without.
func (s *state) readHead(head []byte) error {
	bad := fmt.Errorf("journal ends at entry %d, head is %x: %w", s.seq, head, ErrCorrupt)
	old := append(seqBytes(s.seq), s.hash[:]...)
	if !bytes.HasPrefix(head, old) {
		return bad
	}
	if rest := head[len(old):]; len(rest) == 8+headSum {
		s.commits = binary.BigEndian.Uint64(rest)
		if !bytes.Equal(head, encodeHead(s.seq, s.hash, s.commits)) {
			return bad
		}
	} else if len(rest) > 0 {
		return bad
	}
	return nil
}

// block is the entries of one value in the store, chained to the block before.
type block struct {
	prev    souk.Digest
	entries []Entry
}

func seqBytes(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func blockKey(lastSeq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixJournal}, lastSeq)
}

func recordKey(key string) []byte { return append([]byte{prefixRecord}, key...) }

// blockHash chains blocks: a block starts with the hash of the one before.
func blockHash(value []byte) souk.Digest {
	h := sha256.New()
	h.Write([]byte("souk/ledger/1\x00"))
	h.Write(value)
	return souk.Digest(h.Sum(nil))
}

// encodeBlock writes as many entries as fit a block, at least one, and returns
// how many.
func encodeBlock(prev souk.Digest, entries []Entry) (key, value []byte, n int) {
	body := make([]byte, 0, min(maxBlock+1024, 192*len(entries)))
	for n < len(entries) && (n == 0 || len(body) < maxBlock) {
		body = appendEntry(body, entries[n])
		n++
	}
	value = append(make([]byte, 0, len(body)+len(prev)+4), prev[:]...)
	value = binary.AppendUvarint(value, uint64(n))
	return blockKey(entries[n-1].Seq), append(value, body...), n
}

func appendEntry(b []byte, e Entry) []byte {
	b = append(b, e.ID[:]...)
	for _, s := range []string{string(e.Debit), string(e.Credit), e.Kind, e.Ref} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, n := range []int64{int64(e.Amount), e.At.UnixMilli(), int64(e.DebitBalance), int64(e.CreditBalance)} {
		b = binary.AppendVarint(b, n)
	}
	return b
}

// decodeBlock reads a block. The error is [ErrCorrupt].
func decodeBlock(key, value []byte) (b block, err error) {
	corrupt := fmt.Errorf("block %x: %w", key, ErrCorrupt)
	if len(key) != 9 || len(value) < len(b.prev) {
		return block{}, corrupt
	}
	last := binary.BigEndian.Uint64(key[1:])
	r := reader{rest: value[copy(b.prev[:], value):]}
	n := r.uvarint()
	if n == 0 || n > last || n > uint64(len(r.rest)) {
		return block{}, corrupt
	}
	b.entries = make([]Entry, 0, min(n, 1024))
	for seq := last - n + 1; seq <= last && !r.bad; seq++ {
		b.entries = append(b.entries, r.entry(seq))
	}
	if r.bad || len(r.rest) > 0 {
		return block{}, corrupt
	}
	return b, nil
}

// reader takes values off rest until one does not fit.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	n, used := binary.Uvarint(r.rest)
	r.take(uint64(max(used, 0)))
	r.bad = r.bad || used <= 0
	return n
}

func (r *reader) varint() int64 {
	n, used := binary.Varint(r.rest)
	r.take(uint64(max(used, 0)))
	r.bad = r.bad || used <= 0
	return n
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) entry(seq uint64) (e Entry) {
	e.Seq = seq
	copy(e.ID[:], r.take(uint64(len(e.ID))))
	e.Debit, e.Credit, e.Kind, e.Ref = Account(r.text()), Account(r.text()), r.text(), r.text()
	e.Amount, e.At = souk.Atoms(r.varint()), time.UnixMilli(r.varint()).UTC()
	e.DebitBalance, e.CreditBalance = souk.Atoms(r.varint()), souk.Atoms(r.varint())
	return e
}

// entryAt reads an entry by its sequence.
func entryAt(txn payment.Txn, seq uint64) (e Entry, err error) {
	err = txn.Scan([]byte{prefixJournal}, blockKey(seq), func(key, value []byte) (bool, error) {
		b, err := decodeBlock(key, value)
		if err == nil && b.entries[0].Seq <= seq {
			e = b.entries[seq-b.entries[0].Seq]
		}
		return false, err
	})
	if err == nil && e.Seq != seq {
		err = fmt.Errorf("entry %d is missing: %w", seq, ErrCorrupt)
	}
	return e, err
}

// replay adds the journal up and checks it on the way. The error is [ErrCorrupt]
// or the store's.
func replay(txn payment.Txn) (state, error) {
	s := newState()
	err := txn.Scan([]byte{prefixJournal}, nil, func(key, value []byte) (bool, error) {
		b, err := decodeBlock(key, value)
		if err != nil {
			return false, err
		}
		if b.prev != s.hash {
			return false, fmt.Errorf("block of entry %d does not follow entry %d: %w", b.entries[0].Seq, s.seq, ErrCorrupt)
		}
		s.hash = blockHash(value)
		for _, e := range b.entries {
			if err := s.add(e); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return state{}, err
	}
	return s, s.check(txn)
}

// add applies an entry of the journal, and checks that it did what it says.
func (s *state) add(e Entry) error {
	debit, err1 := s.net[e.Debit].Add(e.Amount)
	credit, err2 := s.net[e.Credit].Add(-e.Amount)
	below := e.Debit.floored() && e.DebitBalance < 0 || e.Credit.floored() && e.CreditBalance < 0
	_, again := s.ids[e.ID]
	if e.Seq != s.seq+1 || again || e.check() != nil || err1 != nil || err2 != nil || below ||
		e.DebitBalance != e.Debit.balance(debit) || e.CreditBalance != e.Credit.balance(credit) {
		return fmt.Errorf("entry %d does not add up: %w", e.Seq, ErrCorrupt)
	}
	s.seq, s.ids[e.ID], s.net[e.Debit], s.net[e.Credit] = e.Seq, e.Seq, debit, credit
	return nil
}

// check compares s with the head, and debits with credits.
func (s *state) check(txn payment.Txn) error {
	head, err := txn.Get([]byte{keyHead})
	if err != nil {
		return err
	}
	if s.seq > 0 || head != nil {
		if err := s.readHead(head); err != nil {
			return err
		}
	}
	sum := new(big.Int)
	for _, net := range s.net {
		sum.Add(sum, big.NewInt(int64(net)))
	}
	if sum.Sign() != 0 {
		return fmt.Errorf("debits less credits are %s: %w", sum, ErrCorrupt)
	}
	return nil
}
