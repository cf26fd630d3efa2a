package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/gpu"
	"github.com/souk-market/souk/gpu/challenge"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

const challengeLong = `Has a provider prove that its idle devices of a class compute and hold what its
offer says. Each device, all at once, multiplies matrices made from a number that
nobody knew before, until nine tenths of its memory are full; then all of it is
hashed again, and some of the products are looked at. It costs you seconds and no
money, and the provider energy, so providers bound how often they answer. What came
of it is kept for a day, where souk offers shows it.

What it cannot show: devices that an equal machine nearby lent for the time of the
challenge; devices that slow down afterwards; other work that is wrong. Of products
that are wrong in a share w, a look at k tiles finds one with a chance of 1-(1-w)^k.
A processor is asked for little, and proves that it computes; of a GPU, a proof
that filled less than half of its memory does not count as evidence. No models have been
measured yet, so times are shown and not judged: a card sold twice is not found by
them.

A provider that is busy, or has no driver that can be asked, is no cheat: then
nothing is known. Devices that were ready and do not answer have failed.`

func newChallenge(a *app) *cobra.Command {
	var class string
	var size, rounds uint32
	cmd := &cobra.Command{
		Use:   "challenge PROVIDER",
		Short: "Have a provider prove its devices",
		Long:  challengeLong,
		Example: `  souk challenge 12D3KooWQ8xyz
  souk challenge 12D3KooWQ8xyz --class RTX_4090 --size 8192`,
		Args: exactly("PROVIDER"),
	}
	cmd.RunE = body(func(ctx context.Context, args []string) error {
		if !isPeerID(args[0]) {
			return usagef("%q is not the id of a peer, 12D3KooW…, or a beginning of it: souk offers lists providers", args[0])
		}
		if cmd.Flags().Changed("class") && class != gpu.Class(class) {
			return usagef("--class: %q is not a device class, such as RTX_4090", class)
		}
		work := challenge.Challenge{Devices: []string{"any"}, Arithmetic: challenge.Int8, Size: challenge.MinSize, Rounds: 1}
		if cmd.Flags().Changed("size") {
			work.Size = size
		}
		if err := work.Validate(); err != nil {
			return usagef("--size: %w", err)
		}
		if cmd.Flags().Changed("rounds") {
			work.Rounds = rounds
		}
		if err := work.Validate(); err != nil {
			return usagef("--rounds: %w", err)
		}
		return a.challenge(ctx, &apiv1.ChallengeRequest{Provider: args[0], Class: class, Size: size, Rounds: rounds})
	})
	cmd.Flags().StringVar(&class, "class", "", "the class of devices, where the provider offers several")
	cmd.Flags().Uint32Var(&size, "size", 0, "order of the matrices, a power of two (default: by the devices' memory)")
	cmd.Flags().Uint32Var(&rounds, "rounds", 0, "products of each device (default: as many as fill its memory)")
	return cmd
}

// stepText says what a challenge is about, for people.
func stepText(step string) string {
	switch step {
	case "waiting":
		return "waiting for the devices to be ready"
	case "computing":
		return "the devices compute"
	case "recalling":
		return "the devices hash all that they keep"
	case "opening":
		return "looking at some of the products"
	}
	return step
}

func (a *app) challenge(ctx context.Context, req *apiv1.ChallengeRequest) error {
	stream, err := a.daemon.Market.Challenge(ctx, req)
	if err != nil {
		return err
	}
	defer stream.Close()
	var proof *apiv1.Proof
	for stream.Receive() {
		if proof = stream.Msg().GetProof(); proof == nil {
			a.say("%s", stepText(stream.Msg().GetStep()))
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	if proof == nil {
		return errors.New("the daemon ended the challenge")
	}
	if err := a.show(proof, func(w io.Writer) error { return printProof(w, proof) }); err != nil {
		return err
	}
	if !proof.Proved {
		return fmt.Errorf("%s of %s did not prove itself: %s", proof.Class, short(proof.Provider), proof.Fault)
	}
	return nil
}

func printProof(w io.Writer, p *apiv1.Proof) error {
	verdict, judged := "proved", "no times of such devices are known: not judged"
	if !p.Proved {
		verdict = "NOT PROVED: " + p.Fault
	}
	if p.Judged {
		judged = "within what such devices need"
	}
	if err := pairs(w, "provider", p.Provider, "class", p.Class, "devices", fmt.Sprint(len(p.Devices)), "verdict", verdict,
		"computed by", p.Backend+" (the provider's word)",
		"work", fmt.Sprintf("%s of order %d (%s), %s of memory, each device", counted(p.Rounds, "product"), p.Size, p.Arithmetic, souk.FormatSize(p.MemoryBytes)),
		"products in", micros(p.CommitUs), "hashed again in", micros(p.RecallUs), "times", judged,
		"tiles right", fmt.Sprint(p.Tiles)); err != nil {
		return err
	}
	if !p.Proved {
		return nil
	}
	fmt.Fprintf(w, "\nIt does not show whose devices these are: an equal one nearby may have answered. A device\nmay slow down later. If a tenth of all results were wrong, %d tiles find it with %.0f %%.\n",
		p.Tiles, 100*(1-math.Pow(0.9, float64(p.Tiles))))
	return nil
}

func micros(us uint64) string {
	return (time.Duration(min(us, 1<<40)) * time.Microsecond).Round(time.Millisecond).String()
}
