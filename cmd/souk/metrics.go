package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/plainjson"
	apiv1 "github.com/souk-market/souk/proto/souk/api/v1"
	runv1 "github.com/souk-market/souk/proto/souk/run/v1"
)

const (
	redrawEvery = 200 * time.Millisecond
	clearScreen = "\x1b[H\x1b[2J"
)

// sampleLine is one sample in JSON.
type sampleLine struct {
	Lease  string          `json:"lease"`
	Sample plainjson.Value `json:"sample"`
}

// gauges are the newest samples of one attempt, by device.
type gauges struct {
	lease  string
	ids    []string
	newest map[string]*runv1.Sample
	first  map[string]uint64 // of each device, its first energy reading
}

// metrics shows what the devices of a job measure until it ends: on a terminal a
// table that is drawn anew, else the last one alone.
func (a *app) metrics(ctx context.Context, id string) error {
	stream, err := a.daemon.Jobs.Metrics(ctx, &apiv1.MetricsRequest{Id: id})
	if err != nil {
		return err
	}
	defer stream.Close()
	_, screen := terminal(a.stdout)
	var g gauges
	var drawn time.Time
	for stream.Receive() {
		piece := stream.Msg()
		if a.json {
			if err := a.sampleLines(piece); err != nil {
				return err
			}
			continue
		}
		g.take(piece)
		if now := a.now(); screen && now.Sub(drawn) >= redrawEvery {
			drawn = now
			fmt.Fprint(a.stdout, clearScreen)
			if err := table(a.stdout, gaugeHeading, g.rows()); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := stream.Err(); err != nil || a.json {
		return err
	}
	if len(g.ids) == 0 {
		a.say("nothing was measured: the job did not run, or its samples are gone")
		return nil
	}
	if screen {
		fmt.Fprint(a.stdout, clearScreen)
	}
	return table(a.stdout, gaugeHeading, g.rows())
}

// sampleLines prints one object a sample.
func (a *app) sampleLines(piece *apiv1.MetricsResponse) error {
	for _, s := range piece.Samples {
		if err := a.line(sampleLine{piece.Lease, plainjson.Value{Message: s}}); err != nil {
			return err
		}
	}
	return nil
}

// take brings the gauges up to date. Those of an attempt before are dropped.
func (g *gauges) take(piece *apiv1.MetricsResponse) {
	if piece.Lease != g.lease || g.newest == nil {
		*g = gauges{lease: piece.Lease, newest: map[string]*runv1.Sample{}, first: map[string]uint64{}}
	}
	for _, s := range piece.Samples {
		if g.newest[s.Device] == nil {
			g.ids = append(g.ids, s.Device)
			slices.Sort(g.ids)
		}
		g.newest[s.Device] = s
		if _, ok := g.first[s.Device]; !ok && s.TotalEnergyMj != nil {
			g.first[s.Device] = *s.TotalEnergyMj
		}
	}
}

const gaugeHeading = "DEVICE USE MEMORY POWER TEMP CLOCK MEM-CLOCK ENERGY XIDS AT"

// rows are the gauges as a table.
func (g *gauges) rows() (rows [][]string) {
	for _, id := range g.ids {
		s := g.newest[id]
		use, memory := percent(s.GpuUtil), "-"
		if s.CpuMilli != nil {
			use = fmt.Sprintf("%.2f cores", float64(*s.CpuMilli)/1000)
		}
		if s.MemoryUsedBytes != nil {
			memory = souk.FormatSize(*s.MemoryUsedBytes)
		}
		rows = append(rows, []string{id, use, memory, watts(s.PowerMw, nil), celsius(s.GpuTempC), megahertz(s.SmClockMhz),
			megahertz(s.MemClockMhz), joules(g.first[id], s.TotalEnergyMj), dash(strings.Trim(fmt.Sprint(s.Xids), "[]")),
			time.UnixMilli(s.AtMs).UTC().Format("15:04:05")})
	}
	return rows
}

func megahertz(n *uint32) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%dMHz", *n)
}

// joules is what a counter of millijoules rose by; a dash where it began anew.
func joules(first uint64, now *uint64) string {
	if now == nil || *now < first {
		return "-"
	}
	return fmt.Sprintf("%.1fJ", float64(*now-first)/1000)
}
