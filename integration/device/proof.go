package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	"github.com/souk-market/souk/gpu/challenge/process"
	"github.com/souk-market/souk/gpu/challenge/reference"
)

// sizes are the orders of the matrices that a proof is tried with.
type sizes struct {
	same  uint32   // beside the processor
	bands []uint32 // for their times
	fill  uint32   // to fill the memory
}

func (s site) sizes() sizes {
	if s.Dry {
		return sizes{challenge.MinSize, []uint32{challenge.MinSize}, challenge.MinSize}
	}
	return sizes{512, []uint32{4096, 8192, 16384}, 16384}
}

// fillFor is about how long the products that fill the memory may take.
const fillFor = 40 * time.Second

// proof computes challenges on the first card.
func proof(ctx context.Context, s site, n *notes) error {
	d, err := s.card(ctx)
	if err != nil {
		return err
	}
	n.figure("card", d.ID+" "+d.Model)
	z := s.sizes()
	var took time.Duration // of one product of the size that fills
	for _, a := range []challenge.Arithmetic{challenge.Int8, challenge.Half} {
		if err := s.sameBytes(ctx, n, d, a, z.same); err != nil {
			return err
		}
		for _, size := range z.bands {
			if took, err = s.band(ctx, n, d, a, size); err != nil {
				return err
			}
		}
	}
	if err := s.fillMemory(ctx, n, d, z.fill, took); err != nil {
		return err
	}
	ceiling(ctx, s, n)
	return nil
}

// challengeOf is a challenge of one device.
func challengeOf(d gpu.Device, a challenge.Arithmetic, size, rounds uint32) challenge.Challenge {
	c := challenge.Challenge{Devices: []string{d.ID}, Arithmetic: a, Size: size, Rounds: rounds}
	rand.Read(c.Digest[:])
	return c
}

// start starts a device's process, which computes by the driver.
func (s site) start(ctx context.Context, c challenge.Challenge) (*process.Device, error) {
	return process.Start(ctx, process.Config{Command: []string{s.program("souk"), "challenge-exec"}, Backend: process.CUDA}, c, c.Devices[0])
}

// sameBytes compares a product with the processor's.
func (s site) sameBytes(ctx context.Context, n *notes, d gpu.Device, a challenge.Arithmetic, size uint32) error {
	c := challengeOf(d, a, size, 1)
	on, err := s.start(ctx, c)
	if err != nil {
		return err
	}
	seed := c.Seed(d.ID, 0, challenge.Hash{})
	got, err := on.Multiply(ctx, seed)
	if err = errors.Join(err, on.Close()); err != nil {
		return err
	}
	want, err := reference.New(c).Multiply(ctx, seed)
	if err != nil {
		return err
	}
	if got != want {
		n.problem("%s at %d: the card's product is not the processor's", arithmeticName(a), size)
	}
	n.figure(fmt.Sprintf("%s at %d is the processor's", arithmeticName(a), size), got == want)
	return nil
}

func arithmeticName(a challenge.Arithmetic) string {
	if a == challenge.Half {
		return "f16"
	}
	return "i8"
}

// band times products with what lies around them; the first warms up.
func (s site) band(ctx context.Context, n *notes, d gpu.Device, a challenge.Arithmetic, size uint32) (took time.Duration, err error) {
	const rounds = 4
	c := challengeOf(d, a, size, rounds)
	on, err := s.start(ctx, c)
	if err != nil {
		return 0, err
	}
	defer on.Close()
	var root challenge.Hash
	var all []float64
	for round := range uint32(rounds) {
		began := time.Now()
		if root, err = on.Multiply(ctx, c.Seed(d.ID, round, root)); err != nil {
			return 0, err
		}
		if took = time.Since(began); round > 0 {
			all = append(all, took.Seconds())
		}
	}
	began := time.Now()
	if _, err := on.Recall(ctx, challenge.Hash{1}); err != nil {
		return 0, err
	}
	n.figure(fmt.Sprintf("%s at %d", arithmeticName(a), size), map[string]any{"product_seconds": all, "recall_seconds": time.Since(began).Seconds() / rounds,
		"tera_operations_per_second": float64(c.Operations()) / rounds / took.Seconds() / 1e12})
	return took, nil
}

