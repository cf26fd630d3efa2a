package main

import (
	"context"
	"time"

	"github.com/souk-market/souk/cmd/souk/plainjson"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

func newReclaim(a *app) *cobra.Command {
	var notice time.Duration
	var force, back bool
	cmd := &cobra.Command{
		Use:   "reclaim DEVICE",
		Short: "Take a device back from the market",
		Long: `Takes a device of this machine back: from now on it is in no offer, until you
return it or the daemon starts anew. DEVICE is its id in souk gpus, or enough of it.

A job that runs on it keeps it for the notice that its lease has, or for --notice if
that is longer, is told so, pays for what it ran, and ends as reclaimed; its client may
go on elsewhere. A lease without a notice does not provide for this: it goes on to its
end, unless --force ends it, as your doing.`,
		Example: "  souk reclaim GPU-4f2a\n  souk reclaim GPU-4f2a --return",
		Args:    exactly("DEVICE"),
		RunE: body(func(ctx context.Context, args []string) error {
			if args[0] == "" {
				return usagef("DEVICE is empty: souk gpus lists them")
			}
			if back && (force || notice != 0) {
				return usagef("--return gives a device to the market: it takes no --notice and no --force")
			}
			if notice < 0 || notice > time.Hour {
				return usagef("--notice: %s is not between 0s and 1h", notice)
			}
			res, err := a.daemon.Node.Reclaim(ctx, &apiv1.ReclaimRequest{Device: args[0], NoticeMs: uint64(notice.Milliseconds()), Force: force, Release: back})
			if err != nil {
				return err
			}
			if a.json {
				return a.line(plainjson.Value{Message: res})
			}
			switch {
			case back:
				a.say("%s is for sale again", res.Device)
			case res.Lease == "":
				a.say("%s is yours", res.Device)
			default:
				a.say("%s is yours when lease %s has ended, at %s at the latest", res.Device, short(res.Lease), res.Ends)
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.DurationVar(&notice, "notice", 0, "how long a job on it may go on, at least")
	f.BoolVar(&force, "force", false, "end a lease too that does not provide for it")
	f.BoolVar(&back, "return", false, "give it to the market again")
	return cmd
}
