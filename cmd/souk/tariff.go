package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk"
	"github.com/souk-market/souk/cmd/souk/yamlfile"
	"github.com/souk-market/souk/market"
	"github.com/souk-market/souk/node"
	"github.com/souk-market/souk/payment"
)

// wantedLine is what the value of a line of a tariff should be.
const wantedLine = "a price per so many units, such as 0.01 per 3600000"

// setTariff reads the lines that a class of devices prices beside device time, by unit.
func (c *config) setTariff(class string, v yamlfile.Value) error {
	if !classForm.MatchString(class) {
		return v.Errorf("%q is not a device class such as CPU or RTX_4090", class)
	}
	c.tariffAt[class] = v
	return v.Each(node.LineUnits(), func(unit string, v yamlfile.Value) error {
		text, err := v.Scalar(wantedLine)
		if err != nil {
			return err
		}
		price, per, ok := strings.Cut(text, " per ")
		if !ok {
			return v.Errorf("%q is not %s", text, wantedLine)
		}
		atoms, err := souk.ParseAtoms(strings.TrimSpace(price))
		if err != nil {
			return v.Wrap(err)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(per), 10, 63)
		switch {
		case err != nil || n == 0:
			return v.Errorf("%q is not a whole number above zero, such as 3600000", per)
		case atoms <= 0 || uint64(atoms) > market.MaxPrice:
			return v.Errorf("%s: price must be above zero and at most %s", price, souk.Atoms(market.MaxPrice))
		}
		c.lines[class] = append(c.lines[class], payment.Line{Unit: unit, Price: uint64(atoms), Per: n})
		return nil
	})
}

// checkTariffs refuses lines for a class that the file gives no price.
func (c *config) checkTariffs() error {
	classes := make([]string, 0, len(c.tariffAt))
	for class := range c.tariffAt {
		classes = append(classes, class)
	}
	slices.Sort(classes)
	for _, class := range classes {
		if c.prices[class] == 0 {
			return c.tariffAt[class].Wrap(fmt.Errorf("%s has no price: price says what its devices cost for one hour", class))
		}
	}
	return nil
}

// soldLines are the lines of the classes that have a price, which flags may have changed.
func (c *config) soldLines() map[string]payment.Tariff {
	sold := map[string]payment.Tariff{}
	for class, lines := range c.lines {
		if c.prices[class] > 0 {
			sold[class] = lines
		}
	}
	return sold
}