// fillMemory answers a whole challenge that fills the card's memory, as far as the time
// allows, and one in which a bit is wrong.
func (s site) fillMemory(ctx context.Context, n *notes, d gpu.Device, size uint32, product time.Duration) error {
	a := challenge.ArithmeticOf(d.Class)
	rounds := challenge.FittingRounds(d.MemoryBytes, size)
	if s.Dry {
		rounds = 3
	}
	if most := uint32(max(1, fillFor/max(product, time.Millisecond))); rounds > most {
		n.figure("memory fill is cut short", fmt.Sprintf("%d rounds of %d: a product takes %v", most, rounds, product))
		rounds = most
	}
	if rounds == 0 {
		return cannot("the card's memory has no room for a product of order %d", size)
	}
	c := challengeOf(d, a, size, rounds)
	before, _ := s.energy(ctx, d.ID)
	answers, err := s.answer(ctx, c)
	if err != nil {
		return err
	}
	if after, ok := s.energy(ctx, d.ID); ok {
		n.figure("energy of the fill, mJ", after-before)
	}
	n.figure("filled share of the memory", float64(c.MemoryBytes())/float64(d.MemoryBytes))
	verdict, err := answers.verify(c, nil)
	if err != nil {
		n.problem("an honest answer is refused: %v", err)
	}
	n.figure("verdict", map[string]any{"rounds": rounds, "size": size, "commit_seconds": verdict.Commit.Seconds(), "recall_seconds": verdict.Recall.Seconds(), "tiles": verdict.Tiles})
	var fault *challenge.FaultError
	_, err = answers.verify(c, func(o *challenge.Opening) { o.Tile[100] ^= 1 })
	if !errors.As(err, &fault) || fault.Fault != challenge.Wrong {
		n.problem("a tile with a wrong bit is not refused: %v", err)
	}
	n.figure("a wrong bit is refused", fault != nil)
	return nil
}

// energy is a card's counter in mJ, if it has one.
func (s site) energy(ctx context.Context, id string) (uint64, bool) {
	devices, err := s.driver().Devices(ctx)
	if err != nil {
		return 0, false
	}
	for _, d := range devices {
		if d.ID == id {
			return d.Now.EnergyMillijoules.Value()
		}
	}
	return 0, false
}

// answers is a whole answer to a challenge, with its times.
type answers struct {
	sent, committed, asked, recalled time.Time

	roots, again [][]challenge.Hash
	nonce        challenge.Hash
	draw         []byte
	openings     []challenge.Opening
}

// opened is how many tiles are looked at.
const opened = 8

// answer has a device answer a challenge.
func (s site) answer(ctx context.Context, c challenge.Challenge) (a answers, err error) {
	on, err := s.start(ctx, c)
	if err != nil {
		return a, err
	}
	defer on.Close()
	p, err := challenge.NewProver(c, []challenge.Device{on})
	if err != nil {
		return a, err
	}
	rand.Read(a.nonce[:])
	a.draw = make([]byte, 16*opened)
	rand.Read(a.draw)
	a.sent = time.Now()
	if a.roots, err = p.Commit(ctx); err != nil {
		return a, err
	}
	a.committed, a.asked = time.Now(), time.Now()
	if a.again, err = p.Recall(ctx, a.nonce); err != nil {
		return a, err
	}
	a.recalled = time.Now()
	v, err := a.upToDraw(c)
	if err != nil {
		return a, err
	}
	places, err := v.Draw(opened, bytes.NewReader(a.draw))
	if err != nil {
		return a, err
	}
	a.openings, err = p.Open(ctx, places)
	return a, err
}

// upToDraw is a verifier that has heard all but the openings.
func (a answers) upToDraw(c challenge.Challenge) (*challenge.Verifier, error) {
	v, err := challenge.NewVerifier(c, challenge.Band{}, a.sent)
	if err != nil {
		return nil, err
	}
	return v, errors.Join(v.Committed(a.committed, a.roots), v.Recall(a.asked, a.nonce), v.Recalled(a.recalled, a.again))
}

// verify judges the answer, with the first opening changed, if change is not nil.
func (a answers) verify(c challenge.Challenge, change func(*challenge.Opening)) (challenge.Verdict, error) {
	v, err := a.upToDraw(c)
	if err != nil {
		return challenge.Verdict{}, err
	}
	if _, err := v.Draw(opened, bytes.NewReader(a.draw)); err != nil {
		return challenge.Verdict{}, err
	}
	all := append([]challenge.Opening(nil), a.openings...)
	if change != nil {
		all[0].Tile = bytes.Clone(all[0].Tile)
		change(&all[0])
	}
	return v.Opened(all, rand.Reader)
}

// intMM multiplies by the libraries of PyTorch, which say what the card can do.
const intMM = `import torch, time
n = 16384
a = torch.randint(-128, 127, (n, n), dtype=torch.int8, device="cuda")
b = a.t().contiguous().t()
torch._int_mm(a, b); torch.cuda.synchronize()
t = time.time()
for _ in range(5): torch._int_mm(a, b)
torch.cuda.synchronize()
print(5 * 2 * n**3 / (time.time() - t) / 1e12, "TOPS int8 by torch", torch.__version__)
`

// ceiling asks the owner's PyTorch, where there is one.
func ceiling(ctx context.Context, s site, n *notes) {
	if s.Dry {
		n.figure("ceiling", "skipped: no card")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "python3", "-c", intMM).CombinedOutput()
	if err != nil {
		n.figure("ceiling", strings.TrimSpace("skipped: python3 with torch: "+err.Error()+" "+lastLine(out)))
		return
	}
	n.figure("ceiling", lastLine(out))
}

// leaseOf is a name for a lease of this run.
func leaseOf(number byte) souk.LeaseID { return souk.LeaseID{Digest: souk.Digest{0xde, number}} }
