package main

import (
	"context"
	"fmt"
	"io"

	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	"github.com/spf13/cobra"
)

func newAnchors(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "anchors",
		Short: "Checkpoints and the transactions that anchored them",
		Long: `Lists the checkpoints of this node's receipts log that were anchored on chain, with
the transaction of each. One transaction may carry the checkpoints of many logs.`,
		Example: "  souk anchors",
		Args:    exactly(),
		RunE:    body(a.anchors),
	}
}

func (a *app) anchors(ctx context.Context, _ []string) error {
	res, err := a.daemon.Log.Anchors(ctx, &apiv1.AnchorsRequest{})
	if err != nil {
		return err
	}
	return a.show(res, func(w io.Writer) error {
		var rows [][]string
		for _, n := range res.Anchors {
			rows = append(rows, []string{fmt.Sprint(n.Size), clock(n.Time), fmt.Sprint(n.ChainId), fmt.Sprint(n.Block), n.Tx, n.Root})
		}
		if err := table(w, "SIZE TIME CHAIN BLOCK TRANSACTION ROOT", rows); err != nil {
			return err
		}
		a.say("log %s", res.Origin)
		return nil
	})
}
