package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/daemon"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	"github.com/souk-market/souk/market"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	marketv1 "github.com/souk-market/souk/proto/souk/market/v1"
	"github.com/spf13/cobra"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "What the daemon is doing",
		Long: `Shows the daemon's peer id and addresses, how many peers and offers it knows,
what it buys and sells, and how its chain is.`,
		Example: "  souk status\n  souk status --json",
		Args:    exactly(),
		RunE:    body(a.status),
	}
}

func (a *app) status(ctx context.Context, _ []string) error {
	s, err := a.daemon.Node.Status(ctx, &apiv1.StatusRequest{})
	if err != nil {
		return err
	}
	return a.show(s, func(w io.Writer) error {
		role := "client"
		if s.Provider {
			role = "client and provider"
		}
		chain := "none"
		if s.ChainId != 0 {
			chain = fmt.Sprintf("%d at block %d", s.ChainId, s.Block)
		}
		if s.ChainError != "" {
			chain = fmt.Sprintf("%d does not answer: %s", s.ChainId, s.ChainError)
		}
		disk := souk.FormatSize(s.DiskFreeBytes) + " free"
		if s.ReadOnly != "" {
			disk = s.ReadOnly
		}
		var rejects []string
		for _, reason := range slices.Sorted(maps.Keys(s.Rejects)) {
			if n := s.Rejects[reason]; n > 0 {
				rejects = append(rejects, fmt.Sprintf("%s %d", reason, n))
			}
		}
		return pairs(w,
			"peer", s.Peer,
			"role", role,
			"version", s.Version,
			"started", s.Started,
			"addresses", strings.Join(s.Addresses, "\n\t"),
			"peers", fmt.Sprint(s.Peers),
			"offers", fmt.Sprint(s.Offers),
			"jobs", fmt.Sprint(s.Jobs),
			"leases", fmt.Sprint(s.Leases),
			"images", s.Engine,
			"clock", clockText(s),
			"chain", chain,
			"wallet", s.Wallet,
			"disk", disk,
			"api", s.Api,
			"rejected", strings.Join(rejects, ", "),
		)
	})
}

// wrongClock is how far a clock may be from those of its peers before people
// are told: what the market takes for the same time.
const wrongClock = market.Skew

// clockText says how this machine's clock compares with those of its peers;
// empty when there is nothing to compare it with.
func clockText(s *apiv1.StatusResponse) string {
	ahead := time.Duration(s.ClockAheadMs) * time.Millisecond
	switch {
	case s.ClockPeers == 0:
		return ""
	case ahead.Abs() <= wrongClock:
		return "as " + counted(s.ClockPeers, "peer")
	case ahead > 0:
		return fmt.Sprintf("about %s ahead of %s%s: offers seem to be over; set it right", roughly(ahead), counted(s.ClockPeers, "peer"), doubt(s))
	}
	return fmt.Sprintf("about %s behind %s%s: offers seem to come from the future; set it right", roughly(-ahead), counted(s.ClockPeers, "peer"), doubt(s))
}

// doubt says that so few may be the ones that are wrong.
func doubt(s *apiv1.StatusResponse) string {
	if s.ClockPeers < 3 {
		return ", if it is not they that are wrong"
	}
	return ""
}

// roughly is a time in its largest unit: "1 hour", "50 minutes".
func roughly(d time.Duration) string {
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int((d + u.size/2) / u.size); d > u.size-u.size/10 {
			return counted(n, u.name)
		}
	}
	return counted(int(d/time.Second), "second")
}

func newDashboard(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dashboard",
		Short: "Print the page's address with a token",
		Long: `Prints the address of the daemon's page. The token in it gives full rights on
this daemon: it stays in the part of an address that a browser sends nowhere.`,
		Example: "  xdg-open $(souk dashboard)",
		Args:    exactly(),
		RunE:    body(a.dashboard),
	}
}

func (a *app) dashboard(ctx context.Context, _ []string) error {
	s, err := a.daemon.Node.Status(ctx, &apiv1.StatusRequest{})
	if err != nil {
		return err
	}
	address, err := daemon.Page(a.home, s.Api)
	if err != nil {
		return err
	}
	if a.json {
		return a.line(map[string]string{"dashboard": address})
	}
	_, err = fmt.Fprintln(a.stdout, address)
	return err
}

// evidence is the level's word, as JSON has it.
func evidence(e marketv1.Evidence) string { return dash(plainjson.Word(e)) }
